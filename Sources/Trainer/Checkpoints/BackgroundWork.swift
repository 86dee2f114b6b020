import Foundation

/// Something that another thread does meanwhile, with what it threw.
final class BackgroundWork: @unchecked Sendable {
  private let condition = NSCondition()
  private var outcome: Result<Void, any Error>?
  /// Parts that are done.
  private var progress = 0

  /// Given up before anyone hears that it is done, with all that it holds: a lock, for one.
  private var body: (@Sendable (_ progress: () -> Void) throws -> Void)?

  /// Starts `body`, which calls its argument whenever a part is done.
  init(_ body: @escaping @Sendable (_ progress: () -> Void) throws -> Void) {
    self.body = body
    let thread = Thread { [self] in
      let outcome = Result { try self.body?({ self.notePart() }) }.map { _ in }
      self.body = nil
      condition.withLock {
        self.outcome = outcome
        condition.broadcast()
      }
    }
    thread.name = "lockstep-disk"
    thread.start()
  }

  /// Whether it has ended, well or badly.
  var isDone: Bool { condition.withLock { outcome != nil } }

  private func notePart() {
    condition.withLock {
      progress += 1
      condition.broadcast()
    }
  }

  /// Returns when it is done; calls `onProgress` whenever parts have been done since.
  ///
  /// - Throws: what it threw.
  func wait(onProgress: () -> Void = {}) throws {
    condition.lock()
    var seen = progress
    while outcome == nil {
      condition.wait()
      if progress != seen { onProgress() }
      seen = progress
    }
    let outcome = outcome
    condition.unlock()
    try outcome?.get()
  }
}
