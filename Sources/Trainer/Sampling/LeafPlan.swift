/// What a sequence costs, in units of one multiplication of `2H` a layer: whole numbers, so that no
/// machine rounds a comparison differently.
package struct SequenceCost: Sendable, Equatable {
  /// The cost of one token in the dense layers.
  package let perToken: Int

  /// A token multiplies with `4H² + 2HF` weights a layer; a pair of tokens costs `2H` in attention.
  package init(hiddenSize: Int = 768, intermediateSize: Int? = nil) {
    perToken = 2 * hiddenSize + (intermediateSize ?? 4 * hiddenSize)
  }

  /// The cost of a sequence of `length` tokens: `(2H + F)·S + S²`.
  package func callAsFunction(_ length: Int) -> Int { length * (perToken + length) }
}

/// Deals a step's sequences to its leaves.
///
/// A leaf is the unit of a step's canonical sum, and a rank owns an aligned run of leaves. So that ranks finish
/// together leaves must cost the same, and so must pairs, quadruples, … of neighbouring leaves.
///
/// The definition, part of what a run's bits depend on:
/// 1. Sequences in the order of falling cost, equal ones by position, go each to the leaf that costs least so far,
///    the lowest-numbered of equals (Graham's longest-processing-time rule).
/// 2. Leaves are numbered anew: the costliest is joined with the cheapest, the second with the last but one,
///    and so on, then these pairs likewise, until one tree is left (equals by their first sequence's leaf in 1; the
///    costlier is the left one). A leaf's number is its place in that tree.
/// 3. Within a leaf sequences stand in the order of their positions.
///
/// It depends on lengths (and the model's shape) alone: exchanging two sequences of equal length exchanges their
/// places and changes nothing else.
package enum LeafPlan {
  /// For each leaf the positions, below `lengths.count`, of its sequences; leaves may be empty.
  ///
  /// No leaf costs more than the mean plus the cost of one sequence.
  package static func deal(
    lengths: [Int], leaves: Int, cost: SequenceCost = SequenceCost()
  ) -> [[Int]] {
    precondition(leaves >= 1 && leaves & (leaves - 1) == 0, "\(leaves) leaves: no power of two")
    let costs = lengths.map { cost($0) }
    var dealt = [[Int]](repeating: [], count: leaves)
    var loads = [Int](repeating: 0, count: leaves)
    for position in lengths.indices.sorted(by: { (-costs[$0], $0) < (-costs[$1], $1) }) {
      var lightest = 0
      for leaf in 1..<leaves where loads[leaf] < loads[lightest] { lightest = leaf }
      dealt[lightest].append(position)
      loads[lightest] += costs[position]
    }
    return balancedOrder(loads).map { dealt[$0].sorted() }
  }

  /// The leaves in the order of step 2 of the definition.
  private static func balancedOrder(_ loads: [Int]) -> [Int] {
    var nodes = loads.enumerated().map { (load: $0.element, leaves: [$0.offset]) }
    while nodes.count > 1 {
      nodes.sort { (-$0.load, $0.leaves[0]) < (-$1.load, $1.leaves[0]) }
      nodes = (0..<nodes.count / 2).map { i in
        let (left, right) = (nodes[i], nodes[nodes.count - 1 - i])
        return (left.load + right.load, left.leaves + right.leaves)
      }
    }
    return nodes[0].leaves
  }
}
