/// Which leaves of a step each rank computes, and as which subtrees of the canonical tree it sends them.
///
/// Ranks own contiguous runs of ⌊M/P⌋ or ⌈M/P⌉ leaves. Among those divisions the one with the fewest
/// maximal aligned subtrees is taken (the earliest larger runs on a tie), because each subtree beyond one
/// per rank is one more vector to send. Powers of two own one subtree each.
package struct LeafOwnership: Sendable, Equatable {
  /// An aligned run of `count` leaves, `count` a power of two and `start` a multiple of it.
  package struct Subtree: Sendable, Hashable {
    package let start: Int
    package let count: Int
    package var leaves: Range<Int> { start..<start + count }
  }

  package let ranks: Int
  package let leaves: Int
  /// `ranks + 1` leaf numbers: rank `q` owns `borders[q]..<borders[q + 1]`.
  private let borders: [Int]
  /// By rank, from the first leaf on.
  private let subtreesByRank: [[Subtree]]

  package init(ranks: Int, leaves: Int) throws(CommunicationError) {
    guard leaves >= 1, leaves <= 65536, leaves & (leaves - 1) == 0 else {
      throw .leavesNotPowerOfTwo(leaves)
    }
    precondition(ranks >= 1, "\(ranks) ranks")
    guard ranks <= leaves else { throw .ranksExceedLeaves(ranks: ranks, leaves: leaves) }
    self.ranks = ranks
    self.leaves = leaves
    borders = Self.division(ranks: ranks, leaves: leaves)
    subtreesByRank = (0..<ranks).map { [borders] in Self.subtrees(of: borders[$0]..<borders[$0 + 1])
    }
  }

  /// The leaves that `rank` computes.
  package func leaves(of rank: Int) -> Range<Int> { borders[rank]..<borders[rank + 1] }

  /// The maximal aligned subtrees of `rank`: what it contributes to a reduction, in leaf order.
  package func subtrees(of rank: Int) -> [Subtree] { subtreesByRank[rank] }

  /// The rank that computes `leaf`.
  package func rank(of leaf: Int) -> Int {
    precondition(leaf >= 0 && leaf < leaves, "leaf \(leaf) of \(leaves)")
    return borders.firstIndex { $0 > leaf }.map { $0 - 1 } ?? ranks - 1
  }

  /// Every rank's subtrees one after the other: the nodes that the owner of a slice folds.
  package var allSubtrees: [Subtree] { subtreesByRank.flatMap { $0 } }

  /// The run cut greedily into the largest aligned pieces.
  static func subtrees(of run: Range<Int>) -> [Subtree] {
    var result: [Subtree] = []
    var start = run.lowerBound
    while start < run.upperBound {
      var count = start == 0 ? 1 << 62 : start & -start
      while start + count > run.upperBound { count >>= 1 }
      result.append(Subtree(start: start, count: count))
      start += count
    }
    return result
  }

  private static func division(ranks: Int, leaves: Int) -> [Int] {
    let small = leaves / ranks
    let larger = leaves % ranks
    // best[u]: fewest subtrees of the ranks from here on when `u` larger runs lie before them.
    var best = [Int](repeating: .max, count: larger + 1)
    best[larger] = 0
    var takesLarger: [[Bool]] = []
    for rank in (0..<ranks).reversed() {
      var next = [Int](repeating: .max, count: larger + 1)
      var choice = [Bool](repeating: false, count: larger + 1)
      for used in 0...larger where used <= rank {
        let start = rank * small + used
        for isLarger in [true, false] where !isLarger || used < larger {
          let rest = best[isLarger ? used + 1 : used]
          guard rest != .max else { continue }
          let cost = rest + subtrees(of: start..<start + small + (isLarger ? 1 : 0)).count
          if cost < next[used] {
            next[used] = cost
            choice[used] = isLarger
          }
        }
      }
      best = next
      takesLarger.append(choice)
    }
    var borders = [0]
    var used = 0
    for choice in takesLarger.reversed() {
      let isLarger = choice[used]
      borders.append(borders[borders.count - 1] + small + (isLarger ? 1 : 0))
      used += isLarger ? 1 : 0
    }
    return borders
  }
}
