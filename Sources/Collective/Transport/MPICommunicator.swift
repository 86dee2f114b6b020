internal import CMPI
import Synchronization

/// The ranks that `mpirun` started.
///
/// Nothing else in the project calls MPI.
///
/// MPI is asked for `MPI_THREAD_SERIALIZED`: any thread may call, one at a time. The engine calls from
/// one thread. Errors are returned, not fatal, and become `CommunicationError`s that name the call, the
/// peer and the tag (MPI 3.1, section 8.3).
package final class MPICommunicator: Communicator, @unchecked Sendable {
  package let rank: Int
  package let size: Int
  package let tagLayout: TagLayout
  private let communicator: MPI_Comm
  /// Transfers under way: MPI's request beside ours, at equal indices.
  private var handles: [MPI_Request?] = []
  private var requests: [Request] = []
  private var finished: [Int32] = []
  private static let isStarted = Atomic<Bool>(false)

  /// Joins the run.
  ///
  /// Once in a process, on the thread that will call `finalise`.
  ///
  /// The corresponding C function is `MPI_Init_thread` (MPI 3.1, section 12.4.3).
  package init() throws(CommunicationError) {
    precondition(
      !Self.isStarted.exchange(true, ordering: .sequentiallyConsistent), "MPI was started twice")
    var provided: Int32 = 0
    try Self.check(
      MPI_Init_thread(nil, nil, Int32(MPI_THREAD_SERIALIZED), &provided), "MPI_Init_thread")
    guard provided >= Int32(MPI_THREAD_SERIALIZED) else {
      throw .threadLevel(provided: Int(provided))
    }
    var comm: MPI_Comm?
    var number: Int32 = 0
    var count: Int32 = 0
    _ = cmpi_errors_return(cmpi_comm_world())
    // A communicator of our own: nothing that anyone else sends can match our probes.
    try Self.check(MPI_Comm_dup(cmpi_comm_world(), &comm), "MPI_Comm_dup")
    guard let comm else { throw .call(name: "MPI_Comm_dup", peer: nil, tag: nil, reason: "null") }
    try Self.check(cmpi_errors_return(comm), "MPI_Comm_set_errhandler")
    try Self.check(MPI_Comm_rank(comm, &number), "MPI_Comm_rank")
    try Self.check(MPI_Comm_size(comm, &count), "MPI_Comm_size")
    let limit = Int(cmpi_tag_limit())
    guard let layout = TagLayout(limit: limit) else { throw .tagLimit(limit) }
    tagLayout = layout
    communicator = comm
    rank = Int(number)
    size = Int(count)
  }

  private final class Matched: Incoming {
    var message: MPI_Message?
    init(_ message: MPI_Message?, source: Int, tag: Tag, byteCount: Int) {
      self.message = message
      super.init(source: source, tag: tag, byteCount: byteCount)
    }
  }

  /// The corresponding C function is `MPI_Isend` (MPI 3.1, section 3.7.2).
  package func send(
    _ bytes: UnsafeRawBufferPointer, to peer: Int, tag: Tag
  )
    throws(CommunicationError) -> Request
  {
    precondition(peer >= 0 && peer < size && peer != rank, "rank \(rank) sends to rank \(peer)")
    guard bytes.count <= Int(Int32.max) else { throw .messageTooLarge(bytes: bytes.count) }
    var handle: MPI_Request? = cmpi_request_null()
    try Self.check(
      MPI_Isend(
        bytes.baseAddress, Int32(bytes.count), cmpi_byte(), Int32(peer), tag.rawValue, communicator,
        &handle), "MPI_Isend", peer: peer, tag: tag)
    return track(handle)
  }

  /// The corresponding C function is `MPI_Improbe` (MPI 3.1, section 3.8.2): the message is matched
  /// before memory is chosen for it, so its size is checked by us and never by a crash.
  package func probe() throws(CommunicationError) -> Incoming? {
    var found: Int32 = 0
    var message: MPI_Message?
    var status = MPI_Status()
    try Self.check(
      MPI_Improbe(cmpi_any_source(), cmpi_any_tag(), communicator, &found, &message, &status),
      "MPI_Improbe")
    guard found != 0 else { return nil }
    let source = Int(status.MPI_SOURCE)
    let tag = Tag(rawValue: status.MPI_TAG, layout: tagLayout)
    var count: Int32 = 0
    try Self.check(
      MPI_Get_count(&status, cmpi_byte(), &count), "MPI_Get_count", peer: source, tag: tag)
    return Matched(message, source: source, tag: tag, byteCount: Int(count))
  }

  /// The corresponding C function is `MPI_Imrecv` (MPI 3.1, section 3.8.3).
  package func receive(
    _ incoming: Incoming, into bytes: UnsafeMutableRawBufferPointer
  )
    throws(CommunicationError) -> Request
  {
    guard let matched = incoming as? Matched else {
      preconditionFailure("a message of another kind of communicator")
    }
    precondition(
      bytes.count == matched.byteCount,
      "\(bytes.count) bytes for a message of \(matched.byteCount)")
    var handle: MPI_Request? = cmpi_request_null()
    try Self.check(
      MPI_Imrecv(
        bytes.baseAddress, Int32(bytes.count), cmpi_byte(), &matched.message, &handle),
      "MPI_Imrecv", peer: matched.source, tag: matched.tag)
    return track(handle)
  }

  private func track(_ handle: MPI_Request?) -> Request {
    // An eager message may be done already; MPI hands out its null request only from a test.
    let request = Request()
    handles.append(handle)
    requests.append(request)
    return request
  }

  /// The corresponding C function is `MPI_Testsome` (MPI 3.1, section 3.7.5).
  package func progress() throws(CommunicationError) {
    guard !handles.isEmpty else { return }
    if finished.count < handles.count {
      finished = .init(repeating: 0, count: 2 * handles.count)
    }
    var count: Int32 = 0
    try Self.check(
      MPI_Testsome(
        Int32(handles.count), &handles, &count, &finished, cmpi_statuses_ignore()), "MPI_Testsome")
    guard count > 0 else { return }
    // Highest first: the last entry moves into the place of the one that is done.
    for index in finished.prefix(Int(count)).map(Int.init).sorted(by: >) {
      requests[index].complete()
      handles.swapAt(index, handles.count - 1)
      requests.swapAt(index, requests.count - 1)
      handles.removeLast()
      requests.removeLast()
    }
  }

  /// The corresponding C function is `MPI_Allreduce` (MPI 3.1, section 5.9.6).
  package func vendorSum(_ values: UnsafeMutableBufferPointer<Float>) throws(CommunicationError) {
    // Counts are C ints: an int holds 2³¹ − 1.
    var start = 0
    while start < values.count {
      let count = min(values.count - start, Int(Int32.max))
      try Self.check(
        MPI_Allreduce(
          cmpi_in_place(), values.baseAddress.map { $0 + start }, Int32(count), cmpi_float(),
          cmpi_sum(), communicator), "MPI_Allreduce")
      start += count
    }
  }

  /// The corresponding C function is `MPI_Finalize` (MPI 3.1, section 8.7).
  package func finalise() throws(CommunicationError) {
    try Self.check(MPI_Finalize(), "MPI_Finalize")
  }

  /// The corresponding C function is `MPI_Abort` (MPI 3.1, section 8.7).
  package func abort(exitCode: Int32) { MPI_Abort(communicator, exitCode) }

  /// Turns a code other than `MPI_SUCCESS` into an error with MPI's own words.
  private static func check(
    _ code: Int32, _ call: String, peer: Int? = nil, tag: Tag? = nil
  )
    throws(CommunicationError)
  {
    guard code != MPI_SUCCESS else { return }
    var text = [CChar](repeating: 0, count: Int(MPI_MAX_ERROR_STRING) + 1)
    var length: Int32 = 0
    MPI_Error_string(code, &text, &length)
    let reason = String(
      decoding: text.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    throw .call(name: call, peer: peer, tag: tag, reason: reason)
  }
}
