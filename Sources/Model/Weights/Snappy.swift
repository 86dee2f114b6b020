/// Decompression of Snappy blocks (format_description.txt of the Snappy project).
///
/// TensorFlow writes its index blocks raw, but other writers of the same table format compress them.
enum Snappy {
  static func decompress(_ input: ByteReader) throws -> [UInt8] {
    var reader = input
    let declared = try reader.count32()
    // No tag makes more than 64 bytes out of fewer than two: a larger claim is not worth memory.
    guard declared <= 64 * max(reader.remaining, 1) else {
      throw malformed(input, "declares \(declared) bytes from \(reader.remaining)")
    }
    var output: [UInt8] = []
    output.reserveCapacity(declared)
    while !reader.isAtEnd {
      let tag = Int(try reader.byte())
      var length = (tag >> 2) + 1
      let offset: Int
      switch tag & 3 {
      case 0:
        if length > 60 { length = try littleEndian(&reader, bytes: length - 60) + 1 }
        guard length <= declared - output.count else {
          throw malformed(input, "holds more than the \(declared) bytes it declares")
        }
        output += try reader.take(length)
        continue
      case 1:
        length = 4 + ((tag >> 2) & 7)
        offset = (tag >> 5) << 8 | Int(try reader.byte())
      case 2: offset = try littleEndian(&reader, bytes: 2)
      default: offset = try littleEndian(&reader, bytes: 4)
      }
      guard offset > 0, offset <= output.count else {
        throw malformed(input, "copies from \(offset) back at position \(output.count)")
      }
      guard length <= declared - output.count else {
        throw malformed(input, "holds more than the \(declared) bytes it declares")
      }
      // Byte by byte: a copy may read what it has just written.
      for _ in 0..<length { output.append(output[output.count - offset]) }
    }
    guard output.count == declared else {
      throw malformed(input, "holds \(output.count) bytes and declares \(declared)")
    }
    return output
  }

  private static func littleEndian(_ reader: inout ByteReader, bytes: Int) throws -> Int {
    try reader.take(bytes).reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  private static func malformed(_ input: ByteReader, _ finding: String) -> WeightsError {
    .malformed(input.file, "the compressed \(input.place) \(finding)")
  }
}
