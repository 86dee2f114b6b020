/// Recursive halving and doubling between a power of two of ranks, with distances 1, 2, 4 and so on.
///
/// After round `r` a rank holds sums over 2^(r+1) neighbouring ranks: the canonical tree, because every rank
/// contributes the sum of one aligned subtree. Doubling goes the same way back. (Thakur, Rabenseifner,
/// Gropp, IJHPCA 19(1), 2005; there with distances that shrink.)
final class TreePattern: Pattern {
  let segments: Int
  let peers: [Int]
  fileprivate let data: UnsafeMutablePointer<Float>
  fileprivate let plan: SlicePlan
  fileprivate let rank: Int
  fileprivate let levels: Int
  fileprivate let reduces: Bool
  fileprivate let gathers: Bool

  init(
    data: UnsafeMutablePointer<Float>, plan: SlicePlan, rank: Int, reduces: Bool, gathers: Bool
  ) {
    self.data = data
    self.plan = plan
    self.rank = rank
    self.reduces = reduces
    self.gathers = gathers
    levels = CommunicationCost.levels(plan.ranks)
    segments = plan.segments
    peers = (0..<levels).map { [rank] in rank ^ 1 << $0 }
  }

  func start(segment: Int, on lane: Lane) throws(CommunicationError) {
    try TreeSegment(self, lane: lane).start()
  }
}

/// One segment on its way.
///
/// Kept alive by the continuations of its messages.
private final class TreeSegment {
  private let pattern: TreePattern
  private let lane: Lane
  /// `windows[r]`: the slices this rank works on before round `r`; each is a half of the one before.
  private let windows: [Range<Int>]
  /// Halves sent in the reduction that the transport still reads: their memory is not yet ours to overwrite.
  private var unsent: Set<Int> = []
  private var gatherWaitsFor: Int?

  init(_ pattern: TreePattern, lane: Lane) {
    self.pattern = pattern
    self.lane = lane
    var windows = [0..<pattern.plan.ranks]
    for round in 0..<pattern.levels {
      let window = windows[round]
      let middle = (window.lowerBound + window.upperBound) / 2
      windows.append(
        pattern.rank >> round & 1 == 0
          ? window.lowerBound..<middle : middle..<window.upperBound)
    }
    self.windows = windows
  }

  func start() throws(CommunicationError) {
    if pattern.reduces { try reduce(round: 0) } else { try gather(round: pattern.levels - 1) }
  }

  /// Sends the half that the partner keeps and adds the partner's sums to the other.
  private func reduce(round: Int) throws(CommunicationError) {
    guard round < pattern.levels else {
      if pattern.gathers { try gather(round: pattern.levels - 1) }
      return
    }
    let partner = pattern.rank ^ 1 << round
    let given = elements(otherHalf(of: round))
    if !given.isEmpty {
      unsent.insert(round)
      try lane.send(bytes(given), to: partner, round: round) {
        [self] () throws(CommunicationError) in
        unsent.remove(round)
        if gatherWaitsFor == round { try gather(round: round) }
      }
    }
    let kept = elements(windows[round + 1])
    guard !kept.isEmpty else { return try reduce(round: round + 1) }
    let incoming = lane.engine.scratch.take(kept.count)
    try lane.receive(
      into: UnsafeMutableRawBufferPointer(
        UnsafeMutableBufferPointer(start: incoming, count: kept.count)),
      from: partner, round: round
    ) { [self] () throws(CommunicationError) in
      let own = pattern.data + kept.lowerBound
      // The lower rank's leaves come first: only the payload of a NaN could tell, and it should not either.
      if partner < pattern.rank {
        CanonicalTree.add(incoming, own, count: kept.count, into: own)
      } else {
        CanonicalTree.add(own, incoming, count: kept.count, into: own)
      }
      lane.engine.scratch.give(incoming, count: kept.count)
      try reduce(round: round + 1)
    }
  }

  /// Gives the partner what this rank has, and takes the partner's.
  private func gather(round: Int) throws(CommunicationError) {
    guard round >= 0 else { return }
    if unsent.contains(round) {
      gatherWaitsFor = round
      return
    }
    gatherWaitsFor = nil
    let partner = pattern.rank ^ 1 << round
    let own = elements(windows[round + 1])
    if !own.isEmpty { try lane.send(bytes(own), to: partner, round: pattern.levels + round) }
    let missing = elements(otherHalf(of: round))
    guard !missing.isEmpty else { return try gather(round: round - 1) }
    try lane.receive(
      into: UnsafeMutableRawBufferPointer(
        UnsafeMutableBufferPointer(
          start: pattern.data + missing.lowerBound, count: missing.count)),
      from: partner, round: pattern.levels + round
    ) { [self] () throws(CommunicationError) in try gather(round: round - 1) }
  }

  /// The half of round `round`'s window that the partner keeps.
  private func otherHalf(of round: Int) -> Range<Int> {
    let whole = windows[round]
    let kept = windows[round + 1]
    return kept.lowerBound == whole.lowerBound
      ? kept.upperBound..<whole.upperBound : whole.lowerBound..<kept.lowerBound
  }

  private func elements(_ slices: Range<Int>) -> Range<Int> {
    pattern.plan.elements(segment: lane.segment, slices: slices)
  }

  private func bytes(_ elements: Range<Int>) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(
      UnsafeBufferPointer(start: pattern.data + elements.lowerBound, count: elements.count))
  }
}
