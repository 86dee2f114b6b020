/// The order-preserving encoding of the keys under which TensorFlow stores the slices of a
/// partitioned variable (tensorflow/core/lib/strings/ordered_code.cc).
enum OrderedCode {
  /// The key of one slice: 0, the variable's name, its rank, and start and length of each dimension.
  static func sliceKey(name: String, slice: [TensorSlice]) -> [UInt8] {
    var key: [UInt8] = []
    append(unsigned: 0, to: &key)
    append(name.utf8, to: &key)
    append(unsigned: UInt64(slice.count), to: &key)
    for extent in slice {
      append(signed: Int64(extent.start), to: &key)
      // The whole dimension is stored as length -1.
      append(signed: Int64(extent.length ?? -1), to: &key)
    }
    return key
  }

  /// The number of significant bytes, then those bytes, largest first.
  private static func append(unsigned value: UInt64, to key: inout [UInt8]) {
    let count = (64 - value.leadingZeroBitCount + 7) / 8
    key.append(UInt8(count))
    for i in (0..<count).reversed() {
      key.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(i))))
    }
  }

  /// The bytes with 00 and FF escaped, ended by 00 01.
  private static func append(_ bytes: String.UTF8View, to key: inout [UInt8]) {
    for byte in bytes {
      key.append(byte)
      if byte == 0x00 { key.append(0xFF) }
      if byte == 0xFF { key.append(0x00) }
    }
    key += [0x00, 0x01]
  }

  /// A number of n bytes begins with n one bits (after the sign), as in UTF-8.
  private static func append(signed value: Int64, to key: inout [UInt8]) {
    let magnitude = UInt64(bitPattern: value < 0 ? ~value : value)
    let bits = 64 - magnitude.leadingZeroBitCount
    let count = bits / 7 + 1
    let fill: UInt8 = value < 0 ? 0xFF : 0
    var bytes = [fill, fill]
    for i in (0..<8).reversed() {
      bytes.append(UInt8(truncatingIfNeeded: UInt64(bitPattern: value) >> (8 * UInt64(i))))
    }
    bytes.removeFirst(10 - count)
    let header: UInt16 = count >= 16 ? .max : ~(UInt16.max >> UInt16(count))
    bytes[0] ^= UInt8(header >> 8)
    if count > 1 { bytes[1] ^= UInt8(header & 0xFF) }
    key += bytes
  }
}

/// What a slice covers of one dimension; `length` is nil for all of it.
package struct TensorSlice: Equatable, Sendable {
  package var start: Int
  package var length: Int?
}
