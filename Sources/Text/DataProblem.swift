/// What the number of a row in a file counts, from 1.
package enum RowUnit: String, Sendable, Codable {
  /// Physical lines: a row has the one that it starts in.
  case line
  /// Questions of a reading file.
  case question
  /// Elements of a JSON array.
  case element

  /// Where row `number` of `file` stands: `file:4`, or `file: question 4`.
  package func place(_ number: Int, in file: String) -> String {
    self == .line ? "\(file):\(number)" : "\(file): \(rawValue) \(number)"
  }
}

/// One thing that is wrong with a data file: where it stands, what was found, the rule, the remedy.
package struct DataProblem: Sendable, Equatable {
  /// The file as the user named it.
  package let file: String
  /// The physical line the row starts in, counted from 1; nil if the problem is of the whole file.
  package let line: Int?
  /// The number of the row that it is a problem of, as its rows are numbered; nil if it is of the whole file.
  package let row: Int?
  /// What `row` counts.
  package let unit: RowUnit
  /// The column's name, or its number from 1 as text; nil if the problem is of the whole row.
  package let column: String?
  /// The offending text as it stands in the file; nil if the rule says what was found.
  package let value: String?
  /// What was expected, and what was found where `value` does not show it.
  package let rule: String
  /// What would work.
  package let remedy: String

  /// `row` is the number of the row where that is not `line`.
  package init(
    file: String, line: Int? = nil, row: Int? = nil, unit: RowUnit = .line, column: String? = nil,
    value: String? = nil, rule: String, remedy: String
  ) {
    self.file = file
    self.line = line
    self.row = row ?? line
    self.unit = unit
    self.column = column
    self.value = value
    self.rule = rule
    self.remedy = remedy
  }
}

extension DataProblem: CustomStringConvertible {
  /// `file:line: column: value: rule: remedy` (or `file: question 4: …`), without the parts that do not apply.
  package var description: String {
    var parts = [
      line.map { RowUnit.line.place($0, in: file) }
        ?? row.map { unit.place($0, in: file) } ?? file
    ]
    if let column {
      parts.append(Int(column) == nil ? "column \(Self.quoted(column))" : "column \(column)")
    }
    if let value { parts.append(Self.quoted(value)) }
    return (parts + [rule, remedy]).joined(separator: ": ")
  }

  /// `text` in quotes, cut after `limit` scalars, with controls and quotes escaped.
  package static func quoted(_ text: String, limit: Int = 60) -> String {
    var result = "\""
    var count = 0
    for scalar in text.unicodeScalars {
      if count == limit {
        result += "…"
        break
      }
      count += 1
      switch scalar {
      case "\"", "\\": result += "\\" + String(scalar)
      case "\t": result += "\\t"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        result += "\\u{" + String(scalar.value, radix: 16) + "}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }

  /// Names in quotes, separated by commas, the first `limit` of them; `none` if there are none.
  package static func list(_ names: [String], limit: Int = 12) -> String {
    guard !names.isEmpty else { return "none" }
    let shown = names.prefix(limit).map { quoted($0) }.joined(separator: ", ")
    return names.count > limit ? "\(shown) and \(names.count - limit) more" : shown
  }
}

/// All that is wrong with the data, thrown once: the first problems in full, and how many there are.
package struct DataErrors: Error, Equatable, CustomStringConvertible {
  /// The first problems, in the order of the file, at most `DataProblemCollector.shown`.
  package let problems: [DataProblem]
  /// The number of all problems.
  package let count: Int
  /// What can be done about all of them, as a sentence; nil if each says its own remedy.
  package let advice: String?

  package init(problems: [DataProblem], count: Int, advice: String? = nil) {
    self.problems = problems
    self.count = count
    self.advice = advice
  }

  /// The same with that advice.
  package func advising(_ advice: String) -> DataErrors {
    DataErrors(problems: problems, count: count, advice: advice)
  }

  /// A single problem.
  package init(_ problem: DataProblem) { self.init(problems: [problem], count: 1) }

  /// One problem a line; then the count if there are several, and the advice.
  package var description: String {
    var lines = problems.map(\.description)
    if count > problems.count {
      lines.append("\(count) problems; the first \(problems.count) are listed.")
    } else if count > 1 {
      lines.append("\(count) problems.")
    }
    if let advice { lines.append(advice) }
    return lines.joined(separator: "\n")
  }
}

/// Gathers problems, so that a user sees all of them at once; keeps the first and counts the rest.
package struct DataProblemCollector: Sendable {
  /// How many problems are kept in full.
  package static let shown = 20

  package private(set) var problems: [DataProblem] = []
  package private(set) var count = 0

  package init() {}

  /// Counts `problem`, and keeps it if it is among the first.
  package mutating func add(_ problem: DataProblem) {
    count += 1
    if problems.count < Self.shown { problems.append(problem) }
  }

  /// Takes over the problems of another file.
  package mutating func add(contentsOf errors: DataErrors) {
    problems.append(contentsOf: errors.problems.prefix(Self.shown - problems.count))
    count += errors.count
  }

  /// Throws all that was added, if anything was.
  package func check() throws(DataErrors) {
    guard count == 0 else { throw DataErrors(problems: problems, count: count) }
  }
}
