/// How floats travel.
package enum WireFormat: String, Sendable, Codable, CaseIterable {
  case float32
  /// Half the bytes; sums stay in single precision at the owner of each slice.
  ///
  /// Deterministic for a fixed number of ranks only, because values are rounded where ranks meet.
  case bfloat16

  var bytesPerElement: Int { self == .float32 ? 4 : 2 }
}

/// The direct exchange between any number of ranks: each rank sends every owner its slice of each of its
/// subtree sums, the owner folds them in tree order, and gives the result to all.
final class DirectPattern: Pattern {
  let segments: Int
  let peers: [Int]
  /// One vector for each subtree of this rank, in leaf order.
  ///
  /// The first also receives the result.
  fileprivate let contributions: [UnsafeMutablePointer<Float>]
  fileprivate let plan: SlicePlan
  fileprivate let ownership: LeafOwnership?
  fileprivate let rank: Int
  fileprivate let wire: WireFormat
  fileprivate let gathers: Bool

  /// Without `ownership` only the gathering half runs.
  init(
    contributions: [UnsafeMutablePointer<Float>], plan: SlicePlan, ownership: LeafOwnership?,
    rank: Int, wire: WireFormat, gathers: Bool
  ) {
    self.contributions = contributions
    self.plan = plan
    self.ownership = ownership
    self.rank = rank
    self.wire = wire
    self.gathers = gathers
    segments = plan.segments
    // Starting behind oneself spreads the load: not everyone sends to rank 0 first.
    peers = (1..<max(plan.ranks, 1)).map { (rank + $0) % plan.ranks }
  }

  func start(segment: Int, on lane: Lane) throws(CommunicationError) {
    try DirectSegment(self, lane: lane).start()
  }
}

private final class DirectSegment {
  /// Past the rounds of the subtrees: a rank has at most 2·16 of them.
  private static let gatherRound = 24

  private let pattern: DirectPattern
  private let lane: Lane
  private let own: Range<Int>
  /// Sends of a rank's slices that the transport still reads, by owner.
  private var unsent: [Int: Int] = [:]
  /// Whether what a rank's owner sends back may be received.
  private var isGathering = false
  private var sums: [LeafOwnership.Subtree: UnsafeMutablePointer<Float>] = [:]
  private var missing = 0

  init(_ pattern: DirectPattern, lane: Lane) {
    self.pattern = pattern
    self.lane = lane
    own = pattern.plan.elements(
      segment: lane.segment, slice: pattern.plan.slice(ownedBy: pattern.rank))
  }

  func start() throws(CommunicationError) {
    if let ownership = pattern.ownership {
      for peer in pattern.peers { try sendSubtrees(to: peer) }
      try collect(ownership)
    } else {
      try gather()
    }
  }

  // MARK: Towards the owners

  private func sendSubtrees(to owner: Int) throws(CommunicationError) {
    let slice = elements(of: owner)
    guard !slice.isEmpty else { return }
    for (round, contribution) in pattern.contributions.enumerated() {
      unsent[owner, default: 0] += 1
      try send(contribution + slice.lowerBound, count: slice.count, to: owner, round: round) {
        [self] () throws(CommunicationError) in
        unsent[owner, default: 0] -= 1
        if isGathering && unsent[owner] == 0 { try receiveResult(of: owner) }
      }
    }
  }

  private func collect(_ ownership: LeafOwnership) throws(CommunicationError) {
    guard !own.isEmpty else { return try gather() }
    for peer in pattern.peers {
      for (round, subtree) in ownership.subtrees(of: peer).enumerated() {
        let sum = lane.engine.scratch.take(own.count)
        sums[subtree] = sum
        missing += 1
        try receive(into: sum, count: own.count, from: peer, round: round) {
          [self] () throws(CommunicationError) in
          missing -= 1
          if missing == 0 { try fold(ownership) }
        }
      }
    }
    if pattern.peers.isEmpty { try fold(ownership) }
  }

