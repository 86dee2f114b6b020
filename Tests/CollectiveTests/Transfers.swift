import Collective
import Foundation

/// Transfers by themselves, without an engine.
extension Communicator {
  /// Whether the transfer has finished, after moving it on.
  func test(_ request: Request) throws(CommunicationError) -> Bool {
    if !request.isComplete { try progress() }
    return request.isComplete
  }

  /// Returns when the transfer has finished.
  func wait(_ request: Request) throws(CommunicationError) {
    while try !test(request) { sched_yield() }
  }

  /// Starts sending floats: see `send(_:to:tag:)`.
  func send(
    _ values: UnsafeBufferPointer<Float>, to peer: Int, tag: Tag
  )
    throws(CommunicationError) -> Request
  {
    try send(UnsafeRawBufferPointer(values), to: peer, tag: tag)
  }

  /// Starts receiving floats: see `receive(_:into:)`.
  func receive(
    _ incoming: Incoming, into values: UnsafeMutableBufferPointer<Float>
  )
    throws(CommunicationError) -> Request
  {
    try receive(incoming, into: UnsafeMutableRawBufferPointer(values))
  }
}
