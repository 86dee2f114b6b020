import Foundation

/// The objects of a JSON Lines file, or of one JSON array, decoded one by one so that every problem has its place.
struct JSONObjects {
  /// An object's line, or its number in the array, from 1.
  struct Item<Value> {
    let line: Int
    let value: Value
  }

  /// All objects of a file.
  struct Content<Value> {
    let file: String
    let unit: RowUnit
    let items: [Item<Value>]
    let unread: UnreadRows?
  }

  /// Decodes all objects of the rows of `input`; `expected` says in words what one looks like.
  ///
  /// Throws all problems together; with `keepsUnread` those of single objects are `unread`, if there are others.
  static func read<Value: Decodable>(
    _ input: any RowInput, as type: Value.Type, expected: String, keepsUnread: Bool
  ) throws(DataErrors) -> Content<Value> {
    let (data, start, source) = try RowFile.contents(of: input)
    let text = data[data.startIndex + start..<data.endIndex]
    if text.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) == UInt8(ascii: "[") {
      return try array(text, source.file, expected, keepsUnread: keepsUnread)
    }
    let bytes = data.span
    var lines = LineScanner(from: start)
    var unread = UnreadRowCollector()
    var items: [Item<Value>] = []
    let decoder = JSONDecoder()
    while let line = lines.next(bytes) {
      if let problem = source.problem(in: line.range, line: line.number, of: bytes) {
        unread.add(problem)
        continue
      }
      let row = data[
        data.startIndex + line.range.lowerBound..<data.startIndex + line.range.upperBound]
      if row.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) { continue }
      do {
        items.append(Item(line: line.number, value: try decoder.decode(Value.self, from: row)))
      } catch {
        unread.add(
          DataProblem(
            file: source.file, line: line.number, value: bytes.excerpt(line.range),
            rule: sentence(error), remedy: expected))
      }
    }
    let left = try unread.result(isKept: keepsUnread, rowsLeft: items.count)
    guard !items.isEmpty else { throw DataErrors(empty(source.file, expected)) }
    return Content(file: source.file, unit: .line, items: items, unread: left)
  }

  /// One element that may be wrong while its neighbours are right.
  private struct Lenient<Value: Decodable>: Decodable {
    let result: Result<Value, any Error>

    init(from decoder: any Decoder) throws {
      result = Result { try Value(from: decoder) }
    }
  }

  private static func array<Value: Decodable>(
    _ text: Data, _ file: String, _ expected: String, keepsUnread: Bool
  ) throws(DataErrors) -> Content<Value> {
    let elements: [Lenient<Value>]
    do {
      elements = try JSONDecoder().decode([Lenient<Value>].self, from: text)
    } catch {
      throw DataErrors(DataProblem(file: file, rule: sentence(error), remedy: expected))
    }
    var unread = UnreadRowCollector()
    var items: [Item<Value>] = []
    for (number, element) in elements.enumerated() {
      switch element.result {
      case .success(let value): items.append(Item(line: number + 1, value: value))
      case .failure(let error):
        unread.add(
          DataProblem(
            file: file, row: number + 1, unit: .element, rule: sentence(error), remedy: expected))
      }
    }
    let left = try unread.result(isKept: keepsUnread, rowsLeft: items.count)
    guard !items.isEmpty else { throw DataErrors(empty(file, expected)) }
    return Content(file: file, unit: .element, items: items, unread: left)
  }

  private static func empty(_ file: String, _ expected: String) -> DataProblem {
    DataProblem(file: file, rule: "there is no object in it", remedy: expected)
  }

  /// What a decoding error says, with the path to the place.
  static func sentence(_ error: any Error) -> String {
    func place(_ path: [any CodingKey]) -> String {
      // The element's own number is told by the caller.
      path.drop { $0.intValue != nil }.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }
        .joined(separator: ".")
    }
    switch error {
    case DecodingError.keyNotFound(let key, let context):
      let path = place(context.codingPath)
      return "\(path.isEmpty ? "the object" : path) lacks the key \"\(key.stringValue)\""
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      let path = place(context.codingPath)
      return "\(path.isEmpty ? "the value" : path) is of another type: \(context.debugDescription)"
    case DecodingError.dataCorrupted(let context):
      let path = place(context.codingPath)
      return path.isEmpty ? "is not JSON" : "\(path): \(context.debugDescription)"
    default: return "cannot be read (\(error))"
    }
  }
}
