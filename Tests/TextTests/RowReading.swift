import Foundation
import Testing

import Text

/// Reads `text` as a file named `rows.FORMAT`.
func rows(
  _ text: String, _ format: RowFormat, _ columns: [String], optional: [String] = [],
  header: HeaderPolicy = .automatic, limit: Int = RowFile.defaultRowLimit
) throws(DataErrors) -> [Row] {
  try rows(
    Array(text.utf8), format, columns, optional: optional, header: header, limit: limit)
}

/// Reads `bytes` as a file named `rows.FORMAT`.
func rows(
  _ bytes: [UInt8], _ format: RowFormat, _ columns: [String], optional: [String] = [],
  header: HeaderPolicy = .automatic, limit: Int = RowFile.defaultRowLimit
) throws(DataErrors) -> [Row] {
  let requested =
    columns.map { RequestedColumn(ColumnReference($0)) }
    + optional.map { RequestedColumn(ColumnReference($0), isOptional: true) }
  return try RowFile.read(
    Data(bytes), file: "rows.\(format.rawValue)", format: format, columns: requested,
    header: header, rowLimit: limit
  ).rows
}

/// The whole message of the errors that `body` throws.
func message(of body: () throws -> Void) -> String {
  do {
    try body()
    return "no error"
  } catch {
    return String(describing: error)
  }
}
