/// Where a text stops being JSON, and what would have been right there.
struct JSONSyntaxError: Error, Equatable {
  /// In bytes of the file.
  let offset: Int
  let expected: String
}

/// What an object holds under one of the wanted keys.
enum JSONMember: Sendable, Equatable {
  case absent
  case null
  /// A string, unescaped; a number or boolean as it is written.
  case text(String)
  /// An array or object, by its bytes in the file.
  case container(Range<Int>)
  /// The key stands there more than once.
  case twice
}

/// The wanted members of one object, and all its keys if one of them is missing.
struct JSONMembers {
  var values: [JSONMember]
  /// Empty when nothing is missing: the keys serve messages only.
  var keys: [String] = []
}

/// A strict scanner (RFC 8259) for one object of known UTF-8.
///
/// Foundation's parser would do for the values, but it tells neither the byte of an error nor a repeated key, and rounds long numbers.
struct JSONObjectScanner: ~Escapable {
  private let bytes: Span<UInt8>
  private let end: Int
  private var at: Int
  /// Arrays and objects inside one another beyond this depth are refused.
  private static let depthLimit = 512

  @_lifetime(copy bytes)
  private init(_ bytes: Span<UInt8>, _ range: Range<Int>) {
    self.bytes = bytes
    at = range.lowerBound
    end = range.upperBound
  }

  /// The members of the object in `range` that `names` ask for, in the order of `names`; nothing follows it.
  static func members(
    named names: [String], _ bytes: Span<UInt8>, _ range: Range<Int>
  ) throws(JSONSyntaxError) -> JSONMembers {
    let (members, end) = try first(named: names, bytes, range)
    var rest = JSONObjectScanner(bytes, end..<range.upperBound)
    rest.skipSpace()
    guard rest.at == rest.end else { throw rest.unexpected("the end of the line") }
    return members
  }

  /// The same of the object that `range` begins with, and where it ends.
  static func first(
    named names: [String], _ bytes: Span<UInt8>, _ range: Range<Int>
  ) throws(JSONSyntaxError) -> (members: JSONMembers, end: Int) {
    var scanner = JSONObjectScanner(bytes, range)
    var result = try scanner.object(names, collectsKeys: false)
    // Only a row that is about to be refused is worth the list of its keys.
    if result.values.contains(.absent) {
      var again = JSONObjectScanner(bytes, range)
      result = try again.object(names, collectsKeys: true)
    }
    return (result, scanner.at)
  }

  private mutating func object(
    _ names: [String], collectsKeys: Bool
  ) throws(JSONSyntaxError) -> JSONMembers {
    var members = JSONMembers(values: [JSONMember](repeating: .absent, count: names.count))
    skipSpace()
    guard take(0x7B) else { throw unexpected("an object") }
    skipSpace()
    if !take(0x7D) {
      repeat {
        skipSpace()
        let key = try string("a key in quotes")
        if collectsKeys { members.keys.append(text(key)) }
        skipSpace()
        guard take(0x3A) else { throw unexpected("\":\"") }
        skipSpace()
        let value = try value()
        for i in names.indices where matches(key, names[i]) {
          members.values[i] = members.values[i] == .absent ? value.member(self) : .twice
        }
        skipSpace()
      } while take(0x2C)
      guard take(0x7D) else { throw unexpected("\",\" or \"}\"") }
    }
    return members
  }

  // MARK: Values

  /// A value by its bytes: nothing is copied before it is known to be wanted.
  private enum Value {
    case null
    case string(StringRange)
    case literal(Range<Int>)
    case container(Range<Int>)

    func member(_ scanner: borrowing JSONObjectScanner) -> JSONMember {
      switch self {
      case .null: .null
      case .string(let range): .text(scanner.text(range))
      case .literal(let range): .text(scanner.bytes.string(range))
      case .container(let range): .container(range)
      }
    }
  }

  private mutating func value() throws(JSONSyntaxError) -> Value {
    let start = at
    guard let first = peek else { throw unexpected("a value") }
    switch first {
    case 0x22: return .string(try string("a value"))
    case 0x7B, 0x5B:
      try skipContainer()
      return .container(start..<at)
    case 0x2D, 0x30...0x39:
      try number()
      return .literal(start..<at)
    default:
      if word("null") { return .null }
      if word("true") || word("false") { return .literal(start..<at) }
      throw unexpected("a value")
    }
  }

