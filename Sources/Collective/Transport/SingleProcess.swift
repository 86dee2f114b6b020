/// The communicator of a run of one process.
///
/// No MPI is initialised and no network touched.
package final class SingleProcess: Communicator {
  package let rank = 0
  package let size = 1

  package init() {}

  package func send(
    _ bytes: UnsafeRawBufferPointer, to peer: Int, tag: Tag
  )
    throws(CommunicationError) -> Request
  {
    preconditionFailure("a message to rank \(peer) in a run of 1 rank")
  }

  package func probe() throws(CommunicationError) -> Incoming? { nil }

  package func receive(
    _ incoming: Incoming, into bytes: UnsafeMutableRawBufferPointer
  )
    throws(CommunicationError) -> Request
  {
    preconditionFailure("a message from rank \(incoming.source) in a run of 1 rank")
  }

  package func progress() throws(CommunicationError) {}
  package func vendorSum(_ values: UnsafeMutableBufferPointer<Float>) throws(CommunicationError) {}
  package func finalise() throws(CommunicationError) {}
  package func abort(exitCode: Int32) {}
}
