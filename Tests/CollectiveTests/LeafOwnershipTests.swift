import Collective
import Testing

@Suite struct LeafOwnershipTests {
  @Test(arguments: [1, 2, 4, 8, 16, 64])
  func `every leaf has one owner, runs are contiguous and differ by one leaf at most`(
    leaves: Int
  )
    throws
  {
    for ranks in 1...leaves {
      let ownership = try LeafOwnership(ranks: ranks, leaves: leaves)
      let runs = (0..<ranks).map { ownership.leaves(of: $0) }
      #expect(runs.flatMap { Array($0) } == Array(0..<leaves))
      let sizes = runs.map(\.count)
      #expect(try #require(sizes.max()) - (try #require(sizes.min())) <= 1)
      for leaf in 0..<leaves { #expect(runs[ownership.rank(of: leaf)].contains(leaf)) }
    }
  }

  @Test(arguments: [1, 2, 4, 8, 16, 64])
  func `subtrees are aligned, cover the run, and none could be larger`(leaves: Int) throws {
    for ranks in 1...leaves {
      let ownership = try LeafOwnership(ranks: ranks, leaves: leaves)
      for rank in 0..<ranks {
        let subtrees = ownership.subtrees(of: rank)
        #expect(subtrees.flatMap { Array($0.leaves) } == Array(ownership.leaves(of: rank)))
        for subtree in subtrees {
          #expect(subtree.count.nonzeroBitCount == 1 && subtree.start % subtree.count == 0)
          let parent = subtree.start / (2 * subtree.count) * (2 * subtree.count)
          let run = ownership.leaves(of: rank)
          #expect(parent < run.lowerBound || parent + 2 * subtree.count > run.upperBound)
        }
      }
    }
  }

  @Test func `powers of two own one subtree each, five ranks of eight leaves too`() throws {
    for ranks in [1, 2, 4, 8, 16] {
      #expect(try LeafOwnership(ranks: ranks, leaves: 16).allSubtrees.count == ranks)
    }
    #expect(try LeafOwnership(ranks: 5, leaves: 8).allSubtrees.count == 5)
  }

  @Test func `no division with the same largest share has fewer subtrees`() throws {
    // All divisions of M leaves into P runs of ⌊M/P⌋ or ⌈M/P⌉, by brute force.
    for (ranks, leaves) in [(3, 8), (5, 8), (6, 8), (7, 8), (3, 16), (5, 16), (6, 16), (11, 16)] {
      let small = leaves / ranks
      var fewest = Int.max
      for mask in 0..<1 << ranks where mask.nonzeroBitCount == leaves % ranks {
        var start = 0
        var count = 0
        for rank in 0..<ranks {
          let end = start + small + (mask >> rank & 1)
          count += subtreeCount(start..<end)
          start = end
        }
        fewest = min(fewest, count)
      }
      #expect(try LeafOwnership(ranks: ranks, leaves: leaves).allSubtrees.count == fewest)
    }
  }

  @Test
  func `more ranks than leaves and a count that is no power of two are refused with the way out`() {
    let tooMany = #expect(throws: CommunicationError.self) {
      try LeafOwnership(ranks: 9, leaves: 8)
    }
    #expect(
      tooMany?.description
        == "9 ranks cannot share 8 leaves. Start at most 8 ranks, or a new run with more leaves.")
    for leaves in [0, 3, 12, -8, 131072] {
      let odd = #expect(throws: CommunicationError.self) {
        try LeafOwnership(ranks: 1, leaves: leaves)
      }
      #expect(
        odd?.description
          == "The number of leaves is \(leaves) and must be a power of two from 1 to 65536.")
    }
  }

  /// The aligned pieces of a run, counted by removing the largest one that fits at the front.
  private func subtreeCount(_ run: Range<Int>) -> Int {
    var start = run.lowerBound
    var count = 0
    while start < run.upperBound {
      var size = 1
      while start % (2 * size) == 0 && start + 2 * size <= run.upperBound { size *= 2 }
      start += size
      count += 1
    }
    return count
  }
}
