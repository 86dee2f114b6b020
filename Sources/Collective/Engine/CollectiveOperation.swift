import Synchronization

/// A collective under way.
///
/// The memory it was given belongs to the engine until `wait` returns.
package final class CollectiveOperation: @unchecked Sendable {
  package let kind: OperationKind
  private unowned let engine: CollectiveEngine
  private let state = Atomic<Int>(0)
  /// Written before `state` leaves 0, read after.
  private var error: CommunicationError?

  init(kind: OperationKind, engine: CollectiveEngine) {
    self.kind = kind
    self.engine = engine
  }

  /// Whether the collective has ended, well or badly.
  package var isFinished: Bool { state.load(ordering: .acquiring) != 0 }

  /// Returns when the collective is complete on this rank.
  package func wait() throws(CommunicationError) {
    if !isFinished { engine.wait(for: self) }
    if let error { throw error }
  }

  func finish(_ error: CommunicationError? = nil) {
    guard !isFinished else { return }
    self.error = error
    state.store(error == nil ? 1 : 2, ordering: .releasing)
  }
}

/// A gathering of byte strings of any lengths under way.
package final class BlobOperation: @unchecked Sendable {
  package let operation: CollectiveOperation
  let exchange: BlobExchange

  init(operation: CollectiveOperation, exchange: BlobExchange) {
    self.operation = operation
    self.exchange = exchange
  }

  /// The byte strings by rank; empty on ranks that are not the root of a gather.
  package func wait() throws(CommunicationError) -> [[UInt8]] {
    try operation.wait()
    return exchange.blobs
  }
}
