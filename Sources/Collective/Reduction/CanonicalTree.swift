/// The one order in which leaves are summed: adjacent pairs first, then pairs of pairs.
enum CanonicalTree {
  /// Elements folded at once: the partial sums of a block stay in the first-level cache.
  private static let block = 1024

  /// Folds the sums of `nodes` into `result`.
  ///
  /// `nodes` cover the leaves in order; `inputs[i]` holds the sum of `nodes[i]`, `count` elements.
  /// `result` may be one of the inputs.
  static func fold(
    _ inputs: [UnsafePointer<Float>], nodes: [LeafOwnership.Subtree], count: Int,
    into result: UnsafeMutablePointer<Float>
  ) {
    precondition(inputs.count == nodes.count, "\(inputs.count) inputs for \(nodes.count) subtrees")
    if inputs.count == 1 {
      if inputs[0] != UnsafePointer(result) { result.update(from: inputs[0], count: count) }
      return
    }
    let merges = mergesAfterEach(nodes)
    // One block of scratch for each pending sum.
    let scratch = UnsafeMutablePointer<Float>.allocate(capacity: block * nodes.count)
    defer { scratch.deallocate() }
    var pending: [UnsafePointer<Float>] = []
    pending.reserveCapacity(nodes.count)
    var start = 0
    while start < count {
      let length = min(block, count - start)
      pending.removeAll(keepingCapacity: true)
      for (input, merges) in zip(inputs, merges) {
        pending.append(input + start)
        for _ in 0..<merges {
          let right = pending.removeLast()
          let left = pending.removeLast()
          let sum = scratch + block * pending.count
          add(left, right, count: length, into: sum)
          pending.append(UnsafePointer(sum))
        }
      }
      (result + start).update(from: pending[0], count: length)
      start += length
    }
  }

  /// How many times the two latest sums become one after each node: the carries of a binary counter.
  static func mergesAfterEach(_ nodes: [LeafOwnership.Subtree]) -> [Int] {
    var pending: [LeafOwnership.Subtree] = []
    var merges: [Int] = []
    for node in nodes {
      pending.append(node)
      var count = 0
      while pending.count >= 2 {
        let right = pending[pending.count - 1]
        let left = pending[pending.count - 2]
        guard left.count == right.count, left.start % (2 * left.count) == 0,
          right.start == left.start + left.count
        else { break }
        pending.removeLast(2)
        pending.append(.init(start: left.start, count: 2 * left.count))
        count += 1
      }
      merges.append(count)
    }
    precondition(
      pending.count == 1, "\(pending.count) subtrees are left: the nodes do not cover a tree")
    return merges
  }

  /// `sum = left + right`, element by element.
  ///
  /// `sum` may be one of them.
  static func add(
    _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, count: Int,
    into sum: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<count { sum[i] = left[i] + right[i] }
  }
}
