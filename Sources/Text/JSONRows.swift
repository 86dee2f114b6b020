/// Reads the requested keys of the JSON objects of a file: one a line, or the elements of one array.
///
/// Strings are unescaped; numbers and booleans are taken as they are written, so no digit is lost; null counts as absent.
struct JSONReader {
  let source: RowSource
  /// Where the text begins.
  let start: Int
  /// Whether rows that cannot be read are passed over; else they are an error.
  let keepsUnread: Bool
  var unread = UnreadRowCollector()

  init(_ source: RowSource, from offset: Int, keepsUnread: Bool) {
    self.source = source
    self.keepsUnread = keepsUnread
    start = offset
  }

  /// Reads one object a line.
  mutating func readLines(
    _ bytes: Span<UInt8>, columns: [RequestedColumn]
  ) throws(DataErrors) -> (rows: [Row], unread: UnreadRows?) {
    let names = try names(of: columns)
    var lines = LineScanner(from: start)
    var rows: [Row] = []
    var blankLines: [Int] = []
    var sawRow = false
    while let line = lines.next(bytes) {
      if bytes.isBlank(line.range) {
        blankLines.append(line.number)
        continue
      }
      for blank in blankLines {
        unread.add(
          DataProblem(
            file: source.file, line: blank, rule: "a blank line between rows", remedy: "delete it"))
      }
      blankLines.removeAll(keepingCapacity: true)
      sawRow = true
      if let problem = source.problem(in: line.range, line: line.number, of: bytes) {
        unread.add(problem)
        continue
      }
      do throws(JSONSyntaxError) {
        let members = try JSONObjectScanner.members(named: names, bytes, line.range)
        if let values = values(members, columns: columns, line: line.number, bytes) {
          rows.append(Row(line: line.number, values: values))
        }
      } catch {
        unread.add(problem(error, line: line, bytes))
      }
    }
    let left = try unread.result(isKept: keepsUnread, rowsLeft: rows.count)
    guard sawRow else {
      throw DataErrors(
        DataProblem(
          file: source.file, rule: "the file has no rows, only blank lines", remedy: "add rows"))
    }
    return (rows, left)
  }

  mutating func names(of columns: [RequestedColumn]) throws(DataErrors) -> [String] {
    let names = columns.map { column in
      if case .number = column.reference {
        unread.problems.add(
          DataProblem(
            file: source.file, column: column.reference.label,
            rule: "a column is asked for by number, but the fields of JSON objects have names only",
            remedy: "ask by name"))
      }
      return column.reference.label
    }
    try unread.problems.check()
    return names
  }

  /// The values of a row; nil, and the row noted, if any is not what it should be.
  mutating func values(
    _ members: JSONMembers, columns: [RequestedColumn], line: Int, element: Int? = nil,
    _ bytes: Span<UInt8>
  ) -> [String?]? {
    let known = unread.problems.count
    let values = columns.indices.map { i in
      value(members, columns[i], i, line: line, element: element, bytes)
    }
    guard unread.problems.count == known else {
      unread.countRow()
      return nil
    }
    return values
  }

  private mutating func value(
    _ members: JSONMembers, _ column: RequestedColumn, _ i: Int, line: Int, element: Int?,
    _ bytes: Span<UInt8>
  ) -> String? {
    let name = column.reference.label
    func refuse(_ value: String?, _ rule: String, _ remedy: String) -> String? {
      unread.problems.add(
        DataProblem(
          file: source.file, line: line, row: element, unit: element == nil ? .line : .element,
          column: name, value: value, rule: rule, remedy: remedy))
      return nil
    }
    switch members.values[i] {
    case .text(let text): return text
    case .null:
      if column.isOptional { return nil }
      return refuse(nil, "the value is null", "give a string, a number or a boolean")
    case .absent:
      if column.isOptional { return nil }
      let near = suggestion(for: name, among: members.keys)
      return refuse(
        nil, "the object has no such key, it has \(DataProblem.list(members.keys))",
        near.map { "did you mean \(DataProblem.quoted($0))?" } ?? "add the key, or remove the row"
      )
    case .container(let range):
      let kind = bytes[range.lowerBound] == 0x5B ? "an array" : "an object"
      return refuse(
        bytes.excerpt(range), "the value is \(kind)", "give a string, a number or a boolean")
    case .twice:
      return refuse(nil, "the object has this key more than once", "keep one of them")
    }
  }

