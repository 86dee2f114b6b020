import Foundation

/// Something that another thread does meanwhile, with what it returned or threw.
///
/// It has two ends that others can wait for: `release`, when it has read what it was given, and its end.
final class BackgroundWork<Value: Sendable>: @unchecked Sendable {
  /// What the work tells of itself while it goes on.
  struct Report {
    fileprivate let work: BackgroundWork

    /// A part is done.
    func part() { work.change { $0.parts += 1 } }

    /// What the work was given may change from now on.
    func release() { work.change { $0.isReleased = true } }
  }

  private let condition = NSCondition()
  // Guarded by `condition`.
  private var outcome: Result<Value, any Error>?
  private var isReleased = false
  private var parts = 0

  /// Given up before anyone hears that it is done, with all that it holds: a lock, for one.
  private var body: (@Sendable (Report) throws -> Value)?

  /// Starts `body`.
  init(_ body: @escaping @Sendable (Report) throws -> Value) {
    self.body = body
    let thread = Thread { [self] in
      let outcome = Result {
        guard let body = self.body else { preconditionFailure("work that was done before") }
        return try body(Report(work: self))
      }
      self.body = nil
      change { $0.outcome = outcome }
    }
    thread.name = "lockstep-disk"
    thread.start()
  }

  private func change(_ body: (BackgroundWork) -> Void) {
    condition.withLock {
      body(self)
      condition.broadcast()
    }
  }

  /// Whether it has ended, well or badly.
  var isDone: Bool { condition.withLock { outcome != nil } }

  /// Whether what it was given may change.
  var hasReleased: Bool { condition.withLock { isReleased || outcome != nil } }

  /// Returns when it is done; calls `onProgress` whenever parts have been done since.
  ///
  /// - Throws: what it threw.
  @discardableResult
  func wait(onProgress: () -> Void = {}) throws -> Value {
    guard let outcome = wait(onProgress, until: { $0.outcome != nil }) else {
      preconditionFailure("work that ended without an outcome")
    }
    return try outcome.get()
  }

  /// Returns when what it was given may change; calls `onProgress` likewise.
  ///
  /// - Throws: what it threw, if that was its end.
  func waitForRelease(onProgress: () -> Void = {}) throws {
    _ = try wait(onProgress) { $0.isReleased || $0.outcome != nil }?.get()
  }

  private func wait(
    _ onProgress: () -> Void, until isOver: (BackgroundWork) -> Bool
  ) -> Result<Value, any Error>? {
    condition.lock()
    defer { condition.unlock() }
    var seen = parts
    while !isOver(self) {
      condition.wait()
      if parts != seen { onProgress() }
      seen = parts
    }
    return outcome
  }
}
