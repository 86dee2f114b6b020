import Foundation

/// One rank's bytes to all, down a binomial tree, in segments that follow one another.
final class BroadcastPattern: Pattern {
  let segments: Int
  let peers: [Int]
  private let bytes: UnsafeMutableRawBufferPointer
  private let parent: Int?
  private let children: [Int]
  private let segmentBytes: Int

  init(
    bytes: UnsafeMutableRawBufferPointer, root: Int, rank: Int, ranks: Int, segmentBytes: Int
  ) {
    let place = (rank - root + ranks) % ranks
    self.bytes = bytes
    self.segmentBytes = segmentBytes
    parent = place == 0 ? nil : (Binomial.parent(of: place) + root) % ranks
    children = Binomial.children(of: place, ranks: ranks).map { ($0 + root) % ranks }
    segments = (bytes.count + segmentBytes - 1) / segmentBytes
    peers = children + (parent.map { [$0] } ?? [])
  }

  func start(segment: Int, on lane: Lane) throws(CommunicationError) {
    let start = segment * segmentBytes
    let part = UnsafeMutableRawBufferPointer(
      rebasing: bytes[start..<min(start + segmentBytes, bytes.count)])
    guard let parent else { return try pass(part, on: lane) }
    try lane.receive(into: part, from: parent, round: 0) { [self] () throws(CommunicationError) in
      try pass(part, on: lane)
    }
  }

  private func pass(
    _ part: UnsafeMutableRawBufferPointer, on lane: Lane
  )
    throws(CommunicationError)
  {
    for child in children { try lane.send(UnsafeRawBufferPointer(part), to: child, round: 0) }
  }
}

/// Byte strings of any lengths, from every member to the root or to all members.
///
/// The lengths travel with the messages.
final class BlobExchange: Pattern {
  let segments = 1
  let peers: [Int]
  /// In the order of `members`; complete when the operation is.
  ///
  /// Written on the engine's thread, read after it.
  private(set) var blobs: [[UInt8]] = []
  private let own: UnsafeMutableRawBufferPointer
  private let rank: Int
  /// Where in `blobs` what each of `peers` sends belongs.
  private let places: [Int]
  /// Nil when everyone is to have them.
  private let root: Int?

  init(_ blob: [UInt8], rank: Int, members: [Int], root: Int?) {
    guard let place = members.firstIndex(of: rank) else {
      preconditionFailure("rank \(rank) among \(members)")
    }
    own = .allocate(byteCount: blob.count, alignment: 16)
    own.copyBytes(from: blob)
    self.rank = rank
    self.root = root
    // Each begins with the one behind it, so that not all send to the same one.
    let others = Array(members.indices[(place + 1)...]) + Array(members.indices[..<place])
    if let root, root != rank {
      places = []
      peers = [root]
    } else {
      places = others
      peers = others.map { members[$0] }
      blobs = .init(repeating: [], count: members.count)
      blobs[place] = blob
    }
  }

  deinit { own.deallocate() }

  func start(segment: Int, on lane: Lane) throws(CommunicationError) {
    if root != rank {
      for peer in peers { try lane.send(UnsafeRawBufferPointer(own), to: peer, round: 0) }
    }
    for (peer, place) in zip(peers, places) {
      try lane.receiveAny(from: peer, round: 0) { [self] blob throws(CommunicationError) in
        blobs[place] = blob
      }
    }
  }
}

/// Nobody leaves before everybody has come: in round `r` a rank tells the one 2^r behind it (dissemination
/// barrier; Hensgen, Finkel, Manber, IJPP 17(1), 1988).
final class BarrierPattern: Pattern {
  let segments = 1
  let peers: [Int]
  private let rank: Int
  private let ranks: Int
  private let levels: Int

  init(rank: Int, ranks: Int) {
    self.rank = rank
    self.ranks = ranks
    levels = CommunicationCost.levels(ranks)
    // Headers go both ways, so whom a rank tells and who tells it are both its peers.
    let neighbours = (0..<levels).flatMap { round in
      [(rank + 1 << round) % ranks, (rank - (1 << round) % ranks + ranks) % ranks]
    }
    peers = Set(neighbours).sorted()
  }

  func start(segment: Int, on lane: Lane) throws(CommunicationError) { try step(0, on: lane) }

  private func step(_ round: Int, on lane: Lane) throws(CommunicationError) {
    guard round < levels else { return }
    let distance = 1 << round
    try lane.send(
      UnsafeRawBufferPointer(start: nil, count: 0), to: (rank + distance) % ranks, round: round)
    try lane.receive(
      into: UnsafeMutableRawBufferPointer(start: nil, count: 0),
      from: (rank - distance + ranks) % ranks, round: round
    ) { [self] () throws(CommunicationError) in try step(round + 1, on: lane) }
  }
}

/// `MPI_Allreduce`, for comparison.
///
/// Its order of summation changes with message size, rank count and release: **not reproducible**.
/// It runs alone and only after the ranks compared sizes, because a count mismatch inside it
/// crashes another rank.
final class VendorPattern: Pattern {
  let segments = 1
  let peers: [Int]
  var isExclusive: Bool { true }
  private let values: UnsafeMutableBufferPointer<Float>

  init(values: UnsafeMutableBufferPointer<Float>, rank: Int, ranks: Int) {
    self.values = values
    peers = (0..<ranks).filter { $0 != rank }
  }

  func start(segment: Int, on lane: Lane) throws(CommunicationError) {
    // The library's call holds the engine's thread until the last rank has come, so another one looks at the clock. MPI cannot be
    // called meanwhile, not even to abort: the process ends, and with it the run.
    let settings = lane.engine.settings, name = lane.engine.table.name(of: lane.engine.rank)
    let watch = DispatchWorkItem {
      settings.onNotice(
        "\(name) has waited for the vendor's all-reduce for \(Int(settings.stallSeconds)) s: another rank does not come to it, or stands still in it. The run ends with exit code \(ExitCode.stall)."
      )
      _exit(ExitCode.stall)
    }
    DispatchQueue.global().asyncAfter(deadline: .now() + settings.stallSeconds, execute: watch)
    defer { watch.cancel() }
    try lane.communicator.vendorSum(values)
  }
}
