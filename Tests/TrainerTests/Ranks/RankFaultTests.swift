import Collective
import Model
import Testing
import Trainer

@Suite(.serialized) struct RankFaultTests {
  @Test(arguments: [true, false])
  func `a gradient that is not finite is found on its rank, with tensor and rows`(
    shards: Bool
  )
    throws
  {
    let run = TinyRun()
    let clock = ContinuousClock(), begun = clock.now
    let outcomes = try outcomes(ranks: 3) { collective in
      var exchange = ExchangeSettings()
      exchange.shardsOptimizer = shards
      return try run.run(on: collective, exchange: exchange) { step, parameters, table in
        guard step == 1, collective.rank == 1, let bias = table["classifier.bias"] else {
          return
        }
        parameters.base[bias.range.lowerBound] = .nan
      }
    }
    #expect(clock.now - begun < .seconds(15))
    let error = #expect(throws: RankError.self) { try outcomes[1].get() }
    #expect(error?.exitCode == 78)
    let sentence = error?.description ?? ""
    #expect(
      sentence.hasPrefix(
        "rank 1, step 2: the gradient of classifier.bias [3] is nan at element 0; "),
      "\(sentence)")
    let ownership = try LeafOwnership(ranks: 3, leaves: run.leaves)
    let own = run.leavesByStep[1][ownership.leaves(of: 1)].flatMap { $0 }.map(\.exampleID)
    let rows = try #require(
      sentence.split(separator: #/it comes from rows? /#).last?.split(separator: ".").first)
    let named = rows.split(separator: ", ").compactMap { UInt64($0) }
    #expect(!named.isEmpty && named.allSatisfy { own.contains($0 - 1) }, "\(rows) of \(own)")
    for rank in [0, 2] {
      let error = #expect(throws: CommunicationError.self) { try outcomes[rank].get() }
      #expect(error?.exitCode == 78)
      #expect("\(error.map { "\($0)" } ?? "")" == "rank 1 failed: \(sentence)")
    }
  }

  /// A run with one step of 31 rows, and the last of a rank's rows: far behind the first eight.
  private static let wide = TinyRun(rows: 31, batchSize: 31)

  /// Makes the loss of `row` alone NaN: by a word that no other row has.
  private static func spoil(_ row: SequenceInput, _ parameters: Arena, _ table: ParameterTable) {
    let others = Set(
      wide.leavesByStep[0].flatMap { $0 }.filter { $0.exampleID != row.exampleID }.flatMap(\.ids))
    guard let words = table["bert.embeddings.word_embeddings.weight"],
      let word = row.ids.first(where: { !others.contains($0) })
    else {
      Issue.record("row \(row.exampleID) has no word of its own")
      return
    }
    parameters.base[words.range.lowerBound + Int(word) * words.shape[1]] = .nan
  }

  @Test func `of all rows of a rank the one that gives a NaN is named`() throws {
    let run = Self.wide
    let ownership = try LeafOwnership(ranks: 2, leaves: run.leaves)
    let own = run.leavesByStep[0][ownership.leaves(of: 1)].flatMap { $0 }
    let culprit = try #require(own.last)
    #expect(own.count > 8)
    let outcomes = try outcomes(ranks: 2) { collective in
      try run.run(on: collective, exchange: ExchangeSettings()) { _, parameters, table in
        if collective.rank == 1 { Self.spoil(culprit, parameters, table) }
      }
    }
    let error = #expect(throws: RankError.self) { try outcomes[1].get() }
    #expect(
      error?.description.hasPrefix(
        "rank 1, step 1: the gradient of classifier.bias [3] is nan at element 0; it comes from row \(culprit.exampleID + 1). "
      ) == true, "\(error.map { "\($0)" } ?? "")")
  }

  @Test(arguments: [nil, 1])
  func `one process names the tensor and the row of a loss that is NaN`(
    leavesAtOnce: Int?
  ) throws {
    let run = Self.wide
    let culprit = try #require(run.leavesByStep[0].flatMap { $0 }.last)
    let outcomes = try outcomes(ranks: 1) { collective in
      try run.run(on: collective, leavesAtOnce: leavesAtOnce, exchange: ExchangeSettings()) {
        _, parameters, table in Self.spoil(culprit, parameters, table)
      }
    }
    let error = #expect(throws: StepNotFinite.self) { try outcomes[0].get() }
    #expect(
      error?.finding == "the loss is nan, the gradient of classifier.bias [3] is nan at element 0")
    #expect(error?.rows == [culprit.exampleID] && error?.namesCulprits == true)
    #expect(
      error?.origin() == "it comes from row \(culprit.exampleID + 1)")
  }

  @Test func `a parameter that changed on one rank is found within sixteen steps`() throws {
    let run = TinyRun(rows: 39, batchSize: 4)
    #expect(run.steps == 20)
    let outcomes = try outcomes(ranks: 2) { collective in
      try run.run(on: collective, exchange: ExchangeSettings()) { step, parameters, _ in
        guard step == 2, collective.rank == 1 else { return }
        // A word that no row has: only the digest can tell.
        let place = 2 * Optimizer.chunkSize + 5
        parameters.base[place] = Float(
          bitPattern: parameters.base[place].bitPattern ^ 1)
      }
    }
    for outcome in outcomes {
      let error = #expect(throws: CommunicationError.self) { try outcome.get() }
      #expect(error?.exitCode == 77)
      let sentence = "\(error.map { "\($0)" } ?? "")"
      #expect(
        sentence.contains("The ranks disagree about the parameters before step 3: "),
        "\(sentence)")
    }
  }

  @Test func `more ranks than leaves are refused with what would work`() throws {
    let outcomes = try outcomes(ranks: 3) { collective in
      try TinyRun(leaves: 2).run(on: collective, exchange: ExchangeSettings())
    }
    let error = #expect(throws: CommunicationError.self) { try outcomes[0].get() }
    #expect(
      "\(error.map { "\($0)" } ?? "")"
        == "3 ranks cannot share 2 leaves. Start at most 2 ranks, or a new run with more leaves.")
  }
}
