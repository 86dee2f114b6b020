/// A mistake in a JSON document and where it is.
package struct JSONProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// Both count from 1; columns count Unicode scalars.
  package let line: Int, column: Int
  package let finding: String

  package var description: String { "line \(line), column \(column): \(finding)" }
}

extension JSONValue {
  /// The document in `bytes` (UTF-8; a byte order mark is skipped), by the letter of RFC 8259.
  package init(parsing bytes: [UInt8]) throws(JSONProblem) {
    var parser = JSONParser(bytes)
    self = try parser.document()
  }

  /// The document in `bytes`; a mistake becomes an error that names `file`, line and column.
  package init(parsing bytes: [UInt8], file: String) throws {
    do {
      try self.init(parsing: bytes)
    } catch {
      throw WeightsError(
        .format, file,
        "is not JSON at line \(error.line), column \(error.column): \(error.finding)",
        "correct the file there")
    }
  }
}

private struct JSONParser {
  private let bytes: [UInt8]
  private var position: Int
  /// Deeper documents are refused before they can exhaust the stack.
  private static let deepest = 64

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    position = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
  }

  mutating func document() throws(JSONProblem) -> JSONValue {
    let value = try value(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw problem("more text after the end of the document") }
    return value
  }

  private func problem(_ finding: String, at place: Int? = nil) -> JSONProblem {
    let before = bytes[..<min(place ?? position, bytes.count)]
    let start = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    // Continuation bytes begin no scalar.
    let column = before[start...].count { $0 & 0xC0 != 0x80 } + 1
    return JSONProblem(line: before.count { $0 == 0x0A } + 1, column: column, finding: finding)
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private var nextDescription: String {
    guard let next else { return "the end of the file" }
    return (0x21...0x7E).contains(next)
      ? "'\(Character(UnicodeScalar(next)))'" : "byte 0x" + String(next, radix: 16)
  }

  private mutating func skipSpace() {
    while let next, next == 0x20 || next == 0x0A || next == 0x0D || next == 0x09 { position += 1 }
  }

  private mutating func value(depth: Int) throws(JSONProblem) -> JSONValue {
    guard depth < Self.deepest else { throw problem("more than \(Self.deepest) levels") }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return .object(try members(depth: depth))
    case UInt8(ascii: "["): return .array(try elements(depth: depth))
    case UInt8(ascii: "\""): return .string(try string())
    case let byte? where byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte):
      return .number(try number())
    default: break
    }
    for (word, value) in [("true", JSONValue.bool(true)), ("false", .bool(false)), ("null", .null)]
    where bytes[position...].starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    throw problem("a value is expected, found \(nextDescription)")
  }

  private mutating func members(depth: Int) throws(JSONProblem) -> [JSONValue.Member] {
    var members: [JSONValue.Member] = []
    var seen: Set<String> = []
    position += 1
    skipSpace()
    if next == UInt8(ascii: "}") {
      position += 1
      return members
    }
    while true {
      skipSpace()
      let place = position
      guard next == UInt8(ascii: "\"") else {
        throw problem("a key in quotes is expected, found \(nextDescription)")
      }
      let key = try string()
      guard seen.insert(key).inserted else { throw problem("the key \"\(key)\" again", at: place) }
      skipSpace()
      guard next == UInt8(ascii: ":") else {
        throw problem("':' is expected, found \(nextDescription)")
      }
      position += 1
      members.append(JSONValue.Member(key, try value(depth: depth + 1)))
      if try !more(until: UInt8(ascii: "}")) { return members }
    }
  }

  private mutating func elements(depth: Int) throws(JSONProblem) -> [JSONValue] {
    var elements: [JSONValue] = []
    position += 1
    skipSpace()
    if next == UInt8(ascii: "]") {
      position += 1
      return elements
    }
    while true {
      elements.append(try value(depth: depth + 1))
      if try !more(until: UInt8(ascii: "]")) { return elements }
    }
  }

  /// Skips a comma (true) or the closing bracket (false).
  private mutating func more(until closing: UInt8) throws(JSONProblem) -> Bool {
    skipSpace()
    guard next == closing || next == UInt8(ascii: ",") else {
      throw problem(
        "',' or '\(Character(UnicodeScalar(closing)))' is expected, found \(nextDescription)")
    }
    defer { position += 1 }
    return next != closing
  }

  private mutating func number() throws(JSONProblem) -> String {
    let start = position
    if next == UInt8(ascii: "-") { position += 1 }
    let whole = position
    try digits()
    guard bytes[whole] != UInt8(ascii: "0") || position == whole + 1 else {
      throw problem("a number that starts with 0", at: start)
    }
    if next == UInt8(ascii: ".") {
      position += 1
      try digits()
    }
    if let mark = next, mark | 0x20 == UInt8(ascii: "e") {
      position += 1
      if let sign = next, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
      try digits()
    }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  private mutating func digits() throws(JSONProblem) {
    let start = position
    while let next, (0x30...0x39).contains(next) { position += 1 }
    guard position > start else { throw problem("a digit is expected, found \(nextDescription)") }
  }

  private mutating func string() throws(JSONProblem) -> String {
    let start = position
    position += 1
    var text: [UInt8] = []
    while let byte = next {
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: text, as: UTF8.self) else {
          throw problem("a string that is not UTF-8", at: start)
        }
        return string
      case UInt8(ascii: "\\"): try escape(into: &text)
      case 0..<0x20:
        throw problem("a control character inside a string", at: position - 1)
      default: text.append(byte)
      }
    }
    throw problem("a string without an end", at: start)
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONProblem) {
    let place = position - 1
    guard let byte = next else { throw problem("a string without an end", at: place) }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var value = try hexadecimal(place)
      if value & 0xFC00 == 0xD800, bytes[position...].starts(with: "\\u".utf8) {
        position += 2
        let low = try hexadecimal(place)
        guard low & 0xFC00 == 0xDC00 else { throw problem("half a surrogate pair", at: place) }
        value = 0x10000 + (value & 0x3FF) << 10 + low & 0x3FF
      }
      guard let scalar = UnicodeScalar(value) else {
        throw problem("half a surrogate pair", at: place)
      }
      text += Array(String(scalar).utf8)
    default: throw problem("an unknown escape", at: place)
    }
  }

  private mutating func hexadecimal(_ place: Int) throws(JSONProblem) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(UnicodeScalar(byte)).hexDigitValue else {
        throw problem("four hexadecimal digits are expected after \\u", at: place)
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }
}
