/// The part of the protocol buffer wire format that checkpoints use.
enum Protobuf {
  enum Value {
    case varint(UInt64)
    case bytes(ByteReader)
    case fixed32(UInt32)
    case fixed64(UInt64)
  }

  /// Calls `body` with every field of the message in `reader`, known or not.
  static func fields(
    _ reader: ByteReader, _ body: (_ number: Int, _ value: Value) throws -> Void
  ) throws {
    var reader = reader
    while !reader.isAtEnd {
      let tag = try reader.varint()
      let number = Int(truncatingIfNeeded: tag >> 3)
      guard number >= 1, number < 1 << 29 else {
        throw WeightsError.malformed(
          reader.file, "\(reader.place) holds the field number \(number)")
      }
      switch tag & 7 {
      case 0: try body(number, .varint(try reader.varint()))
      case 1: try body(number, .fixed64(try reader.littleEndian(UInt64.self)))
      case 2:
        let count = try reader.count()
        try body(number, .bytes(try reader.part(count)))
      case 5: try body(number, .fixed32(try reader.littleEndian(UInt32.self)))
      default:
        throw WeightsError.malformed(
          reader.file, "\(reader.place) holds a field of wire type \(tag & 7)")
      }
    }
  }
}

extension [UInt8] {
  /// Appends a varint field unless it has proto3's default, zero.
  mutating func append(field number: Int, nonzero value: Int) {
    if value != 0 { append(field: number, value) }
  }

  mutating func append(field number: Int, _ value: Int) {
    append(varint: number << 3)
    append(varint: value)
  }

  mutating func append(field number: Int, message: [UInt8]) {
    append(varint: number << 3 | 2)
    append(varint: message.count)
    self += message
  }

  mutating func append(field number: Int, fixed32 value: UInt32) {
    append(varint: number << 3 | 5)
    append(littleEndian: value)
  }
}
