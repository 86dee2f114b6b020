import Foundation

/// One row of a data file.
package struct Row: Sendable, Equatable {
  /// The physical line of the file that the row starts in, counted from 1.
  package let line: Int
  /// Its number among the rows of its file: its line, in a JSON array its place from 1.
  package let number: Int
  /// One value for each requested column, in the order of the request; nil if it is optional and absent.
  package let values: [String?]

  package init(line: Int, number: Int? = nil, values: [String?]) {
    self.line = line
    self.number = number ?? line
    self.values = values
  }
}

/// The rows of a TSV, CSV, JSONL or JSON file, all of them checked.
///
/// Text is UTF-8, strictly; a byte order mark at the start is dropped; lines end at byte 0x0A, with or without a carriage return before it;
/// NUL is refused, other control characters stay as they are. Blank lines at the end of a file are no rows. Elsewhere a blank line is an
/// error, but for TSV and CSV files of one column, where it is an empty value.
package struct RowFile: Sendable {
  /// The file as the user named it.
  package let file: String
  /// What the numbers of the rows count.
  package let unit: RowUnit
  /// In the order of the file.
  package let rows: [Row]
  /// Those that could not be read and are not among `rows`.
  package let unread: UnreadRows?

  package init(
    file: String, unit: RowUnit = .line, rows: [Row], unread: UnreadRows? = nil
  ) {
    self.file = file
    self.unit = unit
    self.rows = rows
    self.unread = unread
  }

  /// The rows that are kept, by their number.
  package func filtered(_ isKept: (Int) -> Bool) -> RowFile {
    RowFile(
      file: file, unit: unit, rows: rows.enumerated().filter { isKept($0.offset) }.map(\.element),
      unread: unread)
  }

  /// A row longer than this is nearly always a lost line break: 1 MiB.
  package static let defaultRowLimit = 1 << 20

  /// Reads `columns` of all rows of `input`; its ending tells the format if `format` is nil.
  ///
  /// A file is mapped, not copied, while it is read. Throws all problems of the file together; with `keepsUnread` those of single rows
  /// are `unread`, if there are others.
  package static func read(
    _ input: any RowInput, format: RowFormat? = nil, columns: [RequestedColumn],
    header: HeaderPolicy = .automatic, keepsUnread: Bool = false, rowLimit: Int = defaultRowLimit
  ) throws(DataErrors) -> RowFile {
    let known: RowFormat
    if let format { known = format } else { known = try RowFormat.inferred(from: input) }
    return try read(
      input.rowBytes(), file: input.rowName, format: known, columns: columns, header: header,
      keepsUnread: keepsUnread, rowLimit: rowLimit)
  }

  /// Reads `columns` of all rows of `data`; `file` is its name in messages.
  package static func read(
    _ data: Data, file: String, format: RowFormat, columns: [RequestedColumn],
    header: HeaderPolicy = .automatic, keepsUnread: Bool = false, rowLimit: Int = defaultRowLimit
  ) throws(DataErrors) -> RowFile {
    let source = RowSource(file: file, rowLimit: rowLimit)
    let bytes = data.span
    if let problem = source.problemOfWholeFile(bytes) { throw DataErrors(problem) }
    let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    let read: (rows: [Row], unread: UnreadRows?)
    switch format {
    case .tsv:
      var table = TableReader(source, TSVFields(from: start), format: format)
      read = try table.read(bytes, columns: columns, header: header, keepsUnread: keepsUnread)
    case .csv:
      var table = TableReader(source, CSVFields(from: start), format: format)
      read = try table.read(bytes, columns: columns, header: header, keepsUnread: keepsUnread)
    case .jsonl:
      var reader = JSONReader(source, from: start, keepsUnread: keepsUnread)
      read = try reader.readLines(bytes, columns: columns)
    case .json:
      var reader = JSONReader(source, from: start, keepsUnread: keepsUnread)
      read = try reader.readArray(bytes, columns: columns)
    }
    return RowFile(
      file: file, unit: format == .json ? .element : .line, rows: read.rows, unread: read.unread)
  }

  /// The bytes of `input`, which is text of some kind, and where its text begins.
  static func contents(
    of input: any RowInput, rowLimit: Int = defaultRowLimit
  ) throws(DataErrors) -> (data: Data, start: Int, source: RowSource) {
    let data = try input.rowBytes(), source = RowSource(file: input.rowName, rowLimit: rowLimit)
    if let problem = source.problemOfWholeFile(data.span) { throw DataErrors(problem) }
    return (data, data.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0, source)
  }
}

extension RowSource {
  /// What can be said of a file before its first row: it is empty, or no text of the right kind at all.
  fileprivate func problemOfWholeFile(_ bytes: Span<UInt8>) -> DataProblem? {
    func problem(_ rule: String, _ remedy: String) -> DataProblem {
      DataProblem(file: file, rule: rule, remedy: remedy)
    }
    let asCSV = "export the sheet as CSV in UTF-8"
    if bytes.isEmpty || (bytes.count == 3 && bytes.starts(with: [0xEF, 0xBB, 0xBF])) {
      return problem("the file is empty", "give a file with at least one row")
    } else if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
      return problem(
        "the file is UTF-16", "convert it to UTF-8 (iconv -f UTF-16 -t UTF-8 FILE > NEW)")
    } else if bytes.starts(with: [0x1F, 0x8B]) {
      return problem("the file is compressed with gzip", "decompress it (gunzip FILE)")
    } else if bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) {
      return problem("the file is a zip archive or an Excel workbook", "unpack it, or \(asCSV)")
    } else if bytes.starts(with: [0xD0, 0xCF, 0x11, 0xE0]) {
      return problem("the file is an old Excel workbook", asCSV)
    } else if bytes.firstIndex(of: 0x0A, from: 0) == nil, bytes.firstIndex(of: 0, from: 0) == nil,
      let lone = bytes.firstIndex(of: 0x0D, from: 0), lone < bytes.count - 1
    {
      return problem(
        "lines end in a carriage return alone", "convert the line ends (tr '\\r' '\\n')")
    }
    return nil
  }
}

extension Span<UInt8> {
  fileprivate func starts(with prefix: [UInt8]) -> Bool {
    count >= prefix.count && prefix.indices.allSatisfy { self[$0] == prefix[$0] }
  }
}
