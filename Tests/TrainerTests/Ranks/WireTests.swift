import Collective
import Model
import Testing
import Trainer

/// What a rounded wire and the vendor's sum keep of the promise, and what they do not.
@Suite(.serialized) struct WireTests {
  private func settings(_ wire: WireFormat, shards: Bool = false) -> ExchangeSettings {
    var settings = ExchangeSettings()
    settings.wire = wire
    settings.exchange = .direct
    settings.shardsOptimizer = shards
    settings.bucketBytes = 1 << 16
    return settings
  }

  private func train(
    _ ranks: Int, _ settings: ExchangeSettings
  ) throws -> [(outcome: TinyRun.Outcome, sentBytes: Int)] {
    try onRanks(ranks) { collective in
      let outcome = try TinyRun().run(on: collective, exchange: settings)
      return (outcome, collective.traffic.sentBytes)
    }
  }

  @Test(arguments: [2, 3], [false, true])
  func `bfloat16 repeats its bits on the same ranks, near those of float32`(
    ranks: Int, shards: Bool
  ) throws {
    let exact = try train(ranks, settings(.float32, shards: shards))[0].outcome
    let first = try train(ranks, settings(.bfloat16, shards: shards))
    let second = try train(ranks, settings(.bfloat16, shards: shards))
    for run in first + second {
      let same = run.outcome == first[0].outcome
      #expect(same)
    }
    let rounded = first[0].outcome
    #expect(rounded.parameters != exact.parameters)
    // A rounding is 2⁻⁸ of a value, and the first loss is from before any.
    #expect(rounded.losses[0] == exact.losses[0])
    for (a, b) in zip(rounded.losses, exact.losses) { #expect(abs(a - b) < 0.02 * abs(b)) }
    for (a, b) in zip(rounded.norms, exact.norms) { #expect(abs(a - b) < 0.02 * abs(b)) }
  }

  @Test func `bfloat16 sends half of the gradient's bytes`() throws {
    let run = TinyRun()
    let table = ParameterTable(run.configuration, head: run.head)
    let width = run.configuration.hiddenSize
    // Between two ranks of one subtree each sends a gradient's elements once: towards their owner, or back from it.
    let elements = run.leavesByStep.reduce(0) { sum, leaves in
      let rows = Set(leaves.joined().flatMap(\.ids)).count
      return sum + table.count - (run.configuration.vocabularySize - rows) * width
    }
    let exact = try train(2, settings(.float32)), rounded = try train(2, settings(.bfloat16))
    for (a, b) in zip(exact, rounded) { #expect(a.sentBytes - b.sentBytes == 2 * elements) }
  }

  @Test func `a single rank rounds nothing`() throws {
    let outcome = try train(1, settings(.bfloat16))[0].outcome
    let same = try outcome == TinyRun().plainly()
    #expect(same)
    #expect(settings(.bfloat16).limit(ranks: 1) == nil)
    #expect(settings(.float32).limit(ranks: 8) == nil)
    #expect(
      settings(.bfloat16).limit(ranks: 2)
        == "bfloat16 wire on 2 ranks, deterministic for these alone")
  }

  @Test(
    arguments: [
      (Exchange.tree, WireFormat.bfloat16, CommunicationError.treeNeedsFloats),
      (.vendor, .bfloat16, .vendorNeedsFloats), (.vendor, .float32, .vendorUnavailable),
    ] as [(Exchange, WireFormat, CommunicationError)])
  func `what cannot be done is refused as wrong usage`(
    exchange: Exchange, wire: WireFormat, expected: CommunicationError
  ) throws {
    var settings = settings(wire)
    settings.exchange = exchange
    let results = try outcomes(ranks: 2) { [settings] in
      try TinyRun().run(on: $0, exchange: settings)
    }
    for result in results {
      let error = #expect(throws: CommunicationError.self) { try result.get() }
      #expect(error?.exitCode == ExitCode.usage)
      // A rank may hear of it from the other before it sees it itself.
      #expect("\(error.map { "\($0)" } ?? "")".hasSuffix("\(expected)"))
    }
  }

  @Test(arguments: [nil, 4, 2, 1] as [Int?])
  func `buckets leave during backward, however many leaves are computed at once`(
    leavesAtOnce: Int?
  ) throws {
    let early = try onRanks(2) { collective in
      let run = TinyRun()
      let pool = ThreadPool(threads: 1)
      defer { pool.stop() }
      let group = try RankGroup(collective, leaves: run.leaves)
      let engine = Engine(configuration: run.configuration, head: run.head, pool: pool)
      let parameters = Arena(count: engine.table.count)
      run.initialise(parameters, engine.table)
      let optimizer = Optimizer(
        run.settings, table: engine.table, trainable: run.trainable(engine.table), pool: pool)
      let step = try DistributedStep(
        group, engine: engine, optimizer: optimizer, parameters: parameters,
        settings: settings(.float32))
      let result = try step.run(
        leaves: run.leavesByStep[0], randomness: .init(seed: 9, step: 0),
        leavesAtOnce: leavesAtOnce, denominator: 13, learningRate: 1e-3, step: 0)
      try step.settle()
      return result.trace.early
    }
    // All but what ends in the first layer's front, or in the embeddings.
    let table = ParameterTable(TinyRun().configuration, head: TinyRun().head)
    let words = try #require(table["bert.embeddings.word_embeddings.weight"]).range.upperBound
    let start = try #require(table["bert.encoder.layer.0.attention.self.query.weight"]).range
      .lowerBound
    let ranges = GradientBuckets.cut([words..<table.count], bytes: 1 << 16)
    let expected = ranges.count { $0.lowerBound >= start }
    #expect(expected > 0)
    #expect(early == [expected, expected])
  }

  @Test(
    arguments: [
      ([0..<1], 4), ([7..<1_000_003], 4096), ([0..<5000, 6000..<6001, 8000..<90_000], 16_384),
      ([100..<1000], 12_340), ([100..<5000], 12_340), ([], 64), ([3..<90], 1),
    ] as [([Range<Int>], Int)])
  func `buckets cover everything once, from the end, and the first and the last are small`(
    runs: [Range<Int>], bytes: Int
  ) {
    let ranges = GradientBuckets.cut(runs, bytes: bytes)
    let size = max(1, bytes / 4), small = max(1, size / 4)
    #expect(ranges.reversed().flatMap { Array($0) } == runs.flatMap { Array($0) })
    #expect(ranges.allSatisfy { !$0.isEmpty && $0.count <= size })
    #expect(ranges.first?.count ?? 0 <= small)
    #expect(ranges.last?.count ?? 0 <= small)
    #expect(GradientBuckets.cut(runs, bytes: nil) == runs.reversed())
  }
}
