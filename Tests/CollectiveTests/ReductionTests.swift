import Collective
import Testing

/// Sums over ranks equal the plain canonical fold bit for bit, whatever the number of ranks and the timing.
@Suite(.serialized) struct ReductionTests {
  static let leafCount = 16

  static func sizes(ranks: Int) -> [Int] { [0, 1, ranks - 1, ranks, ranks + 1, 1023, 65_539] }

  static func leaves(count: Int, seed: Int) -> [[Float]] {
    (0..<leafCount).map { leaf in
      var numbers = Numbers(seed: seed * 1000 + leaf)
      return numbers.floats(count)
    }
  }

  static func exchanges(ranks: Int) -> [Exchange] {
    ranks.nonzeroBitCount == 1 ? [.tree, .direct] : [.direct]
  }

  /// One all-reduce of every size and exchange, all under way at once.
  private func checkAllReduce(
    ranks: Int, delay: Double, settings: @escaping @Sendable (Int) -> CollectiveEngine.Settings
  ) throws {
    let ownership = try LeafOwnership(ranks: ranks, leaves: Self.leafCount)
    let cases = Self.sizes(ranks: ranks).map {
      (size: $0, leaves: Self.leaves(count: $0, seed: $0))
    }
    let results = try onRanks(ranks, longestDelay: delay, seed: UInt64(ranks), settings: settings) {
      engine in
      var running: [(buffers: [Buffer], operation: CollectiveOperation)] = []
      for exchange in Self.exchanges(ranks: ranks) {
        for (number, (size, leaves)) in cases.enumerated() {
          let buffers = contributions(
            of: engine.rank, ownership: ownership, leaves: leaves, offset: 1 + 2 * (number % 3))
          let plan = try SlicePlan.balanced(count: size, ranks: ranks, segmentBytes: 20_000)
          running.append(
            (
              buffers,
              try engine.allReduce(
                buffers.map(\.start), plan: plan, ownership: ownership, exchange: exchange)
            ))
        }
      }
      for (_, operation) in running { try operation.wait() }
      return running.map { bits($0.buffers[0].values) }
    }
    let expected = cases.map { bits(canonicalSum($0.leaves[...])) }
    for (rank, sums) in results.enumerated() {
      for (index, sum) in sums.enumerated() {
        #expect(
          sum == expected[index % cases.count],
          "rank \(rank) of \(ranks), size \(cases[index % cases.count].size)")
      }
    }
  }

  @Test(arguments: 1...16)
  func `an all-reduce on any number of ranks is the canonical fold, with random delays`(
    ranks: Int
  )
    throws
  {
    try checkAllReduce(ranks: ranks, delay: 300e-6) { _ in .cooperative() }
  }

  @Test(arguments: [2, 3, 4, 7])
  func `a communication thread gives the same sums`(ranks: Int) throws {
    try checkAllReduce(ranks: ranks, delay: 100e-6) { _ in .threaded() }
  }

  @Test(arguments: 1...9)
  func `a reduce-scatter leaves each chunk's sum with its owner and an all-gather completes it`(
    ranks: Int
  ) throws {
    let ownership = try LeafOwnership(ranks: ranks, leaves: Self.leafCount)
    let leaves = Self.leaves(count: 10_000, seed: 7)
    let expected = bits(canonicalSum(leaves[...]))
    let chunk = 256
    // Ranges that start and end inside of chunks, in one chunk, and nowhere.
    for range in [777..<9_001, 300..<400, 512..<512, 0..<10_000] {
      for exchange in Self.exchanges(ranks: ranks) {
        let plan = try SlicePlan.chunks(of: chunk, covering: range, ranks: ranks)
        let results = try onRanks(ranks, longestDelay: 100e-6) { engine in
          let parts = contributions(
            of: engine.rank, ownership: ownership,
            leaves: leaves.map { Array($0[range]) }, offset: 3)
          let reduced = try engine.reduceScatter(
            parts.map(\.start), plan: plan, ownership: ownership, exchange: exchange)
          try reduced.wait()
          let own = plan.ownedRanges(of: engine.rank)
          let sums = own.map { bits(Array(parts[0].values[$0])) }
          // Only what it owns may count: the rest is overwritten before the gathering.
          for i in 0..<range.count where !own.contains(where: { $0.contains(i) }) {
            parts[0].start[i] = .nan
          }
          try engine.allGather(parts[0].start, plan: plan, exchange: exchange).wait()
          return (sums, bits(parts[0].values))
        }
        for (rank, (sums, all)) in results.enumerated() {
          let own = plan.ownedRanges(of: rank)
          for (piece, sum) in zip(own, sums) {
            let start = range.lowerBound + piece.lowerBound
            #expect(sum == Array(expected[start..<start + piece.count]))
            for element in start..<start + piece.count {
              #expect(SlicePlan.owner(ofChunk: element / chunk, ranks: ranks) == rank)
            }
          }
          #expect(all == Array(expected[range]))
        }
      }
    }
  }

  @Test(arguments: [1, 2, 3, 5, 8])
  func `a bf16 wire is close, equal on all ranks, and repeats`(ranks: Int) throws {
    let ownership = try LeafOwnership(ranks: ranks, leaves: 8)
    let leaves = Array(Self.leaves(count: 4_099, seed: 11).prefix(8)).map {
      $0.map { abs($0) + 0.5 }
    }
    let plan = try SlicePlan.balanced(count: 4_099, ranks: ranks, segmentBytes: 4_096)
    let run = {
      try onRanks(ranks, longestDelay: 100e-6) { engine in
        let parts = contributions(of: engine.rank, ownership: ownership, leaves: leaves)
        try engine.allReduce(
          parts.map(\.start), plan: plan, ownership: ownership, wire: .bfloat16
        ).wait()
        return parts[0].values
      }
    }
    let first = try run()
    let again = try run()
    let exact = canonicalSum(leaves[...])
    for rank in 0..<ranks {
      #expect(bits(first[rank]) == bits(first[0]))
      #expect(bits(again[rank]) == bits(first[rank]))
      // Two roundings to a significand of 8 bits: each off by at most 2⁻⁸ of the value.
      #expect(zip(first[rank], exact).allSatisfy { abs($0 - $1) <= 0x1.02p-7 * $1 })
    }
    #expect(bits(first[0]) != bits(exact))
  }

  @Test func `a tree on three ranks and a bf16 tree are refused with the way out`() throws {
    let ownership = try LeafOwnership(ranks: 3, leaves: 4)
    let plan = try SlicePlan.balanced(count: 8, ranks: 3)
    let messages = try onRanks(3) { engine in
      let parts = contributions(
        of: engine.rank, ownership: ownership,
        leaves: .init(repeating: [Float](repeating: 1, count: 8), count: 4))
      do {
        _ = try engine.allReduce(
          parts.map(\.start), plan: plan, ownership: ownership, exchange: .tree)
        return ""
      } catch { return "\(error)" }
    }
    #expect(
      messages
        == .init(
          repeating:
            "The tree exchange needs a power of two of ranks and there are 3. Choose the direct exchange, which gives the same bits.",
          count: 3))
  }

  @Test func `a single process sums without a thread and without messages`() throws {
    let engine = CollectiveEngine(SingleProcess())
    let ownership = try LeafOwnership(ranks: 1, leaves: 8)
    let buffer = Buffer([1, 2, 3])
    let plan = try SlicePlan.balanced(count: 3, ranks: 1)
    try engine.allReduce([buffer.start], plan: plan, ownership: ownership).wait()
    try engine.broadcast(buffer.bytes).wait()
    try engine.barrier().wait()
    #expect(try engine.allGather([7, 8]).wait() == [[7, 8]])
    #expect(buffer.values == [1, 2, 3])
    #expect(engine.traffic == .init())
    #expect(engine.finish(exitCode: 75) == 75)
  }
}
