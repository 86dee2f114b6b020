typealias Continuation = () throws(CommunicationError) -> Void

/// The messages of one collective: whom a rank talks to and what each segment sends and receives.
///
/// Its methods run on the engine's thread. Memory given to `send` and `receive` stays put until the
/// continuation runs.
protocol Pattern: AnyObject {
  var segments: Int { get }
  /// The ranks this rank exchanges anything with.
  ///
  /// The relation is symmetric: both sides send headers.
  var peers: [Int] { get }
  /// Whether it must run alone, after all headers were compared.
  var isExclusive: Bool { get }
  /// Whether `segment`, which is next, can be started now; until then operations behind it go first.
  func mayStart(segment: Int) -> Bool
  func start(segment: Int, on lane: Lane) throws(CommunicationError)
}

extension Pattern {
  var isExclusive: Bool { false }
  func mayStart(segment: Int) -> Bool { true }
}

/// One segment of one operation: where its pattern posts messages.
final class Lane {
  unowned let engine: CollectiveEngine
  unowned let operation: RunningOperation
  let segment: Int
  /// Messages posted whose continuation has not run.
  var outstanding = 0

  init(engine: CollectiveEngine, operation: RunningOperation, segment: Int) {
    self.engine = engine
    self.operation = operation
    self.segment = segment
  }

  var communicator: any Communicator { engine.communicator }

  /// Sends `bytes` and then runs `then`.
  func send(
    _ bytes: UnsafeRawBufferPointer, to peer: Int, round: Int,
    then: @escaping Continuation = { () throws(CommunicationError) in }
  ) throws(CommunicationError) {
    let tag = Tag(
      sequence: operation.header.sequence, segment: segment, round: round, layout: engine.layout)
    let request = try communicator.send(bytes, to: peer, tag: tag)
    engine.counters.sentMessages += 1
    engine.counters.sentBytes += bytes.count
    outstanding += 1
    engine.pending.append(.init(request: request, lane: self, then: then))
  }

  /// Receives exactly `bytes.count` bytes and then runs `then`; any other size is an error that names the peer.
  func receive(
    into bytes: UnsafeMutableRawBufferPointer, from peer: Int, round: Int,
    then: @escaping Continuation
  ) throws(CommunicationError) {
    try expect(.init(lane: self, bytes: bytes, then: then), from: peer, round: round)
  }

  /// Receives a message of any size and then runs `then` with it.
  func receiveAny(
    from peer: Int, round: Int,
    then: @escaping ([UInt8]) throws(CommunicationError) -> Void
  ) throws(CommunicationError) {
    try expect(.init(lane: self, blob: then), from: peer, round: round)
  }

  private func expect(
    _ expectation: Expectation, from peer: Int, round: Int
  )
    throws(CommunicationError)
  {
    let tag = Tag(
      sequence: operation.header.sequence, segment: segment, round: round, layout: engine.layout)
    let key = MessageKey(source: peer, tag: tag)
    precondition(operation.expected[key] == nil, "two receives from rank \(peer) for \(tag)")
    outstanding += 1
    operation.expected[key] = expectation
    try engine.deliverEarly(key, of: operation)
  }
}

/// Which message: who sent it, and its tag.
struct MessageKey: Hashable {
  let source: Int
  let tag: Tag
}

/// A receive that waits for its message.
struct Expectation {
  let lane: Lane
  /// Where the message goes; nil when memory is made once its size is known.
  var bytes: UnsafeMutableRawBufferPointer?
  var then: Continuation?
  var blob: (([UInt8]) throws(CommunicationError) -> Void)?

  init(lane: Lane, bytes: UnsafeMutableRawBufferPointer, then: @escaping Continuation) {
    self.lane = lane
    self.bytes = bytes
    self.then = then
  }

  init(lane: Lane, blob: @escaping ([UInt8]) throws(CommunicationError) -> Void) {
    self.lane = lane
    self.blob = blob
  }
}

/// A transfer that the transport has, and what to do when it is done.
///
/// Control messages have no lane.
struct PendingTransfer {
  let request: Request
  let lane: Lane?
  let then: Continuation
}

/// What the engine knows of an operation from its submission to its end.
final class RunningOperation {
  let header: OperationHeader
  let pattern: any Pattern
  let handle: CollectiveOperation
  /// Whoever frees the memory that `pattern` points to.
  let owner: AnyObject?
  var nextSegment = 0
  var activeLanes = 0
  var headersMissing: Set<Int>
  var headerSendsLeft = 0
  var expected: [MessageKey: Expectation] = [:]
  /// Messages that came before their segment, or their header, was there.
  var early: [MessageKey: Incoming] = [:]

  init(
    header: OperationHeader, pattern: any Pattern, handle: CollectiveOperation, owner: AnyObject?
  ) {
    self.header = header
    self.pattern = pattern
    self.handle = handle
    self.owner = owner
    headersMissing = Set(pattern.peers)
  }

  var isDone: Bool {
    activeLanes == 0 && nextSegment == pattern.segments && headersMissing.isEmpty
      && headerSendsLeft == 0
  }

  /// The ranks whose messages are being waited for.
  var waitsFor: [Int] { headersMissing.union(expected.keys.map(\.source)).sorted() }
}

/// What a transport may still read and write after a failure, for as long as the process lives.
final class AbandonedMemory {
  private let operations: [RunningOperation]
  private let transfers: [PendingTransfer]

  private init(_ operations: [RunningOperation], _ transfers: [PendingTransfer]) {
    self.operations = operations
    self.transfers = transfers
  }

  /// Keeps patterns and owners of `operations`, and what the continuations of `transfers` hold; they are never freed.
  static func keep(_ operations: [RunningOperation], _ transfers: [PendingTransfer]) {
    guard !operations.isEmpty || !transfers.isEmpty else { return }
    _ = Unmanaged.passRetained(AbandonedMemory(operations, transfers))
  }
}
