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
      sentence.split(separator: "its rows are ").last?.split(separator: ".").first)
    let named = rows.split(separator: ", ").compactMap { UInt64($0) }
    #expect(!named.isEmpty && named.allSatisfy { own.contains($0 - 1) }, "\(rows) of \(own)")
    for rank in [0, 2] {
      let error = #expect(throws: CommunicationError.self) { try outcomes[rank].get() }
      #expect(error?.exitCode == 78)
      #expect("\(error.map { "\($0)" } ?? "")" == "rank 1 failed: \(sentence)")
    }
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
