import Dispatch
import Synchronization

extension ModelFolder {
  /// Reads the tensors of `table` into `arena`, each straight to its place: widened or rounded to float32,
  /// transposed where the file holds `[in, out]`, checked for checksums, NaN and infinities.
  ///
  /// The encoder's tensors must be there; the pooler's and the head's may be missing, in which case the
  /// arena keeps what it held and the report says so. `progress` is called after every tensor, on any thread.
  @discardableResult
  package func load(
    into arena: Arena, table: ParameterTable, progress: @Sendable () -> Void = {}
  ) throws -> LoadReport {
    precondition(
      arena.count == table.count, "an arena of \(arena.count) for \(table.count) elements")
    let report = LoadReport(index, table: table, configuration: configuration)
    try checkEncoder(report)
    // Tensors are independent and lie apart. Of several errors the first in the table is thrown, so
    // that the message does not depend on which thread was faster.
    let failure = Mutex<(index: Int, error: any Error)?>(nil)
    let items = report.found
    DispatchQueue.concurrentPerform(iterations: items.count) { number in
      guard let parameter = table[items[number].name], let place = index.model[parameter.name]
      else {
        return
      }
      do {
        try source.read(
          place.tensor.name, transposed: place.transposed, into: arena[parameter.range])
        progress()
      } catch {
        failure.withLock { if $0.map({ number < $0.index }) ?? true { $0 = (number, error) } }
      }
    }
    if let error = failure.withLock({ $0?.error }) { throw error }
    return report
  }
}
