import Collective
import Testing

/// The engine's byte counters equal the stated formulas.
@Suite(.serialized) struct TrafficTests {
  typealias Traffic = CommunicationCost.Traffic

  private func traffic(_ counters: CollectiveEngine.Counters) -> Traffic {
    Traffic(
      sentMessages: counters.sentMessages, sentBytes: counters.sentBytes,
      receivedBytes: counters.receivedBytes)
  }

  /// An all-reduce of `segments` segments on `ranks` ranks, with what each rank counted.
  private func count(
    ranks: Int, elements: Int, segmentBytes: Int, exchange: Exchange, wire: WireFormat = .float32
  ) throws -> [CollectiveEngine.Counters] {
    let ownership = try LeafOwnership(ranks: ranks, leaves: 16)
    let leaves = [[Float]](repeating: .init(repeating: 1, count: elements), count: 16)
    let plan = try SlicePlan.balanced(count: elements, ranks: ranks, segmentBytes: segmentBytes)
    return try onRanks(ranks) { engine in
      let parts = contributions(of: engine.rank, ownership: ownership, leaves: leaves)
      try engine.allReduce(
        parts.map(\.start), plan: plan, ownership: ownership, exchange: exchange, wire: wire
      ).wait()
      return engine.traffic
    }
  }

  @Test(arguments: [1, 2, 4, 8, 16])
  func `a tree sends 2 log₂ P messages and 2(P − 1)/P of the bytes for each segment`(
    ranks: Int
  )
    throws
  {
    let (elements, segments) = (16 * 24, 3)
    let counted = try count(
      ranks: ranks, elements: elements * segments, segmentBytes: 4 * elements, exchange: .tree)
    let levels = ranks.trailingZeroBitCount
    for counters in counted {
      #expect(
        traffic(counters) == CommunicationCost.treeAllReduce(elements: elements, ranks: ranks)
          * segments)
      #expect(counters.sentMessages == 2 * levels * segments)
      #expect(counters.sentBytes == 2 * (ranks - 1) * 4 * elements * segments / ranks)
      #expect(counters.sentHeaders == levels)
    }
  }

  @Test(arguments: 1...16)
  func `a direct exchange sends κ + 1 times P − 1 messages for each segment`(ranks: Int) throws {
    let (elements, segments) = (ranks * 24, 2)
    let ownership = try LeafOwnership(ranks: ranks, leaves: 16)
    for wire in WireFormat.allCases {
      let counted = try count(
        ranks: ranks, elements: elements * segments, segmentBytes: 4 * elements, exchange: .direct,
        wire: wire)
      let width = wire == .float32 ? 4 : 2
      for (rank, counters) in counted.enumerated() {
        let nodes = ownership.subtrees(of: rank).count
        let formula = CommunicationCost.directAllReduce(
          elements: elements, ownership: ownership, rank: rank, bytesPerElement: width)
        #expect(traffic(counters) == formula * segments)
        #expect(counters.sentMessages == (nodes + 1) * (ranks - 1) * segments)
        #expect(counters.sentHeaders == ranks - 1)
      }
    }
  }

  @Test(arguments: [2, 3, 5, 8])
  func `all ranks together move each byte 2(P − 1) times, whatever the size`(ranks: Int) throws {
    // Sizes that P does not divide: the shares of the ranks differ, their sum does not.
    for elements in [1, ranks - 1, ranks + 1, 1023] {
      let ownership = try LeafOwnership(ranks: ranks, leaves: 16)
      let counted = try count(
        ranks: ranks, elements: elements, segmentBytes: 1_000, exchange: .automatic)
      // Every subtree but the owner's own reaches each element's owner; then P − 1 ranks get the sum.
      let plan = try SlicePlan.balanced(count: elements, ranks: ranks, segmentBytes: 1_000)
      let reduced = (0..<ranks).reduce(0) {
        $0 + ownership.subtrees(of: $1).count * (elements - plan.ownedCount(of: $1))
      }
      #expect(counted.reduce(0) { $0 + $1.sentBytes } == 4 * (reduced + (ranks - 1) * elements))
      #expect(
        counted.reduce(0) { $0 + $1.sentBytes } == counted.reduce(0) { $0 + $1.receivedBytes })
    }
  }

  @Test(arguments: 1...9)
  func `broadcast, gather, all-gather and barrier cost what is stated`(ranks: Int) throws {
    let root = ranks / 2
    let blobs = (0..<ranks).map { 10 + 3 * $0 }
    let counted = try onRanks(ranks) { engine in
      var counts: [CollectiveEngine.Counters] = []
      let buffer = Buffer(.init(repeating: 1, count: 300))
      try engine.broadcast(buffer.bytes, from: root).wait()
      counts.append(engine.traffic)
      _ = try engine.gather(.init(repeating: 0, count: blobs[engine.rank]), to: root).wait()
      counts.append(engine.traffic)
      _ = try engine.allGather(.init(repeating: 0, count: blobs[engine.rank])).wait()
      counts.append(engine.traffic)
      try engine.barrier().wait()
      counts.append(engine.traffic)
      return counts
    }
    for rank in 0..<ranks {
      let costs = [
        CommunicationCost.broadcast(bytes: 1_200, ranks: ranks, rank: rank, root: root),
        CommunicationCost.gather(blobBytes: blobs, rank: rank, root: root),
        CommunicationCost.allGather(blobBytes: blobs, rank: rank),
        CommunicationCost.barrier(ranks: ranks),
      ]
      var sum = Traffic()
      for (cost, counters) in zip(costs, counted[rank]) {
        sum = sum + cost
        #expect(traffic(counters) == sum)
      }
    }
  }
}
