/// A JSON document that keeps what Foundation's parsers drop: the order of members, the text of
/// numbers, repeated keys (an error here), and the line and column of a mistake.
package enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  /// The number as written, so that it survives being read and written.
  case number(String)
  case string(String)
  case array([JSONValue])
  case object([Member])

  package struct Member: Sendable, Equatable {
    package var key: String
    package var value: JSONValue

    package init(_ key: String, _ value: JSONValue) {
      self.key = key
      self.value = value
    }
  }

  package init(_ value: Int) { self = .number(String(value)) }
  package init(_ value: Float) { self = .number("\(value)") }

  /// The member called `key` of an object.
  package subscript(key: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.key == key }?.value
  }

  package var string: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  package var bool: Bool? {
    guard case .bool(let value) = self else { return nil }
    return value
  }

  package var double: Double? {
    guard case .number(let text) = self, let value = Double(text), value.isFinite else {
      return nil
    }
    return value
  }

  /// The number if it is whole, also when written as 768.0.
  package var int: Int? {
    guard case .number(let text) = self else { return nil }
    return Int(text) ?? Double(text).flatMap { Int(exactly: $0) }
  }

  /// The number if it is written as a whole one.
  package var literalInt: Int? {
    guard case .number(let text) = self else { return nil }
    return Int(text)
  }

  package var array: [JSONValue]? {
    guard case .array(let values) = self else { return nil }
    return values
  }

  package var members: [Member]? {
    guard case .object(let members) = self else { return nil }
    return members
  }

  /// What the value is, for errors.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .number(let text): "the number \(text)"
    case .string(let text): "the string \"\(text)\""
    case .array: "a list"
    case .object: "an object"
    }
  }
}

extension JSONValue {
  /// The document on several lines, keys sorted by their bytes: equal values give equal text.
  package func formatted() -> String {
    var text = ""
    append(to: &text, indent: 0, sorted: true)
    return text + "\n"
  }

  /// The document on one line without spaces, members in their order.
  package func compact() -> String {
    var text = ""
    append(to: &text, indent: nil, sorted: false)
    return text
  }

  private func append(to text: inout String, indent: Int?, sorted: Bool) {
    func list(_ open: String, _ close: String, _ count: Int, _ item: (Int, inout String) -> Void) {
      text += open
      for i in 0..<count {
        if i > 0 { text += "," }
        if let indent { text += "\n" + String(repeating: " ", count: indent + 2) }
        item(i, &text)
      }
      if let indent, count > 0 { text += "\n" + String(repeating: " ", count: indent) }
      text += close
    }
    let inner = indent.map { $0 + 2 }
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .number(let number): text += number
    case .string(let string): Self.append(quoted: string, to: &text)
    case .array(let values):
      list("[", "]", values.count) { values[$0].append(to: &$1, indent: inner, sorted: sorted) }
    case .object(let members):
      let members =
        sorted
        ? members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } : members
      list("{", "}", members.count) { i, text in
        Self.append(quoted: members[i].key, to: &text)
        text += indent == nil ? ":" : ": "
        members[i].value.append(to: &text, indent: inner, sorted: sorted)
      }
    }
  }

  private static func append(quoted string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