  /// Steps over an array or object, checking it; a stack of brackets instead of recursion.
  private mutating func skipContainer() throws(JSONSyntaxError) {
    var closers: [UInt8] = []
    repeat {
      // At the start of a value.
      skipSpace()
      if peek == 0x7B || peek == 0x5B {
        guard closers.count < Self.depthLimit else {
          throw unexpected("no more than \(Self.depthLimit) brackets inside one another")
        }
        closers.append(peek == 0x7B ? 0x7D : 0x5D)
        at += 1
        skipSpace()
        if peek != closers.last {
          if closers.last == 0x7D { try key() }
          continue
        }
      } else {
        _ = try value()
      }
      // Behind a value, or at the closer of an empty container.
      while let closer = closers.last {
        skipSpace()
        if take(closer) {
          closers.removeLast()
        } else if take(0x2C) {
          skipSpace()
          if closer == 0x7D { try key() }
          break
        } else {
          throw unexpected(closer == 0x7D ? "\",\" or \"}\"" : "\",\" or \"]\"")
        }
      }
    } while !closers.isEmpty
  }

  private mutating func key() throws(JSONSyntaxError) {
    _ = try string("a key in quotes")
    skipSpace()
    guard take(0x3A) else { throw unexpected("\":\"") }
  }

  private mutating func number() throws(JSONSyntaxError) {
    _ = take(0x2D)
    if !take(0x30) { try digits() }
    if take(0x2E) { try digits() }
    if take(0x65) || take(0x45) {
      if !take(0x2B) { _ = take(0x2D) }
      try digits()
    }
  }

  private mutating func digits() throws(JSONSyntaxError) {
    guard let first = peek, (0x30...0x39).contains(first) else { throw unexpected("a digit") }
    while let digit = peek, (0x30...0x39).contains(digit) { at += 1 }
  }

  // MARK: Strings

  private struct StringRange {
    /// Between the quotes.
    let range: Range<Int>
    let hasEscapes: Bool
  }

  /// Steps over a string and checks its escapes.
  private mutating func string(_ expected: String) throws(JSONSyntaxError) -> StringRange {
    guard take(0x22) else { throw unexpected(expected) }
    let start = at
    var hasEscapes = false
    while true {
      var i = at
      while i < end, bytes[i] >= 0x20, bytes[i] != 0x22, bytes[i] != 0x5C { i += 1 }
      at = i
      if take(0x22) { return StringRange(range: start..<(at - 1), hasEscapes: hasEscapes) }
      guard let byte = peek else { throw unexpected("a quote that ends the string") }
      guard byte == 0x5C else {
        throw unexpected("a control character written as \\u00XX or \\t")
      }
      hasEscapes = true
      try escape()
    }
  }

  private mutating func escape() throws(JSONSyntaxError) {
    let start = at
    at += 1
    guard let letter = peek else { throw unexpected("an escaped letter") }
    guard letter == 0x75 else {
      guard "\"\\/bfnrt".utf8.contains(letter) else {
        throw unexpected("one of \" \\ / b f n r t u")
      }
      at += 1
      return
    }
    at += 1
    let unit = try hexadecimal()
    func refuse(_ expected: String) -> JSONSyntaxError {
      JSONSyntaxError(offset: start, expected: expected)
    }
    if unit == 0 { throw refuse("text (\\u0000 is NUL)") }
    if (0xDC00...0xDFFF).contains(unit) { throw refuse("the first half of the surrogate pair") }
    if (0xD800...0xDBFF).contains(unit) {
      guard take(0x5C), take(0x75), (0xDC00...0xDFFF).contains(try hexadecimal()) else {
        throw refuse("a whole surrogate pair")
      }
    }
  }

