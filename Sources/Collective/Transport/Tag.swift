/// How the bits of a tag are shared out.
///
/// MPI guarantees tags of 15 bits. Open MPI's layers `ob1` and `cm` give 31, `ucx` gives 23; the communicator chooses what its
/// library can carry and refuses a library that carries less.
package struct TagLayout: Hashable, Sendable {
  /// Bits of the operation number that travel.
  package let sequenceBits: Int
  package let segmentBits: Int
  package let roundBits: Int

  /// 31 bits.
  package static let wide = TagLayout(sequenceBits: 10, segmentBits: 15, roundBits: 6)
  /// 23 bits: fewer segments of an operation, and fewer operations in flight.
  package static let narrow = TagLayout(sequenceBits: 8, segmentBits: 10, roundBits: 5)

  /// The roomiest layout whose tags are at most `limit`; nil where none is.
  package init?(limit: Int) {
    guard let layout = [Self.wide, .narrow].first(where: { $0.maximum <= limit }) else {
      return nil
    }
    self = layout
  }

  private init(sequenceBits: Int, segmentBits: Int, roundBits: Int) {
    self.sequenceBits = sequenceBits
    self.segmentBits = segmentBits
    self.roundBits = roundBits
  }

  /// The largest tag.
  package var maximum: Int { 1 << (sequenceBits + segmentBits + roundBits) - 1 }
  /// The most segments one operation may have.
  package var segmentLimit: Int { 1 << segmentBits }
  /// Operations of one rank that may be under way: a message is told from one of an operation long past by half of the numbers.
  package var operationLimit: Int { 1 << (sequenceBits - 2) }

  // Rounds that are not part of a collective's own pattern.
  package var faultRound: Int { 1 << roundBits - 4 }
  package var goodbyeRound: Int { 1 << roundBits - 3 }
  package var heartbeatRound: Int { 1 << roundBits - 2 }
  package var headerRound: Int { 1 << roundBits - 1 }
}

/// What names a message between two ranks: the operation, its segment and its round.
package struct Tag: Hashable, Sendable, CustomStringConvertible {
  package let rawValue: Int32
  package let layout: TagLayout

  package init(rawValue: Int32, layout: TagLayout) {
    precondition(rawValue >= 0, "tag \(rawValue) is negative")
    self.rawValue = rawValue
    self.layout = layout
  }

  package init(sequence: Int, segment: Int, round: Int, layout: TagLayout) {
    precondition(
      segment >= 0 && segment < layout.segmentLimit, "segment \(segment) of \(layout.segmentLimit)")
    precondition(
      round >= 0 && round < 1 << layout.roundBits, "round \(round) of \(1 << layout.roundBits)")
    let low = sequence & ((1 << layout.sequenceBits) - 1)
    rawValue = Int32((low << layout.segmentBits | segment) << layout.roundBits | round)
    self.layout = layout
  }

  /// The low bits of the operation's number.
  package var sequence: Int { Int(rawValue) >> (layout.segmentBits + layout.roundBits) }
  package var segment: Int { Int(rawValue) >> layout.roundBits & (layout.segmentLimit - 1) }
  package var round: Int { Int(rawValue) & ((1 << layout.roundBits) - 1) }

  package var description: String {
    "tag \(rawValue) (operation …\(sequence), segment \(segment), round \(round))"
  }
}
