/// What names a message between two ranks: the operation, its segment and its round.
///
/// MPI guarantees tags of 15 bits and Open MPI gives 31, which is what is used here; the communicator
/// refuses an MPI that has fewer.
package struct Tag: Hashable, Sendable, CustomStringConvertible {
  /// Bits of the operation number that travel; far more than there are operations in flight.
  static let sequenceBits = 10
  static let segmentBits = 15
  static let roundBits = 6
  /// The most segments one operation may have.
  package static let segmentLimit = 1 << segmentBits
  /// The largest tag made here.
  package static let maximum = Int32.max

  // Rounds that are not part of a collective's own pattern.
  package static let faultRound = 60
  package static let goodbyeRound = 61
  package static let heartbeatRound = 62
  package static let headerRound = 63

  package let rawValue: Int32

  package init(rawValue: Int32) {
    precondition(rawValue >= 0, "tag \(rawValue) is negative")
    self.rawValue = rawValue
  }

  package init(sequence: Int, segment: Int, round: Int) {
    precondition(
      segment >= 0 && segment < Self.segmentLimit, "segment \(segment) of \(Self.segmentLimit)")
    precondition(
      round >= 0 && round < 1 << Self.roundBits, "round \(round) of \(1 << Self.roundBits)")
    let low = sequence & ((1 << Self.sequenceBits) - 1)
    rawValue = Int32((low << Self.segmentBits | segment) << Self.roundBits | round)
  }

  /// The low bits of the operation's number.
  package var sequence: Int { Int(rawValue) >> (Self.segmentBits + Self.roundBits) }
  package var segment: Int { Int(rawValue) >> Self.roundBits & (Self.segmentLimit - 1) }
  package var round: Int { Int(rawValue) & ((1 << Self.roundBits) - 1) }

  package var description: String {
    "tag \(rawValue) (operation …\(sequence), segment \(segment), round \(round))"
  }
}
