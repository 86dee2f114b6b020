import Crypto
import Foundation
import Model
import Text

/// A file's rows as inputs of the model.
package struct ExampleSet: Sendable {
  package let file: String
  /// In the order of the rows; `exampleID` is the row's number in the file, from 0.
  package let sequences: [SequenceInput]
  /// What did not fit.
  package let truncation: TruncationReport
  /// SHA-256 over the parsed rows, hexadecimal.
  package let fingerprint: String

  /// Tokens of all rows.
  package var tokenCount: Int { sequences.reduce(0) { $0 + $1.ids.count } }
}

/// Turns rows into inputs and targets.
package struct ExampleReader: Sendable {
  package let definition: TaskDefinition
  package let tokenizer: Tokenizer
  package let threads: Int
  private let labels: LabelVocabulary
  private let truncation: Truncation

  package init(_ definition: TaskDefinition, tokenizer: Tokenizer, threads: Int) {
    guard let truncation = Truncation(rawValue: definition.truncation) else {
      preconditionFailure("the truncation \(definition.truncation) was checked when it was read")
    }
    self.definition = definition
    self.tokenizer = tokenizer
    self.threads = threads
    self.truncation = truncation
    labels = LabelVocabulary(definition.labels)
  }

  // MARK: Rows

  /// Reads the text columns and, if `withLabel`, the label column of the file at `url`.
  ///
  /// The values of a row are text, then the second text if the task has one, then the label.
  package static func rows(
    _ url: URL, format: RowFormat?, header: HeaderPolicy, columns: Recipe.Columns, withLabel: Bool
  ) throws -> RowFile {
    var requested = [RequestedColumn(ColumnReference(columns.text))]
    if let second = columns.text2 { requested.append(RequestedColumn(ColumnReference(second))) }
    if withLabel { requested.append(RequestedColumn(ColumnReference(columns.label))) }
    return try RowFile.read(url, format: format, columns: requested, header: header)
  }

  /// SHA-256 over all values, each with its length, so that no two row sets share the bytes.
  static func fingerprint(_ rows: RowFile) -> String {
    var hash = SHA256()
    for row in rows.rows {
      for value in row.values {
        let bytes = Data((value ?? "").utf8)
        var length = value == nil ? UInt64.max : UInt64(bytes.count)
        withUnsafeBytes(of: &length) { hash.update(bufferPointer: $0) }
        hash.update(data: bytes)
      }
    }
    return hash.finalize().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// The labels that the rows of a training file have, in order.
  package static func labels(of rows: RowFile, classification: Recipe.Classification) -> [String] {
    let cells = rows.rows.compactMap { $0.values.last ?? nil }
    if classification.kind == .multiLabel {
      return LabelVocabulary.sorted(
        cells.flatMap { LabelVocabulary.split($0, separator: classification.separator) })
    }
    return LabelVocabulary.sorted(cells)
  }

  // MARK: Examples

  /// The inputs of `rows`, whose last value is the label if `withLabel`.
  ///
  /// - Throws: `DataErrors` with every label and length that is wrong.
  package func examples(_ rows: RowFile, withLabel: Bool) throws -> ExampleSet {
    let pairs = definition.columns.text2 != nil
    let first = tokenizer.tokenize(rows.rows.map { cut($0.values[0]) }, threads: threads)
    let second =
      pairs ? tokenizer.tokenize(rows.rows.map { cut($0.values[1]) }, threads: threads) : []
    var problems = DataProblemCollector()
    var report = TruncationReport()
    var sequences: [SequenceInput] = []
    sequences.reserveCapacity(rows.rows.count)
    for (index, row) in rows.rows.enumerated() {
      let target = withLabel ? target(row, file: rows.file, problems: &problems) : []
      do {
        let input = try tokenizer.assemble(
          first[index], pairs ? second[index] : nil, limit: definition.maxLength,
          truncation: truncation)
        report.add(input)
        sequences.append(
          SequenceInput(
            ids: input.ids, segments: input.segments, exampleID: UInt64(index), target: target))
      } catch let error as TruncationError {
        let parts = error.description.components(separatedBy: ": ")
        problems.add(
          DataProblem(
            file: rows.file, line: row.line, column: definition.columns.text, rule: parts[0],
            remedy: parts.dropFirst().joined(separator: ": ")))
      }
    }
    try problems.check()
    return ExampleSet(
      file: rows.file, sequences: sequences, truncation: report,
      fingerprint: Self.fingerprint(rows))
  }

  /// One input that stands in no file.
  package func input(_ text: String, _ text2: String?) throws -> AssembledInput {
    try tokenizer.assemble(
      tokenizer.tokenize(cut(text)), text2.map { tokenizer.tokenize(cut($0)) },
      limit: definition.maxLength, truncation: truncation)
  }

  private func cut(_ text: String?) -> String {
    let text = text ?? ""
    guard let limit = definition.maxCharacters else { return text }
    return String(String.UnicodeScalarView(text.unicodeScalars.prefix(limit)))
  }

  // MARK: Targets

  private func target(
    _ row: Row, file: String, problems: inout DataProblemCollector
  ) -> [Float] {
    let cell = (row.values.last ?? nil) ?? ""
    func note(_ value: String, _ rule: String, _ remedy: String) {
      problems.add(
        DataProblem(
          file: file, line: row.line, column: definition.columns.label, value: value, rule: rule,
          remedy: remedy))
    }
    if definition.task == .regression {
      guard let number = Float(cell), number.isFinite else {
        note(cell, "is not a number", "give a number with a point, such as 3.5")
        return []
      }
      return [number]
    }
    guard definition.classification.kind == .multiLabel else {
      guard let number = labels.number(of: cell) else {
        note(cell, "is not a label of this model", labels.remedy(for: cell))
        return []
      }
      return [Float(number)]
    }
    var target = [Float](repeating: 0, count: labels.labels.count)
    for label in LabelVocabulary.split(cell, separator: definition.classification.separator) {
      if let number = labels.number(of: label) {
        target[number] = 1
      } else {
        note(label, "is not a label of this model", labels.remedy(for: label))
      }
    }
    return target
  }
}
