import Synchronization

/// Ranks that are threads of one process: every algorithm runs on 1…16 of them without mpirun.
///
/// Small messages are copied when they are sent; larger ones stay in the sender's memory until the
/// receiver has them, as MPI's rendezvous does, so that memory given back too early shows as wrong numbers.
package final class InMemoryNetwork: Sendable {
  package let size: Int
  /// Messages up to this many bytes are copied at once.
  package let eagerBytes: Int
  /// Each message is held back for a random time below this, in seconds.
  package let longestDelay: Double
  private let seed: UInt64
  let tagLayout: TagLayout
  fileprivate let mailboxes: [Mailbox]

  package init(
    size: Int, longestDelay: Double = 0, seed: UInt64 = 1, eagerBytes: Int = 256,
    tagLayout: TagLayout = .wide
  ) {
    precondition(size >= 1, "a network of \(size) ranks")
    self.size = size
    self.longestDelay = longestDelay
    self.seed = seed
    self.eagerBytes = eagerBytes
    self.tagLayout = tagLayout
    mailboxes = (0..<size).map { _ in Mailbox(sources: size) }
  }

  /// The communicator of one rank.
  ///
  /// Ask once for each.
  package func communicator(rank: Int) -> InMemoryCommunicator {
    precondition(rank >= 0 && rank < size, "rank \(rank) of \(size)")
    return InMemoryCommunicator(
      network: self, rank: rank, seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(rank))
  }

  /// What has arrived for one rank: a queue for each source, so that no message overtakes another.
  fileprivate final class Mailbox: Sendable {
    let queues: Mutex<[[Message]]>
    init(sources: Int) { queues = Mutex(.init(repeating: [], count: sources)) }
  }

  /// A message on its way.
  ///
  /// The memory is the sender's, or a copy that is freed with the message.
  fileprivate final class Message: @unchecked Sendable {
    let source: Int
    let tag: Tag
    let bytes: UnsafeRawBufferPointer
    let isCopy: Bool
    let arrival: Double
    let request: Request

    init(
      source: Int, tag: Tag, bytes: UnsafeRawBufferPointer, isCopy: Bool, arrival: Double,
      request: Request
    ) {
      self.source = source
      self.tag = tag
      self.bytes = bytes
      self.isCopy = isCopy
      self.arrival = arrival
      self.request = request
    }

    deinit { if isCopy { bytes.deallocate() } }
  }
}

/// One rank of an `InMemoryNetwork`.
package final class InMemoryCommunicator: Communicator, @unchecked Sendable {
  package let rank: Int
  package var tagLayout: TagLayout { network.tagLayout }
  package var size: Int { network.size }
  private let network: InMemoryNetwork
  /// State of the delays' generator (SplitMix64), touched by this rank's thread alone.
  private var state: UInt64

  fileprivate init(network: InMemoryNetwork, rank: Int, seed: UInt64) {
    self.network = network
    self.rank = rank
    state = seed
  }

  private final class Arrived: Incoming {
    let message: InMemoryNetwork.Message
    init(_ message: InMemoryNetwork.Message) {
      self.message = message
      super.init(source: message.source, tag: message.tag, byteCount: message.bytes.count)
    }
  }

  package func send(
    _ bytes: UnsafeRawBufferPointer, to peer: Int, tag: Tag
  )
    throws(CommunicationError) -> Request
  {
    precondition(peer >= 0 && peer < size && peer != rank, "rank \(rank) sends to rank \(peer)")
    let isEager = bytes.count <= network.eagerBytes
    var body = bytes
    if isEager {
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
      copy.copyMemory(from: bytes)
      body = UnsafeRawBufferPointer(copy)
    }
    let request = Request(complete: isEager)
    let message = InMemoryNetwork.Message(
      source: rank, tag: tag, bytes: body, isCopy: isEager,
      arrival: monotonicSeconds() + randomDelay(), request: request)
    network.mailboxes[peer].queues.withLock { $0[rank].append(message) }
    return request
  }

  package func probe() throws(CommunicationError) -> Incoming? {
    let now = monotonicSeconds()
    let first = Int(next() % UInt64(size))
    let message = network.mailboxes[rank].queues.withLock { queues -> InMemoryNetwork.Message? in
      for offset in 0..<size {
        let source = (first + offset) % size
        guard let head = queues[source].first, head.arrival <= now else { continue }
        return queues[source].removeFirst()
      }
      return nil
    }
    return message.map(Arrived.init)
  }

  package func receive(
    _ incoming: Incoming, into bytes: UnsafeMutableRawBufferPointer
  )
    throws(CommunicationError) -> Request
  {
    guard let arrived = incoming as? Arrived else {
      preconditionFailure("a message of another kind of communicator")
    }
    precondition(
      bytes.count == arrived.byteCount,
      "\(bytes.count) bytes for a message of \(arrived.byteCount)")
    bytes.copyMemory(from: arrived.message.bytes)
    arrived.message.request.complete()
    return Request(complete: true)
  }

  package func progress() throws(CommunicationError) {}

  package func vendorSum(_ values: UnsafeMutableBufferPointer<Float>) throws(CommunicationError) {
    throw .vendorUnavailable
  }

  package func finalise() throws(CommunicationError) {}
  package func abort(exitCode: Int32) {}

  private func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  private func randomDelay() -> Double {
    guard network.longestDelay > 0 else { return 0 }
    return network.longestDelay * Double(next() >> 11) * 0x1p-53
  }
}
