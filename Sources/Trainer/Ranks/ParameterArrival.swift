import Collective

/// Parameters that other ranks updated and that are still on their way.
///
/// They travel while the step's end is logged and the next step's forward pass begins: whoever reads parameters waits for those
/// in front of an offset first, and the forward pass reads them in the order in which they are sent.
final class ParameterArrival {
  private struct Gather {
    let start: Int
    let operation: CollectiveOperation
    /// Puts what has come where it belongs, where it did not come there by itself.
    let finish: (() -> Void)?
  }

  /// Ascending by where what they bring ends.
  private var gathers: [Gather] = []
  /// What ended the exchange, until someone can throw it.
  private var problem: CommunicationError?
  /// Seconds waited since the last `takeSeconds`.
  private var seconds = 0.0

  /// Adds a gathering of the elements from `start` on; `start` is behind all earlier ones.
  ///
  /// `finish` is called once it has come.
  func add(
    _ operation: CollectiveOperation, from start: Int, finish: (() -> Void)? = nil
  ) {
    gathers.append(Gather(start: start, operation: operation, finish: finish))
  }

  /// Waits for what lies in front of `offset`; what goes wrong is thrown by the next `settle`.
  func wait(before offset: Int) {
    let due = gathers.prefix { $0.start < offset }
    guard !due.isEmpty else { return }
    let clock = ContinuousClock(), begun = clock.now
    for gather in due where problem == nil {
      do {
        try gather.operation.wait()
        gather.finish?()
      } catch {
        problem = error
      }
    }
    seconds += (clock.now - begun).inSeconds
    if problem == nil { gathers.removeFirst(due.count) }
  }

  /// Waits for everything.
  ///
  /// - Throws: what ended the exchange, now or earlier.
  func settle() throws(CommunicationError) {
    wait(before: .max)
    if let problem { throw problem }
  }

  /// Seconds waited since this was last called.
  func takeSeconds() -> Double {
    defer { seconds = 0 }
    return seconds
  }
}
