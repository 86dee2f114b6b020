/// One field of a row: its bytes in the file, without quotes around it.
struct FieldRange {
  let range: Range<Int>
  /// Whether quotes inside the field are doubled and stand for one.
  var hasDoubledQuotes = false

  func text(_ bytes: Span<UInt8>) -> String {
    guard hasDoubledQuotes else { return bytes.string(range) }
    var plain: [UInt8] = []
    plain.reserveCapacity(range.count)
    var i = range.lowerBound
    while i < range.upperBound {
      plain.append(bytes[i])
      i += bytes[i] == 0x22 ? 2 : 1
    }
    return plain.span.string(0..<plain.count)
  }
}

/// One row of a TSV or CSV file as it was cut; its fields are in the buffer that was passed along.
struct FieldRow {
  /// The physical line the row starts in.
  let line: Int
  let range: Range<Int>
  /// What forbids the row; its fields then mean nothing.
  let problem: DataProblem?
}

/// Cuts a file into rows and rows into fields.
protocol FieldReader {
  /// The next row, or nil at the end; replaces the contents of `fields`.
  mutating func next(
    _ bytes: Span<UInt8>, _ source: RowSource, into fields: inout [FieldRange]
  ) -> FieldRow?

  /// What to do about a row of too few fields, and about one of too many.
  static var remedies: (tooFew: String, tooMany: String) { get }
}

/// Tab-separated values: every line is a row, and every tab ends a field.
struct TSVFields: FieldReader {
  private var lines: LineScanner

  init(from offset: Int) { lines = LineScanner(from: offset) }

  mutating func next(
    _ bytes: Span<UInt8>, _ source: RowSource, into fields: inout [FieldRange]
  ) -> FieldRow? {
    guard let line = lines.next(bytes) else { return nil }
    fields.removeAll(keepingCapacity: true)
    var start = line.range.lowerBound
    while let tab = bytes.firstIndex(of: 0x09, from: start, to: line.range.upperBound) {
      fields.append(FieldRange(range: start..<tab))
      start = tab + 1
    }
    fields.append(FieldRange(range: start..<line.range.upperBound))
    return FieldRow(
      line: line.number, range: line.range,
      problem: source.problem(in: line.range, line: line.number, of: bytes))
  }

  static let remedies = (
    tooFew: "separate fields by one tab, or remove the row",
    tooMany: "remove the tabs inside its texts, or write the file as CSV with such texts in quotes"
  )
}
