/// Reads the requested keys of a file of JSON objects, one a line.
///
/// Strings are unescaped; numbers and booleans are taken as they are written, so no digit is lost; null counts as absent.
struct JSONLReader {
  private let source: RowSource
  private var lines: LineScanner
  private var problems = DataProblemCollector()

  init(_ source: RowSource, from offset: Int) {
    self.source = source
    lines = LineScanner(from: offset)
  }

  mutating func read(
    _ bytes: Span<UInt8>, columns: [RequestedColumn]
  ) throws(DataErrors) -> [Row] {
    let names = names(of: columns)
    try problems.check()
    var rows: [Row] = []
    var blankLines: [Int] = []
    var sawRow = false
    while let line = lines.next(bytes) {
      if bytes.isBlank(line.range) {
        blankLines.append(line.number)
        continue
      }
      for blank in blankLines {
        problems.add(
          DataProblem(
            file: source.file, line: blank, rule: "a blank line between rows", remedy: "delete it"))
      }
      blankLines.removeAll(keepingCapacity: true)
      sawRow = true
      if let problem = source.problem(in: line.range, line: line.number, of: bytes) {
        problems.add(problem)
        continue
      }
      do throws(JSONSyntaxError) {
        let members = try JSONObjectScanner.members(named: names, bytes, line.range)
        let values = values(members, columns: columns, line: line, bytes)
        if problems.count == 0 { rows.append(Row(line: line.number, values: values)) }
      } catch {
        problems.add(problem(error, line: line, bytes))
      }
    }
    try problems.check()
    guard sawRow else {
      throw DataErrors(
        DataProblem(
          file: source.file, rule: "the file has no rows, only blank lines", remedy: "add rows"))
    }
    return rows
  }

  private mutating func names(of columns: [RequestedColumn]) -> [String] {
    columns.map { column in
      if case .number = column.reference {
        problems.add(
          DataProblem(
            file: source.file, column: column.reference.label,
            rule: "a column is asked for by number, but the fields of JSON objects have names only",
            remedy: "ask by name"))
      }
      return column.reference.label
    }
  }

  private mutating func values(
    _ members: JSONMembers, columns: [RequestedColumn], line: TextLine, _ bytes: Span<UInt8>
  ) -> [String?] {
    columns.indices.map { i in
      let name = columns[i].reference.label
      func refuse(_ value: String?, _ rule: String, _ remedy: String) -> String? {
        problems.add(
          DataProblem(
            file: source.file, line: line.number, column: name, value: value, rule: rule,
            remedy: remedy))
        return nil
      }
      switch members.values[i] {
      case .text(let text): return text
      case .null:
        if columns[i].isOptional { return nil }
        return refuse(nil, "the value is null", "give a string, a number or a boolean")
      case .absent:
        if columns[i].isOptional { return nil }
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
  }

  private func problem(
    _ error: JSONSyntaxError, line: TextLine, _ bytes: Span<UInt8>
  ) -> DataProblem {
    let atEnd = error.offset >= line.range.upperBound
    let place = "byte \(error.offset - line.range.lowerBound + 1) of the line"
    let remedy =
      switch bytes[line.range.lowerBound] {
      case 0x5B where line.number == 1:
        "write one object a line; an array becomes that with jq -c '.[]'"
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
