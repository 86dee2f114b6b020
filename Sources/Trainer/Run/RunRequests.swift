import Synchronization

/// What the outside asks of a running training: set by signal handlers, read at step borders.
package final class RunRequests: Sendable {
  private let stopping = Atomic<Bool>(false)
  private let saving = Atomic<Bool>(false)

  package init() {}

  /// Asks for a checkpoint at the next step border, and the end; returns whether it was asked before.
  @discardableResult
  package func stop() -> Bool { stopping.exchange(true, ordering: .relaxed) }

  /// Asks for a checkpoint at the next step border.
  package func save() { saving.store(true, ordering: .relaxed) }

  /// Whether the end was asked for.
  package var isStopping: Bool { stopping.load(ordering: .relaxed) }

  /// Whether a checkpoint was asked for since the last call.
  package func takeSave() -> Bool { saving.exchange(false, ordering: .relaxed) }
}
