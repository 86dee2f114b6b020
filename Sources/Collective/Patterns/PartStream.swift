import Foundation

/// Parts that ranks hold, on their way to the root one after another, while other operations go on.
///
/// A part is one message, sent from where it lies. The root receives into a window of a few parts, and no further part while the window
/// is full: memory stays the same whatever is gathered, and whoever reads slowly holds up these messages and no others.
package final class PartStream: @unchecked Sendable {
  /// Bytes that one rank holds and the root is to read.
  package struct Part {
    let owner: Int
    let bytes: UnsafeRawBufferPointer

    /// `bytes` are read at `owner` alone; their count is the same on every rank.
    package init(owner: Int, bytes: UnsafeRawBufferPointer) {
      self.owner = owner
      self.bytes = bytes
    }
  }

  /// Parts that may lie in the root's window.
  package static let windowParts = 16
  /// Messages under way at once, so that segments are left for other operations.
  static let messagesAtOnce = 3

  /// Where one part is received.
  private struct Slot {
    let memory: UnsafeMutableRawBufferPointer
    var isFilled = false
  }

  let parts: [Part]
  let root: Int
  private unowned let engine: CollectiveEngine
  /// What this rank gave `submit`.
  private var operations: [CollectiveOperation] = []

  /// Used by the engine alone: messages that were posted and have not come or gone.
  fileprivate var messages = 0
  /// Used by the engine alone: parts that were given a slot.
  private var placed = 0

  private let condition = NSCondition()
  // Guarded by `condition`.
  private var slots: [Slot] = []
  /// Parts that were read out of the window.
  private var taken = 0

  /// Parts that were handed to the reader; the reader's.
  private var read = 0

  fileprivate init(_ parts: [Part], root: Int, engine: CollectiveEngine) {
    self.parts = parts
    self.root = root
    self.engine = engine
    guard engine.rank == root, engine.size > 1 else { return }
    let length = parts.reduce(0) { $1.owner == root ? $0 : max($0, $1.bytes.count) }
    slots = (0..<Self.windowParts).map { _ in
      Slot(memory: .allocate(byteCount: length, alignment: 64))
    }
  }

  deinit { for slot in slots { slot.memory.deallocate() } }

  // MARK: The root's reader

  /// Whether every part was read.
  package var isRead: Bool { read == parts.count }

  /// Hands the next part to `body`, in the order in which they were given; for the root.
  ///
  /// Waits for a part of another rank. May be called from any one thread.
  ///
  /// - Throws: `CommunicationError` that ended the run's communication, or what `body` throws.
  package func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    precondition(engine.rank == root && !isRead, "part \(read) of \(parts.count) read")
    let part = parts[read]
    read += 1
    guard part.owner != root else { return try body(part.bytes) }
    let slot = try arrivedSlot()
    try body(UnsafeRawBufferPointer(rebasing: slot[..<part.bytes.count]))
    condition.withLock {
      slots[taken % slots.count].isFilled = false
      taken += 1
    }
  }

  /// The memory of the next part of another rank, once it has come.
  private func arrivedSlot() throws(CommunicationError) -> UnsafeMutableRawBufferPointer {
    while true {
      condition.lock()
      let slot = slots[taken % slots.count]
      // A failure of the engine wakes nobody here, and without its thread someone has to move the messages.
      let seconds = engine.usesThread ? 20e-3 : 200e-6
      if !slot.isFilled { _ = condition.wait(until: Date(timeIntervalSinceNow: seconds)) }
      condition.unlock()
      if slot.isFilled { return slot.memory }
      if let failure = engine.currentFailure { throw failure }
      if !engine.usesThread { engine.poll() }
    }
  }

  // MARK: Every rank

  /// Returns when this rank's memory is no longer read by the engine; at the root, when all other ranks' parts have come.
  package func wait() throws(CommunicationError) {
    for operation in operations { try operation.wait() }
  }

  fileprivate func add(_ operation: CollectiveOperation) { operations.append(operation) }

  // MARK: On the engine's thread

  /// Whether the root may receive another part, the one numbered `number` among those of the others.
  fileprivate func hasRoom(for number: Int) -> Bool {
    guard messages < Self.messagesAtOnce, placed == number else { return false }
    return condition.withLock { placed - taken < slots.count }
  }

  /// The memory for the next part of another rank, and what to call when it has come.
  fileprivate func place() -> (memory: UnsafeMutableRawBufferPointer, arrived: () -> Void) {
    let number = placed % slots.count
    placed += 1
    messages += 1
    return (
      slots[number].memory,
      { [self] in
        messages -= 1
        condition.withLock {
          slots[number].isFilled = true
          condition.broadcast()
        }
      }
    )
  }
}

/// Some parts of a stream: one segment for each that is not the root's own.
final class PartPattern: Pattern {
  let segments: Int
  let peers: [Int]
  private let stream: PartStream
  /// Of the parts of others than the root, the number of the first, and all of this operation.
  private let first: Int
  private let parts: ArraySlice<PartStream.Part>
  private let rank: Int

  /// `parts`: those of `stream` that are not the root's, from number `first` on.
  init(
    _ stream: PartStream, parts: ArraySlice<PartStream.Part>, first: Int, rank: Int, ranks: Int
  ) {
    self.stream = stream
    self.parts = parts
    self.first = first
    self.rank = rank
    segments = parts.count
    peers = rank == stream.root ? (0..<ranks).filter { $0 != rank } : [stream.root]
  }

  private func part(_ segment: Int) -> PartStream.Part { parts[parts.startIndex + segment] }

  func mayStart(segment: Int) -> Bool {
    if rank == stream.root { return stream.hasRoom(for: first + segment) }
    return part(segment).owner != rank || stream.messages < PartStream.messagesAtOnce
  }

  func start(segment: Int, on lane: Lane) throws(CommunicationError) {
    let part = part(segment)
    if rank == stream.root {
      let (memory, arrived) = stream.place()
      try lane.receive(
        into: UnsafeMutableRawBufferPointer(rebasing: memory[..<part.bytes.count]),
        from: part.owner, round: 0
      ) { () throws(CommunicationError) in arrived() }
    } else if part.owner == rank {
      stream.messages += 1
      try lane.send(part.bytes, to: stream.root, round: 0) {
        [stream] () throws(CommunicationError) in stream.messages -= 1
      }
    }
  }
}

extension CollectiveEngine {
  /// Starts to send `parts` to the root, which reads them with `next`; the others `wait` before they change theirs.
  ///
  /// Collective; `parts` have the same owners and sizes on all ranks. Cost: `CommunicationCost.stream`.
  package func stream(
    _ parts: [PartStream.Part], to root: Int = 0, keeping owner: AnyObject? = nil,
    operationParts: Int? = nil
  ) -> PartStream {
    precondition(root >= 0 && root < size, "root \(root) of \(size) ranks")
    let stream = PartStream(parts, root: root, engine: self)
    let others = parts.filter { $0.owner != root }
    let operationParts = operationParts ?? layout.segmentLimit
    for first in stride(from: 0, to: others.count, by: operationParts) {
      let own = others[first..<min(first + operationParts, others.count)]
      let digest = own.reduce(UInt64(root)) {
        ($0 ^ UInt64($1.owner) << 40 ^ UInt64($1.bytes.count)) &* 0x100_0000_01B3
      }
      stream.add(
        submit(
          .partsToRoot, bytes: own.reduce(0) { $0 + $1.bytes.count }, digest: digest,
          pattern: PartPattern(stream, parts: own, first: first, rank: rank, ranks: size),
          keeping: owner))
    }
    return stream
  }
}
