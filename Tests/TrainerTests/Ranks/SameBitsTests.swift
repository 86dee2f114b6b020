import Collective
import Model
import Testing

import Trainer

/// The promise of the project, on ranks that are threads.
@Suite(.serialized) struct SameBitsTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var ranks: Int
    var bucketBytes: Int? = 1 << 20
    var shards = true
    var exchange = Exchange.automatic
    var threads = 1
    var overlaps = true
    var leavesAtOnce: Int?
    var progress = CollectiveEngine.Progress.thread
    var touchedRows = true

    var settings: ExchangeSettings {
      var settings = ExchangeSettings()
      settings.bucketBytes = bucketBytes
      settings.shardsOptimizer = shards
      settings.exchange = exchange
      settings.overlaps = overlaps
      settings.sendsTouchedRows = touchedRows
      return settings
    }

    var testDescription: String {
      "\(ranks) ranks, buckets \(bucketBytes ?? 0), sharded \(shards), \(exchange), \(threads) threads, "
        + "overlap \(overlaps), leaves \(leavesAtOnce ?? 0), \(progress), touched rows \(touchedRows)"
    }
  }

  static let reference = Result { try TinyRun().plainly() }

  static let cases = [
    Case(ranks: 1), Case(ranks: 1, bucketBytes: nil, shards: false, threads: 2),
    Case(ranks: 2), Case(ranks: 2, bucketBytes: 1 << 16, shards: false, exchange: .tree),
    Case(ranks: 3, bucketBytes: 1 << 16), Case(ranks: 3, shards: false, overlaps: false),
    Case(ranks: 4, exchange: .direct, threads: 2, leavesAtOnce: 1),
    Case(ranks: 5, bucketBytes: nil, leavesAtOnce: 2), Case(ranks: 6, shards: false),
    Case(ranks: 7, bucketBytes: 1 << 16, overlaps: false, progress: .cooperative),
    Case(ranks: 1, leavesAtOnce: 1), Case(ranks: 2, threads: 2, leavesAtOnce: 1),
    Case(ranks: 2, touchedRows: false), Case(ranks: 3, shards: false, touchedRows: false),
    Case(ranks: 8, bucketBytes: 12_340), Case(ranks: 8, shards: false, exchange: .direct),
  ]

  @Test(arguments: cases)
  func `any number of ranks ends with the bits of one process`(_ test: Case) throws {
    let expected = try Self.reference.get()
    let outcomes = try onRanks(test.ranks, progress: test.progress) { collective in
      try TinyRun().run(
        on: collective, threads: test.threads, leavesAtOnce: test.leavesAtOnce,
        exchange: test.settings)
    }
    for (rank, outcome) in outcomes.enumerated() {
      #expect(outcome.losses == expected.losses, "losses of rank \(rank)")
      #expect(outcome.norms == expected.norms, "norms of rank \(rank)")
      #expect(outcome.digests == expected.digests, "digests of rank \(rank)")
      let same = outcome.parameters == expected.parameters
      #expect(same, "parameters of rank \(rank)")
    }
  }

  @Test(arguments: [
    ["bert.embeddings."], ["bert.embeddings.", "bert.encoder.layer.0."],
    ["bert.encoder.", "bert.embeddings.position"],
  ])
  func `frozen tensors change nothing about it`(_ frozen: [String]) throws {
    let run = TinyRun(frozen: frozen)
    let expected = try run.plainly()
    for ranks in [2, 3] {
      let outcomes = try onRanks(ranks) {
        try run.run(on: $0, exchange: Case(ranks: ranks, bucketBytes: 1 << 16).settings)
      }
      let same = outcomes.allSatisfy { $0 == expected }
      #expect(same, "\(ranks) ranks")
    }
  }

  @Test func `LAMB keeps whole tensors on every rank and the same bits`() throws {
    let run = TinyRun(method: .lamb)
    let expected = try run.plainly()
    let outcomes = try onRanks(3) { try run.run(on: $0, exchange: ExchangeSettings()) }
    let same = outcomes.allSatisfy { $0 == expected }
    #expect(same)
  }

  @Test func `steps with fewer sequences than leaves leave ranks without any`() throws {
    let run = TinyRun(rows: 7, batchSize: 2)
    let expected = try run.plainly()
    for ranks in [2, 5, 8] {
      let outcomes = try onRanks(ranks) { try run.run(on: $0, exchange: ExchangeSettings()) }
      let same = outcomes.allSatisfy { $0 == expected }
      #expect(same, "\(ranks) ranks")
    }
  }

  @Test func `another number of leaves gives other bits, so that the comparison means something`()
    throws
  {
    let outcome = try onRanks(2) { collective in
      try TinyRun(leaves: 2).run(on: collective, exchange: ExchangeSettings())
    }
    #expect(try outcome[0].parameters != Self.reference.get().parameters)
  }

  @Test func `a digest names every bit and every place`() throws {
    let pool = ThreadPool(threads: 1)
    defer { pool.stop() }
    let arena = Arena(count: Optimizer.chunkSize + 71)
    for i in 0..<arena.count { arena.base[i] = Float(i % 13) }
    let digest = ParameterDigest.of(arena, chunks: 0..<2, pool: pool)
    #expect(
      ParameterDigest.of(arena, chunks: [0], pool: pool)
        &+ ParameterDigest.of(arena, chunks: [1], pool: pool) == digest)
    for place in [0, 63, 64, 65_535, 65_536, arena.count - 1] {
      let value = arena.base[place]
      for bit in [0, 15, 31] as [UInt32] {
        arena.base[place] = Float(bitPattern: value.bitPattern ^ 1 << bit)
        #expect(ParameterDigest.of(arena, chunks: 0..<2, pool: pool) != digest)
      }
      // Two signs of one lane.
      if place + 64 < arena.count {
        arena.base[place] = -value
        arena.base[place + 64].negate()
        #expect(ParameterDigest.of(arena, chunks: 0..<2, pool: pool) != digest)
        arena.base[place + 64].negate()
      }
      arena.base[place] = value
    }
    #expect(ParameterDigest.of(arena, chunks: 0..<2, pool: pool) == digest)
  }
}
