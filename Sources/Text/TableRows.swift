/// Reads the requested columns of a TSV or CSV file: header, equal field counts, blank lines.
struct TableReader<Fields: FieldReader> {
  private let source: RowSource
  private let format: RowFormat
  private var reader: Fields
  private var fields: [FieldRange] = []
  private var unread = UnreadRowCollector()

  init(_ source: RowSource, _ reader: Fields, format: RowFormat) {
    self.source = source
    self.reader = reader
    self.format = format
  }

  /// The rows, and those that could not be taken apart; without `keepsUnread` these are an error.
  mutating func read(
    _ bytes: Span<UInt8>, columns: [RequestedColumn], header: HeaderPolicy, keepsUnread: Bool
  ) throws(DataErrors) -> (rows: [Row], unread: UnreadRows?) {
    guard var next = reader.next(bytes, source, into: &fields) else { return ([], nil) }
    if let problem = next.problem { throw DataErrors(problem) }
    let first = next
    let width = fields.count
    var names: [String]?
    if header.hasHeader(for: columns) { names = fields.map { $0.text(bytes) } }
    let places = places(of: columns, names: names, width: width, line: first.line)
    try unread.problems.check()
    if names != nil {
      guard let row = reader.next(bytes, source, into: &fields) else { throw noRows() }
      next = row
    }
    var rows: [Row] = []
    // The share of the first row in the file; a poor guess costs a reallocation or some unused memory.
    rows.reserveCapacity(min(bytes.count / max(32, next.range.count + 1), 1 << 20))
    var blankLines: [Int] = []
    var row: FieldRow? = next
    while let current = row {
      if current.problem == nil && current.range.isEmpty {
        blankLines.append(current.line)
      } else {
        settle(&blankLines, width: width, columns: places.count, into: &rows)
        if let problem = current.problem {
          unread.add(problem, fatal: spansLines(current, bytes))
        } else if fields.count != width {
          unread.add(
            unequal(current, bytes, width: width, names: names, header: first),
            fatal: spansLines(current, bytes))
        } else {
          rows.append(
            Row(
              line: current.line,
              values: places.map { place in place.map { fields[$0].text(bytes) } }))
        }
      }
      row = reader.next(bytes, source, into: &fields)
    }
    let left = try unread.result(isKept: keepsUnread, rowsLeft: rows.count)
    guard !rows.isEmpty else { throw noRows() }
    return (rows, left)
  }

  /// Whether a quote that stands wrong may have made one row of many lines.
  private func spansLines(_ row: FieldRow, _ bytes: Span<UInt8>) -> Bool {
    bytes.firstIndex(of: 0x0A, from: row.range.lowerBound, to: row.range.upperBound) != nil
  }

  private func noRows() -> DataErrors {
    DataErrors(
      DataProblem(
        file: source.file, rule: "the file has no rows, only a header or blank lines",
        remedy: "add rows"))
  }

  /// What becomes of blank lines that are followed by a row: values in a file of one column, problems in others.
  private mutating func settle(
    _ blankLines: inout [Int], width: Int, columns: Int, into rows: inout [Row]
  ) {
    for line in blankLines {
      if width == 1 {
        rows.append(Row(line: line, values: [String?](repeating: "", count: columns)))
      } else {
        unread.add(
          DataProblem(
            file: source.file, line: line, rule: "a blank line between rows", remedy: "delete it"))
      }
    }
    blankLines.removeAll(keepingCapacity: true)
  }

  /// The index of each requested column in a row's fields; nil where an optional one is absent.
  private mutating func places(
    of columns: [RequestedColumn], names: [String]?, width: Int, line: Int
  ) -> [Int?] {
    columns.map { column in
      func refuse(_ value: String?, _ rule: String, _ remedy: String) -> Int? {
        unread.problems.add(
          DataProblem(
            file: source.file, line: line, column: column.reference.label, value: value,
            rule: rule, remedy: remedy))
        return nil
      }
      switch column.reference {
      case .number(let number):
        if number < 1 { return refuse(nil, "columns are counted from 1", "ask for column 1") }
        if number <= width { return number - 1 }
        if column.isOptional { return nil }
        return refuse(
          nil, "the file has \(counted(width, "column"))",
          "ask for one of them" + separatorHint(names, width: width))
      case .name(let name):
        guard let names else {
          return refuse(
            nil, "a column is asked for by name, but the file is read without a header",
            "ask by number, or set the header to present")
        }
        let hits = names.indices.filter { names[$0] == name }
        if hits.count > 1 {
          return refuse(
            nil,
            "the header has this name \(hits.count) times, in columns "
              + hits.map { String($0 + 1) }.joined(separator: ", "),
            "rename all but one, or ask by number")
        }
        if let hit = hits.first { return hit }
        if column.isOptional { return nil }
        let near = suggestion(for: name, among: names)
        return refuse(
          nil, "the header has no such column, it has \(DataProblem.list(names))",
          (near.map { "did you mean \(DataProblem.quoted($0))?" } ?? "ask for one of these")
            + separatorHint(names, width: width))
      }
    }
  }

  /// A further remedy if the whole first row became one field although it holds another separator.
  private func separatorHint(_ names: [String]?, width: Int) -> String {
    guard width == 1, let text = names?.first else { return "" }
    let others: [(letter: Character, name: String)] =
      [("\t", "tabs"), (",", "commas"), (";", "semicolons")]
    let separator = format == .tsv ? "tabs" : "commas"
    guard let other = others.first(where: { $0.name != separator && text.contains($0.letter) })
    else { return "" }
    return "; the header is separated by \(other.name), \(format.rawValue) needs \(separator)"
  }

  private func unequal(
    _ row: FieldRow, _ bytes: Span<UInt8>, width: Int, names: [String]?, header: FieldRow
  ) -> DataProblem {
    let tooFew = fields.count < width
    let model = names == nil ? "the first row (line \(header.line))" : "the header"
    return DataProblem(
      file: source.file, line: row.line,
      column: tooFew ? names?[fields.count] ?? String(fields.count + 1) : String(width + 1),
      value: bytes.excerpt(row.range),
      rule: "the row has \(counted(fields.count, "field")), \(model) has \(width)",
      remedy: tooFew ? Fields.remedies.tooFew : Fields.remedies.tooMany)
  }
}

/// `1 field`, `2 fields`.
private func counted(_ count: Int, _ noun: String) -> String {
  "\(count) \(noun)\(count == 1 ? "" : "s")"
}