  private mutating func hexadecimal() throws(JSONSyntaxError) -> UInt32 {
    var unit: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = peek.flatMap({ hexadecimalDigit($0) }) else {
        throw unexpected("four hexadecimal digits")
      }
      unit = unit << 4 | digit
      at += 1
    }
    return unit
  }

  /// The text of a string whose escapes were checked.
  private borrowing func text(_ string: StringRange) -> String {
    guard string.hasEscapes else { return bytes.string(string.range) }
    // No escape is shorter than its UTF-8.
    return String(unsafeUninitializedCapacity: string.range.count) { buffer in
      var count = 0
      func put(_ byte: UInt8) {
        buffer[count] = byte
        count += 1
      }
      var i = string.range.lowerBound
      while i < string.range.upperBound {
        guard bytes[i] == 0x5C else {
          put(bytes[i])
          i += 1
          continue
        }
        i += 2
        switch bytes[i - 1] {
        case 0x62: put(0x08)
        case 0x66: put(0x0C)
        case 0x6E: put(0x0A)
        case 0x72: put(0x0D)
        case 0x74: put(0x09)
        case 0x75:
          var value = codeUnit(at: i)
          i += 4
          if (0xD800...0xDBFF).contains(value) {
            value = 0x10000 + ((value - 0xD800) << 10) + (codeUnit(at: i + 2) - 0xDC00)
            i += 6
          }
          // Lone surrogates were refused when the string was checked.
          Unicode.Scalar(value).map(UTF8.encode)??.forEach(put)
        case let letter: put(letter)
        }
      }
      return count
    }
  }

  /// The UTF-16 code unit whose four checked digits start at `offset`.
  private borrowing func codeUnit(at offset: Int) -> UInt32 {
    (offset..<(offset + 4)).reduce(0) { $0 << 4 | (hexadecimalDigit(bytes[$1]) ?? 0) }
  }

  /// Whether the string is `name`; an escape in a key is rare enough to be unescaped first.
  private borrowing func matches(_ key: StringRange, _ name: String) -> Bool {
    if key.hasEscapes { return text(key).utf8.elementsEqual(name.utf8) }
    let wanted = name.utf8
    return wanted.count == key.range.count
      && zip(key.range, wanted).allSatisfy { bytes[$0] == $1 }
  }

  // MARK: Bytes

  private var peek: UInt8? { at < end ? bytes[at] : nil }

  private mutating func skipSpace() {
    while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A { at += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard peek == byte else { return false }
    at += 1
    return true
  }

  private mutating func word(_ word: StaticString) -> Bool {
    let length = word.utf8CodeUnitCount
    guard end - at >= length else { return false }
    let same = word.withUTF8Buffer { letters in
      var same = true
      for i in 0..<length { same = same && letters[i] == bytes[at + i] }
      return same
    }
    if same { at += length }
    return same
  }

  private func unexpected(_ expected: String) -> JSONSyntaxError {
    JSONSyntaxError(offset: at, expected: expected)
  }
}

/// Walks the elements of a JSON array that is all of a text of known UTF-8; each element is an object.
struct JSONArrayScanner: ~Escapable {
  /// What is expected at the beginning.
  static let opening = "\"[\""
  private let bytes: Span<UInt8>
  private var at: Int
  private var isFirst = true

  @_lifetime(copy bytes)
  init(_ bytes: Span<UInt8>, from start: Int) throws(JSONSyntaxError) {
    self.bytes = bytes
    at = start
    guard take(0x5B) else { throw JSONSyntaxError(offset: at, expected: Self.opening) }
  }

  /// The wanted members of the next element and its bytes; nil behind the last.
  mutating func next(
    named names: [String]
  ) throws(JSONSyntaxError) -> (members: JSONMembers, range: Range<Int>)? {
    if take(0x5D) {
      skipSpace()
      guard at == bytes.count else {
        throw JSONSyntaxError(offset: at, expected: "the end of the file")
      }
      return nil
    }
    guard isFirst || take(0x2C) else {
      throw JSONSyntaxError(offset: at, expected: "\",\" or \"]\"")
    }
    isFirst = false
    skipSpace()
    let start = at
    let (members, end) = try JSONObjectScanner.first(named: names, bytes, start..<bytes.count)
    at = end
    return (members, start..<end)
  }

  private mutating func skipSpace() {
    while at < bytes.count, [0x20, 0x09, 0x0D, 0x0A].contains(bytes[at]) { at += 1 }
  }

  /// Steps over white space, then over `byte` if it stands there.
  private mutating func take(_ byte: UInt8) -> Bool {
    skipSpace()
    guard at < bytes.count, bytes[at] == byte else { return false }
    at += 1
    return true
  }
}

/// The value of a hexadecimal digit in ASCII, or nil.
private func hexadecimalDigit(_ byte: UInt8) -> UInt32? {
  switch byte {
  case 0x30...0x39: UInt32(byte - 0x30)
  case 0x41...0x46: UInt32(byte - 0x41 + 10)
  case 0x61...0x66: UInt32(byte - 0x61 + 10)
  default: nil
  }
}
