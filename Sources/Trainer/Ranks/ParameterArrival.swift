import Collective
import Model

/// Parameters that other ranks updated and that are still on their way.
///
/// They travel while the step's end is logged and the next step's forward pass begins: whoever reads parameters waits for those
/// in front of an offset first, and the forward pass reads them in the order in which they are sent.
final class ParameterArrival {
  /// Ascending by where what they bring ends.
  private var gathers: [(start: Int, operation: CollectiveOperation)] = []
  private let parameters: Arena
  /// What ended the exchange, until someone can throw it.
  private var problem: CommunicationError?
  /// Seconds waited since the last `takeSeconds`.
  private var seconds = 0.0

  init(_ parameters: Arena) { self.parameters = parameters }

  deinit {
    // The network writes into them until the process ends.
    if !gathers.isEmpty { _ = Unmanaged.passRetained(parameters) }
  }

  /// Adds a gathering of the elements from `start` on; `start` is behind all earlier ones.
  func add(_ operation: CollectiveOperation, from start: Int) { gathers.append((start, operation)) }

  /// Waits for what lies in front of `offset`; what goes wrong is thrown by the next `settle`.
  func wait(before offset: Int) {
    let due = gathers.prefix { $0.start < offset }
    guard !due.isEmpty else { return }
    let clock = ContinuousClock(), begun = clock.now
    for gather in due where problem == nil {
      do { try gather.operation.wait() } catch { problem = error }
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
