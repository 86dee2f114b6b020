/// How sums are exchanged.
///
/// The tree and the direct exchange give the same bits; the vendor's does not.
package enum Exchange: String, Sendable, Codable, CaseIterable {
  /// The tree where the number of ranks is a power of two, else the direct exchange.
  case automatic
  case tree
  case direct
  /// `MPI_Allreduce` of whole vectors: **not reproducible**, for comparison.
  case vendor
}

/// The collectives.
///
/// All ranks call them in the same order. Memory belongs to the engine until `wait` returns. A pointer does not keep its owner: give
/// it as `keeping`, and it lives until the operation is finished, and after a failure until the process ends.
extension CollectiveEngine {
  /// Sums over the leaves in the canonical order; every rank gets the sum.
  ///
  /// `contributions`: one vector of `plan.count` floats for each of this rank's subtrees, in leaf order. The
  /// sum is in the first afterwards; the others are unchanged.
  package func allReduce(
    _ contributions: [UnsafeMutablePointer<Float>], plan: SlicePlan, ownership: LeafOwnership,
    exchange: Exchange = .automatic, wire: WireFormat = .float32, keeping owner: AnyObject? = nil
  ) throws(CommunicationError) -> CollectiveOperation {
    try reduce(
      .allReduce, contributions, plan: plan, ownership: ownership, exchange: exchange, wire: wire,
      owner: owner)
  }

  /// Sums over the leaves in the canonical order; each rank gets the slices it owns in `plan`.
  ///
  /// The sums are in the first contribution, in place; what lies outside of this rank's slices is undefined afterwards.
  package func reduceScatter(
    _ contributions: [UnsafeMutablePointer<Float>], plan: SlicePlan, ownership: LeafOwnership,
    exchange: Exchange = .automatic, wire: WireFormat = .float32, keeping owner: AnyObject? = nil
  ) throws(CommunicationError) -> CollectiveOperation {
    try reduce(
      .reduceScatter, contributions, plan: plan, ownership: ownership, exchange: exchange,
      wire: wire, owner: owner)
  }

  private func reduce(
    _ kind: OperationKind, _ contributions: [UnsafeMutablePointer<Float>], plan: SlicePlan,
    ownership: LeafOwnership, exchange: Exchange, wire: WireFormat, owner: AnyObject?
  ) throws(CommunicationError) -> CollectiveOperation {
    try check(plan)
    precondition(ownership.ranks == size, "leaves of \(ownership.ranks) ranks on \(size)")
    let subtrees = ownership.subtrees(of: rank).count
    precondition(
      contributions.count == subtrees,
      "\(contributions.count) contributions for \(subtrees) subtrees")
    if exchange == .vendor {
      guard wire == .float32 else { throw .vendorNeedsFloats }
      return vendorReduce(contributions, count: plan.count, keeping: owner)
    }
    let usesTree = try usesTree(exchange, wire: wire)
    let pattern: any Pattern =
      usesTree
      ? TreePattern(
        data: contributions[0], plan: plan, rank: rank, reduces: true, gathers: kind == .allReduce)
      : DirectPattern(
        contributions: contributions, plan: plan, ownership: ownership, rank: rank, wire: wire,
        gathers: kind == .allReduce)
    return submit(
      kind, bytes: 4 * plan.count,
      digest: digest(plan, usesTree: usesTree, wire: wire, leaves: ownership.leaves),
      pattern: pattern, keeping: owner)
  }

  /// Sums this rank's contributions into the first, and then everyone's: each rank gets the whole sum, of whatever slices it is the owner.
  private func vendorReduce(
    _ contributions: [UnsafeMutablePointer<Float>], count: Int, keeping owner: AnyObject?
  ) -> CollectiveOperation {
    let sum = contributions[0]
    for contribution in contributions.dropFirst() {
      for i in 0..<count { sum[i] += contribution[i] }
    }
    return vendorAllReduce(
      UnsafeMutableBufferPointer(start: sum, count: count), keeping: owner)
  }

  /// Every rank gets every slice of `plan` from its owner.
  ///
  /// `values`: `plan.count` floats, in place.
  package func allGather(
    _ values: UnsafeMutablePointer<Float>, plan: SlicePlan, exchange: Exchange = .automatic,
    keeping owner: AnyObject? = nil
  ) throws(CommunicationError) -> CollectiveOperation {
    try check(plan)
    let usesTree = try usesTree(exchange, wire: .float32)
    let pattern: any Pattern =
      usesTree
      ? TreePattern(data: values, plan: plan, rank: rank, reduces: false, gathers: true)
      : DirectPattern(
        contributions: [values], plan: plan, ownership: nil, rank: rank, wire: .float32,
        gathers: true)
    return submit(
      .allGather, bytes: 4 * plan.count,
      digest: digest(plan, usesTree: usesTree, wire: .float32, leaves: 0), pattern: pattern,
      keeping: owner)
  }

