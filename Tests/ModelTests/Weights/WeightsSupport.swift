import Foundation
import Model
import TestSupport
import Testing

/// The sentence of the error that `body` throws.
func message(_ body: () throws -> Void, sourceLocation: SourceLocation = #_sourceLocation) -> String
{
  do {
    try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    return ""
  } catch {
    return "\(error)"
  }
}

extension TemporaryFolder {
  /// A copy of a fixture folder, to be damaged.
  convenience init(copyOf fixture: String) throws {
    try self.init()
    let source = Fixtures.url(fixture)
    for name in try FileManager.default.contentsOfDirectory(atPath: source.path) {
      try Data(contentsOf: source.appending(path: name)).write(to: url.appending(path: name))
    }
  }

  func path(_ name: String) -> URL { url.appending(path: name) }

  func bytes(_ name: String) throws -> [UInt8] { try [UInt8](Data(contentsOf: path(name))) }

  func write(_ bytes: some Sequence<UInt8>, to name: String) throws {
    try Data(bytes).write(to: path(name))
  }

  /// Replaces `old`, which must occur, in a text file.
  func replace(_ old: String, with new: String, in name: String) throws {
    let text = String(decoding: try bytes(name), as: UTF8.self)
    try #require(text.contains(old))
    try write(text.replacing(old, with: new).utf8, to: name)
  }
}

/// Little-endian bytes of floats.
func bytes(_ floats: [Float]) -> [UInt8] { floats.withUnsafeBytes { Array($0) } }

/// A safetensors file from parts that need not be right.
func safetensors(header: String, data: [UInt8], length: UInt64? = nil) -> [UInt8] {
  let count = length ?? UInt64(header.utf8.count)
  return (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) } + Array(header.utf8) + data
}

/// The index table whose only data block has these contents: sealed with right checksums, so that what is inside is
/// reached even when it is nonsense.
func table(block contents: [UInt8], type: UInt8 = 0, key: [UInt8] = [0xFF]) -> [UInt8] {
  func varint(_ value: Int) -> [UInt8] {
    var rest = value, bytes: [UInt8] = []
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }
  var file: [UInt8] = []
  func seal(_ contents: [UInt8], _ type: UInt8) -> [UInt8] {
    let handle = varint(file.count) + varint(contents.count)
    let checksum = CRC32C.masked(contents + [type])
    file += contents + [type] + (0..<4).map { UInt8(truncatingIfNeeded: checksum >> (8 * $0)) }
    return handle
  }
  let empty: [UInt8] = [0, 0, 0, 0, 1, 0, 0, 0]
  let data = seal(contents, type)
  let metaindex = seal(empty, 0)
  let index = seal([0] + varint(key.count) + varint(data.count) + key + data + empty, 0)
  let footer = metaindex + index
  let magic: [UInt8] = [0x57, 0xFB, 0x80, 0x8B, 0x24, 0x75, 0x47, 0xDB]
  return file + footer + [UInt8](repeating: 0, count: 40 - footer.count) + magic
}

/// A plain Snappy compressor: literals, and copies of runs found by their first four bytes.
func snappy(_ input: [UInt8]) -> [UInt8] {
  var output: [UInt8] = []
  var count = input.count
  while count >= 0x80 {
    output.append(UInt8(count & 0x7F) | 0x80)
    count >>= 7
  }
  output.append(UInt8(count))
  var literal: [UInt8] = []
  func flush() {
    for start in stride(from: 0, to: literal.count, by: 256) {
      let piece = literal[start..<min(start + 256, literal.count)]
      output +=
        piece.count <= 60 ? [UInt8(piece.count - 1) << 2] : [60 << 2, UInt8(piece.count - 1)]
      output += piece
    }
    literal = []
  }
  var seen: [[UInt8]: Int] = [:]
  var position = 0
  while position < input.count {
    let mark = Array(input[position..<min(position + 4, input.count)])
    let earlier = mark.count == 4 ? seen.updateValue(position, forKey: mark) : nil
    guard let earlier, position - earlier < 1 << 16 else {
      literal.append(input[position])
      position += 1
      continue
    }
    flush()
    var length = 4
    while length < 64, position + length < input.count,
      input[earlier + length] == input[position + length]
    { length += 1 }
    let offset = position - earlier
    if length <= 11 && offset < 1 << 11 {
      output += [UInt8(offset >> 8) << 5 | UInt8(length - 4) << 2 | 1, UInt8(offset & 0xFF)]
    } else {
      output += [UInt8(length - 1) << 2 | 2, UInt8(offset & 0xFF), UInt8(offset >> 8)]
    }
    position += length
  }
  flush()
  return output
}
