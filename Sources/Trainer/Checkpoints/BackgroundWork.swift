import Foundation

/// Something that another thread does meanwhile, with what it threw.
final class BackgroundWork: @unchecked Sendable {
  private let condition = NSCondition()
  private var outcome: Result<Void, any Error>?

  /// Given up before anyone hears that it is done, with all that it holds: a lock, for one.
  private var body: (@Sendable () throws -> Void)?

  init(_ body: @escaping @Sendable () throws -> Void) {
    self.body = body
    let thread = Thread { [self] in
      let outcome = Result { try self.body?() }.map { _ in }
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

  /// Returns when it is done.
  ///
  /// - Throws: what it threw.
  func wait() throws {
    condition.lock()
    while outcome == nil { condition.wait() }
    let outcome = outcome
    condition.unlock()
    try outcome?.get()
  }
}
