import Collective
import Testing

/// The collectives that do not sum.
@Suite(.serialized) struct CollectivesTests {
  @Test(arguments: 1...9) func `a broadcast gives every rank the root's bytes`(ranks: Int) throws {
    for (root, count) in [(0, 1), (ranks - 1, 0), (ranks / 2, 10_007)] {
      var numbers = Numbers(seed: 5)
      let values = numbers.floats(count)
      let results = try onRanks(ranks, longestDelay: 100e-6) { engine in
        let buffer = Buffer(
          engine.rank == root ? values : .init(repeating: .nan, count: count), offset: 1)
        try engine.broadcast(buffer.bytes, from: root, segmentBytes: 1_000).wait()
        return bits(buffer.values)
      }
      #expect(results == .init(repeating: bits(values), count: ranks))
    }
  }

  @Test(arguments: 1...9)
  func `byte strings of unlike lengths are gathered by rank, at the root or everywhere`(
    ranks: Int
  )
    throws
  {
    let blobs = (0..<ranks).map { rank in [UInt8](repeating: UInt8(rank), count: rank * rank * 40) }
    let root = ranks / 2
    let results = try onRanks(ranks, longestDelay: 100e-6) { engine in
      let everywhere = engine.allGather(blobs[engine.rank])
      let atRoot = engine.gather(blobs[engine.rank], to: root)
      return (try everywhere.wait(), try atRoot.wait())
    }
    for (rank, (everywhere, atRoot)) in results.enumerated() {
      #expect(everywhere == blobs)
      #expect(atRoot == (rank == root ? blobs : []))
    }
  }

  @Test(arguments: 1...9)
  func `nobody leaves a barrier before everybody has come`(ranks: Int) throws {
    let arrivals = Arrivals()
    let seen = try onRanks(ranks, longestDelay: 300e-6) { engine in
      var seen: [Int] = []
      for round in 0..<5 {
        arrivals.arrive(round)
        try engine.barrier().wait()
        seen.append(arrivals.count(round))
      }
      return seen
    }
    #expect(seen == .init(repeating: .init(repeating: ranks, count: 5), count: ranks))
  }

  @Test func `more operations than the queue holds and than the tag counts go through`() throws {
    let results = try onRanks(3) { engine in
      var total = 0
      for round in 0..<60 {
        // A burst beyond the queue's limit, so that submitting has to make room.
        let burst = (0..<25).map { engine.allGather([UInt8(truncatingIfNeeded: round + $0)]) }
        for blob in burst { total += try blob.wait().reduce(0) { $0 + Int($1[0]) } }
      }
      return total
    }
    let one = (0..<60).reduce(0) { $0 + 25 * $1 + 300 }
    #expect(results == .init(repeating: 3 * one, count: 3))
  }
}