  /// Copies the root's bytes to every rank.
  ///
  /// `bytes` has the same count on all.
  package func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, from root: Int = 0,
    segmentBytes: Int = SlicePlan.defaultSegmentBytes, keeping owner: AnyObject? = nil
  ) throws(CommunicationError) -> CollectiveOperation {
    precondition(root >= 0 && root < size, "root \(root) of \(size) ranks")
    // Larger segments where tags have no room for so many.
    let least = (bytes.count + layout.segmentLimit - 1) / layout.segmentLimit
    let segmentBytes = max(segmentBytes, least)
    let pattern = BroadcastPattern(
      bytes: bytes, root: root, rank: rank, ranks: size, segmentBytes: segmentBytes)
    return submit(
      .broadcast, bytes: bytes.count, digest: UInt64(segmentBytes) << 20 | UInt64(root),
      pattern: pattern, keeping: owner)
  }

  /// Every rank's byte string to the root, of any lengths.
  package func gather(_ blob: [UInt8], to root: Int = 0) -> BlobOperation {
    precondition(root >= 0 && root < size, "root \(root) of \(size) ranks")
    let exchange = BlobExchange(blob, rank: rank, members: Array(0..<size), root: root)
    let operation = submit(.gatherBlobs, bytes: 0, digest: UInt64(root), pattern: exchange)
    return BlobOperation(operation: operation, exchange: exchange)
  }

  /// Every rank's byte string to everyone, of any lengths.
  package func allGather(_ blob: [UInt8]) -> BlobOperation {
    allGather(blob, among: Array(0..<size))
  }

  /// Every rank's byte string to the other `members` of its part of the ranks, of any lengths; in the order of `members`.
  ///
  /// All ranks call it, each with the members of the part that it is in, ascending.
  package func allGather(_ blob: [UInt8], among members: [Int]) -> BlobOperation {
    precondition(
      zip(members, members.dropFirst()).allSatisfy { $0 < $1 }, "members \(members) do not ascend")
    let exchange = BlobExchange(blob, rank: rank, members: members, root: nil)
    let digest = members.reduce(UInt64(members.count)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    let operation = submit(.allGatherBlobs, bytes: 0, digest: digest, pattern: exchange)
    return BlobOperation(operation: operation, exchange: exchange)
  }

  /// Returns, once waited for, when every rank has come here.
  package func barrier() -> CollectiveOperation {
    submit(.barrier, bytes: 0, digest: 0, pattern: BarrierPattern(rank: rank, ranks: size))
  }

  /// Sums `values` by `MPI_Allreduce`, to compare speed.
  ///
  /// **Not reproducible**: the order of summation is the library's choice.
  package func vendorAllReduce(
    _ values: UnsafeMutableBufferPointer<Float>, keeping owner: AnyObject? = nil
  ) -> CollectiveOperation {
    submit(
      .vendorAllReduce, bytes: 4 * values.count, digest: 0,
      pattern: VendorPattern(values: values, rank: rank, ranks: size), keeping: owner)
  }

  // MARK: Shared

  private func check(_ plan: SlicePlan) throws(CommunicationError) {
    precondition(plan.ranks == size, "a plan for \(plan.ranks) ranks on \(size)")
    guard plan.segments <= layout.segmentLimit else {
      throw .tooManySegments(plan.segments, limit: layout.segmentLimit)
    }
  }

  private func usesTree(_ exchange: Exchange, wire: WireFormat) throws(CommunicationError) -> Bool {
    let isPowerOfTwo = size & (size - 1) == 0
    switch exchange {
    // Rounding at every hop would grow with the ranks: bf16 is summed at the owner alone.
    // What is gathered is not summed, and the vendor's way of summing has no say in it.
    case .automatic, .vendor: return isPowerOfTwo && wire == .float32
    case .direct: return false
    case .tree:
      guard isPowerOfTwo else { throw .treeNeedsPowerOfTwo(ranks: size) }
      guard wire == .float32 else { throw .treeNeedsFloats }
      return true
    }
  }

  private func digest(_ plan: SlicePlan, usesTree: Bool, wire: WireFormat, leaves: Int) -> UInt64 {
    plan.digest ^ UInt64(leaves) << 8 ^ UInt64(wire.bytesPerElement) << 1 ^ (usesTree ? 1 : 0)
  }
}
