/// A cursor over bytes that came from outside: every read is checked, and a short input throws.
struct ByteReader {
  /// The file, for errors.
  let file: String
  /// The part of the file, for errors.
  let place: String
  private let bytes: [UInt8]
  private(set) var position: Int
  let end: Int

  init(_ bytes: [UInt8], file: String, place: String) {
    self.init(bytes, 0..<bytes.count, file: file, place: place)
  }

  init(_ bytes: [UInt8], _ range: Range<Int>, file: String, place: String) {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= bytes.count, "\(range) of \(bytes.count) bytes")
    self.file = file
    self.place = place
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  var remaining: Int { end - position }
  var isAtEnd: Bool { position == end }

  mutating func byte() throws -> UInt8 {
    guard position < end else {
      throw WeightsError.truncated(file, place, needed: 1, available: 0)
    }
    defer { position += 1 }
    return bytes[position]
  }

  /// The next `count` bytes; `count` may be anything a file claims.
  mutating func range(_ count: Int) throws -> Range<Int> {
    guard count >= 0, count <= remaining else {
      throw WeightsError.truncated(file, place, needed: count, available: remaining)
    }
    defer { position += count }
    return position..<position + count
  }

  mutating func take(_ count: Int) throws -> ArraySlice<UInt8> { bytes[try range(count)] }

  /// A cursor over the next `count` bytes, which this one skips.
  mutating func part(_ count: Int, place: String? = nil) throws -> ByteReader {
    ByteReader(bytes, try range(count), file: file, place: place ?? self.place)
  }

  mutating func littleEndian<T: FixedWidthInteger & UnsignedInteger>(_: T.Type) throws -> T {
    try take(MemoryLayout<T>.size).reversed().reduce(0) { $0 << 8 | T($1) }
  }

  /// A varint of at most 64 bits (10 bytes; the tenth holds one bit).
  mutating func varint() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, through: 63, by: 7) {
      let next = try byte()
      guard shift < 63 || next <= 1 else { break }
      value |= UInt64(next & 0x7F) << UInt64(shift)
      if next < 0x80 { return value }
    }
    throw WeightsError.malformed(file, "\(place) holds a varint of more than 64 bits")
  }

  /// A varint that counts something: it must fit an `Int`.
  mutating func count() throws -> Int {
    let value = try varint()
    guard let count = Int(exactly: value) else {
      throw WeightsError.malformed(file, "\(place) holds the impossible length \(value)")
    }
    return count
  }

  /// A varint of at most 32 bits, as lengths inside index blocks are.
  mutating func count32() throws -> Int {
    let value = try varint()
    guard let count = UInt32(exactly: value) else {
      throw WeightsError.malformed(file, "\(place) holds the length \(value), past 32 bits")
    }
    return Int(count)
  }
}

extension [UInt8] {
  /// Appends `value` as a varint.
  mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(rest))
  }

  mutating func append(varint value: Int) { append(varint: UInt64(bitPattern: Int64(value))) }

  mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
    for shift in stride(from: 0, to: T.bitWidth, by: 8) {
      append(UInt8(truncatingIfNeeded: value >> T(shift)))
    }
  }
}