  private func fold(_ ownership: LeafOwnership) throws(CommunicationError) {
    for (subtree, contribution) in zip(
      ownership.subtrees(of: pattern.rank), pattern.contributions)
    {
      sums[subtree] = contribution + own.lowerBound
    }
    let nodes = ownership.allSubtrees
    let inputs = nodes.map { node -> UnsafePointer<Float> in
      guard let sum = sums[node] else { preconditionFailure("no sum of leaves \(node.leaves)") }
      return UnsafePointer(sum)
    }
    let result = pattern.contributions[0] + own.lowerBound
    CanonicalTree.fold(inputs, nodes: nodes, count: own.count, into: result)
    for peer in pattern.peers {
      for subtree in ownership.subtrees(of: peer) {
        if let sum = sums[subtree] { lane.engine.scratch.give(sum, count: own.count) }
      }
    }
    sums = [:]
    // What the others get rounded, the owner must hold rounded as well.
    if pattern.gathers && pattern.wire == .bfloat16 {
      for i in 0..<own.count { result[i] = BFloat16.widen(BFloat16.round(result[i])) }
    }
    try gather()
  }

  // MARK: Back to everyone

  private func gather() throws(CommunicationError) {
    guard pattern.gathers else { return }
    isGathering = true
    for peer in pattern.peers {
      if !own.isEmpty {
        try send(
          pattern.contributions[0] + own.lowerBound, count: own.count, to: peer,
          round: Self.gatherRound
        ) { () throws(CommunicationError) in }
      }
      if unsent[peer, default: 0] == 0 { try receiveResult(of: peer) }
    }
  }

  private func receiveResult(of owner: Int) throws(CommunicationError) {
    let slice = elements(of: owner)
    guard !slice.isEmpty else { return }
    try receive(
      into: pattern.contributions[0] + slice.lowerBound, count: slice.count, from: owner,
      round: Self.gatherRound
    ) { () throws(CommunicationError) in }
  }

  // MARK: The wire

  private func send(
    _ values: UnsafeMutablePointer<Float>, count: Int, to peer: Int, round: Int,
    then: @escaping Continuation
  ) throws(CommunicationError) {
    guard pattern.wire == .bfloat16 else {
      let bytes = UnsafeRawBufferPointer(UnsafeBufferPointer(start: values, count: count))
      return try lane.send(bytes, to: peer, round: round, then: then)
    }
    let (buffer, halves) = takeHalves(count)
    BFloat16.round(values, count: count, into: halves)
    try lane.send(
      UnsafeRawBufferPointer(UnsafeBufferPointer(start: halves, count: count)), to: peer,
      round: round
    ) { [self] () throws(CommunicationError) in
      lane.engine.scratch.give(buffer, count: (count + 1) / 2)
      try then()
    }
  }

  private func receive(
    into values: UnsafeMutablePointer<Float>, count: Int, from peer: Int, round: Int,
    then: @escaping Continuation
  ) throws(CommunicationError) {
    guard pattern.wire == .bfloat16 else {
      let bytes = UnsafeMutableRawBufferPointer(
        UnsafeMutableBufferPointer(start: values, count: count))
      return try lane.receive(into: bytes, from: peer, round: round, then: then)
    }
    let (buffer, halves) = takeHalves(count)
    try lane.receive(
      into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(start: halves, count: count)),
      from: peer, round: round
    ) { [self] () throws(CommunicationError) in
      BFloat16.widen(halves, count: count, into: values)
      lane.engine.scratch.give(buffer, count: (count + 1) / 2)
      try then()
    }
  }

  private func takeHalves(
    _ count: Int
  ) -> (UnsafeMutablePointer<Float>, UnsafeMutablePointer<UInt16>) {
    let buffer = lane.engine.scratch.take((count + 1) / 2)
    return (buffer, UnsafeMutableRawPointer(buffer).assumingMemoryBound(to: UInt16.self))
  }

  private func elements(of owner: Int) -> Range<Int> {
    pattern.plan.elements(segment: lane.segment, slice: pattern.plan.slice(ownedBy: owner))
  }
}
