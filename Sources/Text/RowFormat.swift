import Foundation

/// How rows are written in a file.
package enum RowFormat: String, Sendable, Codable, CaseIterable {
  /// One row a line, fields separated by one tab; quotes are letters like any other.
  case tsv
  /// RFC 4180: fields separated by commas; a quoted field may hold commas, doubled quotes, line breaks.
  case csv
  /// One JSON object a line.
  case jsonl
  /// One JSON array of objects.
  case json

  /// The format that the ending of `input` tells.
  package static func inferred(from input: any RowInput) throws(DataErrors) -> RowFormat {
    switch input.rowEnding {
    case "tsv", "tab", "txt": return .tsv
    case "csv": return .csv
    case "jsonl", "ndjson": return .jsonl
    case "json": return .json
    case let ending:
      throw DataErrors(
        DataProblem(
          file: input.rowName,
          rule: "the ending \(DataProblem.quoted(ending)) does not tell the format of the rows",
          remedy: "name the file .tsv, .csv, .jsonl or .json; a recipe can also say data.format"))
    }
  }
}

/// A column by its name in the header (the key, in JSON and JSONL) or by its place.
package enum ColumnReference: Sendable, Hashable {
  case name(String)
  /// Counted from 1.
  case number(Int)

  /// Digits alone are a number, anything else is a name.
  package init(_ text: String) {
    let isNumber = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    if isNumber, let number = Int(text) { self = .number(number) } else { self = .name(text) }
  }

  /// The name, or the number as text.
  package var label: String {
    switch self {
    case .name(let name): name
    case .number(let number): String(number)
    }
  }
}

/// A column that the caller wants of every row.
package struct RequestedColumn: Sendable, Hashable {
  package let reference: ColumnReference
  /// An optional column that the file does not have reads as nil instead of being an error.
  package let isOptional: Bool

  package init(_ reference: ColumnReference, isOptional: Bool = false) {
    self.reference = reference
    self.isOptional = isOptional
  }
}

/// Whether the first row of a TSV or CSV file names the columns; JSON and JSONL name them in every row.
package enum HeaderPolicy: String, Sendable, Codable, CaseIterable {
  case present
  case absent
  /// Present exactly if a column is asked for by name.
  case automatic = "auto"

  func hasHeader(for columns: [RequestedColumn]) -> Bool {
    switch self {
    case .present: true
    case .absent: false
    case .automatic:
      columns.contains { if case .name = $0.reference { true } else { false } }
    }
  }
}
