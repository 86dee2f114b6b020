import Synchronization

/// A send or a receive under way.
///
/// Its memory belongs to the transport until `isComplete`.
package final class Request: Sendable {
  private let done: Atomic<Bool>

  package init(complete: Bool = false) { done = Atomic(complete) }

  package var isComplete: Bool { done.load(ordering: .acquiring) }

  func complete() { done.store(true, ordering: .releasing) }
}

/// A message that has arrived and has not been received yet: its size is known before memory is given for it.
package class Incoming {
  package let source: Int
  package let tag: Tag
  package let byteCount: Int

  init(source: Int, tag: Tag, byteCount: Int) {
    self.source = source
    self.tag = tag
    self.byteCount = byteCount
  }
}

/// Point-to-point messages between the ranks of a run.
///
/// One thread at a time calls it. Messages between two ranks are probed in the order they were sent.
/// A receive is only ever started for a message whose size is known, so a peer that sends too much
/// cannot overrun memory: receiving is `probe`, look, then `receive`.
package protocol Communicator: AnyObject, Sendable {
  var rank: Int { get }
  var size: Int { get }

  /// Starts sending `bytes`, which must stay as they are until the request is complete.
  func send(
    _ bytes: UnsafeRawBufferPointer, to peer: Int, tag: Tag
  )
    throws(CommunicationError) -> Request

  /// The next message from anyone, or nil when none has arrived.
  ///
  /// It is claimed: probing again gives another.
  func probe() throws(CommunicationError) -> Incoming?

  /// Starts receiving a probed message into `bytes`, which has exactly `incoming.byteCount` bytes.
  func receive(
    _ incoming: Incoming, into bytes: UnsafeMutableRawBufferPointer
  )
    throws(CommunicationError) -> Request

  /// Moves transfers on and marks the requests that finished.
  func progress() throws(CommunicationError)

  /// Sums `values` over all ranks by the library's own algorithm, whose order of summation is not ours.
  func vendorSum(_ values: UnsafeMutableBufferPointer<Float>) throws(CommunicationError)

  /// How the tags of its messages are made; the same on all ranks.
  var tagLayout: TagLayout { get }

  /// Ends communication in good order.
  ///
  /// All ranks call it.
  func finalise() throws(CommunicationError)

  /// Ends every rank of the run at once.
  ///
  /// Only for when agreement has failed.
  func abort(exitCode: Int32)
}

extension Communicator {
  package var tagLayout: TagLayout { .wide }
}
