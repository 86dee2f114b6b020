import Foundation

/// A file of texts, a line each; tabs and spaces belong to them.
///
/// Blank lines at the end are none; elsewhere a blank line is an empty text.
package struct TextLines: Sendable {
  package let file: String
  package let lines: [String]

  /// Reads `input`.
  ///
  /// Throws all its problems together.
  package static func read(_ input: any RowInput) throws(DataErrors) -> TextLines {
    let (data, start, source) = try RowFile.contents(of: input)
    let bytes = data.span
    var scanner = LineScanner(from: start)
    var problems = DataProblemCollector()
    var lines: [String] = [], count = 0
    while let line = scanner.next(bytes) {
      if let problem = source.problem(in: line.range, line: line.number, of: bytes) {
        problems.add(problem)
        continue
      }
      lines.append(bytes.string(line.range))
      if !line.range.isEmpty { count = lines.count }
    }
    try problems.check()
    guard count > 0 else {
      throw DataErrors(
        DataProblem(file: source.file, rule: "there is no text in it", remedy: "write one a line"))
    }
    return TextLines(file: source.file, lines: Array(lines.prefix(count)))
  }
}
