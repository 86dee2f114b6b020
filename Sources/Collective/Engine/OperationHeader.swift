/// What kind of collective an operation is.
package enum OperationKind: UInt32, Sendable, CustomStringConvertible {
  case allReduce = 1
  case reduceScatter, allGather, broadcast, gatherBlobs, allGatherBlobs, barrier, vendorAllReduce
  case partsToRoot

  package var description: String {
    switch self {
    case .allReduce: "all-reduce"
    case .reduceScatter: "reduce-scatter"
    case .allGather: "all-gather"
    case .broadcast: "broadcast"
    case .gatherBlobs: "gather of blobs"
    case .allGatherBlobs: "all-gather of blobs"
    case .barrier: "barrier"
    case .vendorAllReduce: "vendor all-reduce"
    case .partsToRoot: "stream of parts"
    }
  }
}

/// The first message of an operation between two ranks: what the sender is about to do.
///
/// Two ranks that do not mean the same operation find out here, before a byte of payload is received.
package struct OperationHeader: Equatable, CustomStringConvertible {
  package static let byteCount = 40
  private static let magic: UInt64 = 0x4C4F_434B_5354_4550  // "LOCKSTEP"

  var kind: OperationKind
  var sequence: Int
  /// Bytes of the whole vector; zero for blobs, whose lengths may differ.
  var bytes: Int
  /// Digest of the cuts, the exchange, the wire format and the leaves.
  var digest: UInt64

  func write(to memory: UnsafeMutableRawBufferPointer) {
    precondition(memory.count == Self.byteCount, "\(memory.count) bytes for a header")
    let words = [
      Self.magic, UInt64(kind.rawValue), UInt64(sequence), UInt64(bytes), digest,
    ]
    for (index, word) in words.enumerated() {
      memory.storeBytes(of: word.littleEndian, toByteOffset: 8 * index, as: UInt64.self)
    }
  }

  /// Nil when the bytes are no header.
  init?(_ memory: UnsafeRawBufferPointer) {
    guard memory.count == Self.byteCount else { return nil }
    let words = (0..<5).map {
      UInt64(littleEndian: memory.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self))
    }
    guard words[0] == Self.magic, let kind = UInt32(exactly: words[1]).flatMap(OperationKind.init),
      let sequence = Int(exactly: words[2]), let bytes = Int(exactly: words[3])
    else { return nil }
    self.init(kind: kind, sequence: sequence, bytes: bytes, digest: words[4])
  }

  init(kind: OperationKind, sequence: Int, bytes: Int, digest: UInt64) {
    self.kind = kind
    self.sequence = sequence
    self.bytes = bytes
    self.digest = digest
  }

  package var description: String {
    let size = bytes > 0 ? " of \(bytes) bytes" : ""
    return "operation \(sequence) (\(kind)\(size), plan \(String(digest, radix: 16)))"
  }
}