  private func problem(
    _ error: JSONSyntaxError, line: TextLine, _ bytes: Span<UInt8>
  ) -> DataProblem {
    let atEnd = error.offset >= line.range.upperBound
    let place = "byte \(error.offset - line.range.lowerBound + 1) of the line"
    let remedy =
      switch bytes[line.range.lowerBound] {
      case 0x5B where line.number == 1:
        "name the file .json if it is one array (or set data.format: json), or write one object a line"
      case 0x7B where atEnd: "write each object on one line (jq -c .)"
      default: "write one JSON object a line"
      }
    return DataProblem(
      file: source.file, line: line.number,
      value: bytes.excerpt(bytes.neighbours(of: error.offset, in: line.range)),
      rule: atEnd
        ? "not JSON: the line ends at \(place), where \(error.expected) was expected"
        : "not JSON at \(place), where \(error.expected) was expected",
      remedy: remedy)
  }
}

extension JSONReader {
  /// Reads the elements of one array, each of which is an object; a row's line is that of its opening brace.
  ///
  /// Behind a mistake in the JSON nothing more is read, because it is not known where the next element begins.
  mutating func readArray(
    _ bytes: Span<UInt8>, columns: [RequestedColumn]
  ) throws(DataErrors) -> (rows: [Row], unread: UnreadRows?) {
    let names = try names(of: columns)
    let whole = RowSource(file: source.file, rowLimit: .max)
    if let problem = whole.problem(in: start..<bytes.count, line: 1, of: bytes) {
      throw DataErrors(problem)
    }
    var rows: [Row] = []
    var lines = LineCounter(start)
    var number = 0
    do throws(JSONSyntaxError) {
      var array = try JSONArrayScanner(bytes, from: start)
      while let element = try array.next(named: names) {
        number += 1
        let line = lines.line(of: element.range.lowerBound, bytes)
        if let problem = source.problem(in: element.range, line: line, of: bytes) {
          unread.add(problem)
          continue
        }
        if let values = values(
          element.members, columns: columns, line: line, element: number, bytes)
        {
          rows.append(Row(line: line, number: number, values: values))
        }
      }
    } catch {
      unread.add(problemOfArray(error, lines, bytes), fatal: true)
    }
    let left = try unread.result(isKept: keepsUnread, rowsLeft: rows.count)
    guard !rows.isEmpty else {
      throw DataErrors(
        DataProblem(file: source.file, rule: "the array has no elements", remedy: "add rows"))
    }
    return (rows, left)
  }

  private func problemOfArray(
    _ error: JSONSyntaxError, _ lines: LineCounter, _ bytes: Span<UInt8>
  ) -> DataProblem {
    var lines = lines
    let line = lines.line(of: error.offset, bytes)
    let end = bytes.firstIndex(of: 0x0A, from: error.offset) ?? bytes.count
    let place = "byte \(error.offset - lines.start + 1) of the line"
    let isObject = error.offset < bytes.count && bytes[error.offset] == 0x7B
    return DataProblem(
      file: source.file, line: line,
      value: bytes.excerpt(bytes.neighbours(of: error.offset, in: lines.start..<end)),
      rule: error.offset >= bytes.count
        ? "not JSON: the file ends at \(place), where \(error.expected) was expected"
        : "not an array of JSON objects at \(place), where \(error.expected) was expected",
      remedy: error.expected == JSONArrayScanner.opening && isObject
        ? "name the file .jsonl if it has one object a line (or set data.format: jsonl), or put [ and ] around the objects"
        : "write [{\"text\": \"…\", …}, …]")
  }
}

/// Tells the line of places that are asked for in ascending order.
private struct LineCounter {
  private(set) var number = 1
  /// Where the line begins.
  private(set) var start: Int

  init(_ start: Int) { self.start = start }

  mutating func line(of offset: Int, _ bytes: Span<UInt8>) -> Int {
    while let feed = bytes.firstIndex(of: 0x0A, from: start, to: offset) {
      number += 1
      start = feed + 1
    }
    return number
  }
}

extension Span<UInt8> {
  /// Up to 16 bytes on either side of `offset`, without half scalars.
  fileprivate func neighbours(of offset: Int, in range: Range<Int>) -> Range<Int> {
    var start = max(range.lowerBound, offset - 16)
    var end = min(range.upperBound, offset + 16)
    while start > range.lowerBound, self[start] & 0xC0 == 0x80 { start -= 1 }
    while end < range.upperBound, self[end] & 0xC0 == 0x80 { end += 1 }
    return start..<end
  }

  /// Whether the bytes of `range` are white space of JSON alone.
  fileprivate func isBlank(_ range: Range<Int>) -> Bool {
    for i in range where self[i] != 0x20 && self[i] != 0x09 && self[i] != 0x0D { return false }
    return true
  }
}
