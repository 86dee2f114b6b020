import Collective
import Model
import Testing

import Trainer

/// Of a sharded word table only the rows travel that a step of the run has touched so far.
@Suite struct GatheredRowsTests {
  /// By step the bytes of parameters that were gathered.
  private func gathered(_ collective: CollectiveEngine) -> [Int] {
    var bytes: [Int] = []
    for record in collective.recorder.records {
      // The gradient's last sum of a step comes before its parameters.
      if record.kind == "reduce-scatter", bytes.last != 0 { bytes.append(0) }
      if record.kind == "all-gather", !bytes.isEmpty { bytes[bytes.count - 1] += record.bytes }
    }
    return bytes
  }

  @Test(arguments: [2, 3])
  func `what is gathered grows with the rows that the run has touched, and the bits stay`(
    ranks: Int
  ) throws {
    let run = TinyRun()
    let table = ParameterTable(run.configuration, head: run.head)
    let width = run.configuration.hiddenSize
    let words = run.configuration.vocabularySize * width
    var touched: Set<Int32> = []
    let expected = run.leavesByStep.map { leaves in
      for sequence in leaves.joined() { touched.formUnion(sequence.ids) }
      return 4 * (table.count - words + touched.count * width)
    }
    let plain = try run.plainly()
    let found = try onRanks(ranks) { collective in
      let outcome = try run.run(on: collective, exchange: ExchangeSettings())
      return (outcome, gathered(collective))
    }
    for (outcome, bytes) in found {
      #expect(bytes == expected)
      let same = outcome == plain
      #expect(same)
    }
    // Without it the whole table travels in every step.
    let dense = try onRanks(ranks) { collective in
      var whole = ExchangeSettings()
      whole.sendsTouchedRows = false
      _ = try run.run(on: collective, exchange: whole)
      return gathered(collective)
    }
    #expect(dense.allSatisfy { $0 == run.leavesByStep.map { _ in 4 * table.count } })
  }

  @Test(arguments: [2, 3])
  func `after a resume the ranks find the rows again, each from its own moments`(
    ranks: Int
  ) throws {
    let run = TinyRun()
    let plain = try run.plainly()
    let outcomes = try onRanks(ranks) {
      try run.run(on: $0, exchange: ExchangeSettings(), resumesAt: 3)
    }
    let same = outcomes.allSatisfy { $0 == plain }
    #expect(same)
  }
}
