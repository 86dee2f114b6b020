/// What can go wrong between ranks.
///
/// Each description says what was found, where, and what would work.
package enum CommunicationError: Error, Equatable, CustomStringConvertible {
  /// An MPI call returned a code other than success.
  case call(name: String, peer: Int?, tag: Tag?, reason: String)
  case threadLevel(provided: Int)
  case tagLimit(Int)
  case messageTooLarge(bytes: Int)
  case vendorUnavailable
  case ranksExceedLeaves(ranks: Int, leaves: Int)
  case leavesNotPowerOfTwo(Int)
  case treeNeedsPowerOfTwo(ranks: Int)
  case treeNeedsFloats
  case vendorNeedsFloats
  case tooManySegments(Int, limit: Int)
  /// The first message of two ranks about an operation described different operations.
  case operationMismatch(rank: String, at: String, peer: String, peerAt: String)
  /// A message of another size than the operation both ranks agreed on has.
  case sizeMismatch(operation: String, peer: String, expected: Int, found: Int)
  /// A message that belongs to no operation of this rank.
  case strayMessage(peer: String, tag: Tag, bytes: Int)
  case badRows(peer: String, reason: String)
  /// Ranks hold different values of something all must share.
  case disagreement(item: String, values: [String])
  case peerFailed(peer: String, message: String, exitCode: Int32)
  case peerFinished(peer: String, exitCode: Int32, operation: String)
  case stall(String)
  /// The rank itself reported a failure by `fail`.
  case failedHere(message: String, exitCode: Int32)

  package var description: String {
    switch self {
    case .call(let name, let peer, let tag, let reason):
      "\(name)\(peer.map { " with rank \($0)" } ?? "")\(tag.map { ", \($0)" } ?? "") failed: "
        + "\(reason). Check that every host reaches every other on the network that MPI uses (mpirun --mca btl_tcp_if_include NETWORK), "
        + "and that `lockstep doctor` prints the same MPI on all of them."
    case .threadLevel(let provided):
      "MPI offers thread level \(provided) and MPI_THREAD_SERIALIZED is needed. Use an MPI library built with thread support."
    case .tagLimit(let limit):
      "MPI's largest tag is \(limit) and \(TagLayout.narrow.maximum) is needed. Use Open MPI with the ob1 or ucx messaging layer (mpirun --mca pml ob1)."
    case .messageTooLarge(let bytes):
      "A message of \(bytes) bytes exceeds the \(Int32.max) that MPI counts. Send it in parts."
    case .vendorUnavailable:
      "The vendor all-reduce exists only under mpirun. Choose the tree or the direct exchange."
    case .vendorNeedsFloats:
      "The vendor all-reduce sums single precision only. Choose the direct exchange for a bfloat16 wire."
    case .ranksExceedLeaves(let ranks, let leaves):
      "\(ranks) ranks cannot share \(leaves) leaves. Start at most \(leaves) ranks, or a new run with more leaves."
    case .leavesNotPowerOfTwo(let leaves):
      "The number of leaves is \(leaves) and must be a power of two from 1 to 65536."
    case .treeNeedsPowerOfTwo(let ranks):
      "The tree exchange needs a power of two of ranks and there are \(ranks). Choose the direct exchange, which gives the same bits."
    case .treeNeedsFloats:
      "The tree exchange sends single precision only. Choose the direct exchange for a bfloat16 wire."
    case .tooManySegments(let count, let limit):
      "The exchange would have \(count) segments and \(limit) is the limit. Use smaller buckets (--bucket-bytes)."
    case .operationMismatch(let rank, let here, let peer, let there):
      "The ranks disagree about what to exchange: \(rank) is at \(here), and \(peer) at \(there). Every rank must run the same program with the same recipe and data."
    case .sizeMismatch(let operation, let peer, let expected, let found):
      "\(peer) sent \(found) bytes for \(operation) where \(expected) were expected. Every rank must run the same program with the same recipe and data."
    case .strayMessage(let peer, let tag, let bytes):
      "\(peer) sent \(bytes) bytes with \(tag), which no operation here expects. Every rank must run the same program with the same recipe and data."
    case .badRows(let peer, let reason):
      "The touched rows of \(peer) cannot be used: \(reason). Every rank must run the same program with the same recipe and data."
    case .disagreement(let item, let values):
      "The ranks disagree about \(item): \(values.joined(separator: "; ")). Make it the same on every rank."
    case .peerFailed(let peer, let message, _):
      "\(peer) failed: \(message)"
    case .peerFinished(let peer, let exitCode, let operation):
      "\(peer) ended with exit code \(exitCode) while it is needed at \(operation). Every rank must run the same program with the same recipe and data."
    case .stall(let sentence): sentence
    case .failedHere(let message, _): message
    }
  }

  /// The exit code that the process should end with.
  package var exitCode: Int32 {
    switch self {
    case .call, .threadLevel, .tagLimit: ExitCode.environment
    case .messageTooLarge: ExitCode.internalError
    case .tooManySegments, .vendorUnavailable, .ranksExceedLeaves, .leavesNotPowerOfTwo,
      .treeNeedsPowerOfTwo,
      .treeNeedsFloats, .vendorNeedsFloats:
      ExitCode.usage
    case .operationMismatch, .sizeMismatch, .strayMessage, .badRows, .disagreement, .peerFinished:
      ExitCode.disagreement
    case .stall: ExitCode.stall
    case .peerFailed(_, _, let code), .failedHere(_, let code): code
    }
  }
}

/// How a run ends: `EX_…` of sysexits.h where one fits.
package enum ExitCode {
  package static let done: Int32 = 0
  package static let usage: Int32 = 64
  package static let data: Int32 = 65
  package static let environment: Int32 = 69
  package static let internalError: Int32 = 70
  package static let inputOutput: Int32 = 74
  package static let stall: Int32 = 76
  package static let disagreement: Int32 = 77
  package static let notFinite: Int32 = 78
  /// Stopped on request with a checkpoint.
  package static let tryAgain: Int32 = 75

  /// The code with which ranks end that want to end with `a` and `b`: a failure before a stop on request, which promises a checkpoint,
  /// and that before a good end.
  static func worse(_ a: Int32, _ b: Int32) -> Int32 {
    func severity(_ code: Int32) -> (Int, Int32) {
      (code == done ? 0 : code == tryAgain ? 1 : 2, code)
    }
    return severity(a) < severity(b) ? b : a
  }
}
