/// The canonical sum over leaves: a binary tree, adjacent pairs first.
///
/// Every weight gradient, on any number of ranks, threads or chunks, is folded in this order.
enum LeafFold {
  /// Partial sums besides the destination that a fold over `leaves` needs at once.
  static func slots(leaves: Int) -> Int {
    leaves <= 1 ? 0 : Int.bitWidth - (leaves - 1).leadingZeroBitCount
  }

  /// Folds `leaves` contributions.
  ///
  /// `produce` writes leaf `leaf` into partial sum `slot` (0 is the destination), or adds it there when
  /// `foldsDirectly` allows that for an odd leaf and its left neighbour. `merge` adds partial sum `from`
  /// onto partial sum `into`.
  @inline(__always)
  static func run(
    leaves: Int, foldsDirectly: (_ leaf: Int) -> Bool,
    produce: (_ leaf: Int, _ slot: Int, _ accumulate: Bool) -> Void,
    merge: (_ from: Int, _ into: Int) -> Void
  ) {
    var pending = 0
    for leaf in 0..<leaves {
      var merges = (~leaf).trailingZeroBitCount  // trailing ones of `leaf`
      if merges > 0, foldsDirectly(leaf) {
        produce(leaf, pending - 1, true)
        merges -= 1
      } else {
        produce(leaf, pending, false)
        pending += 1
      }
      while merges > 0, pending > 1 {
        merge(pending - 1, pending - 2)
        pending -= 1
        merges -= 1
      }
    }
    while pending > 1 {  // only when `leaves` is no power of two
      merge(pending - 1, pending - 2)
      pending -= 1
    }
  }
}
