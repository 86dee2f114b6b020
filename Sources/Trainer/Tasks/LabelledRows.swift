import Foundation
import Model
import Text

/// Rows of one or two texts and a label or number: classification, joined pairs, regression.
package struct LabelledRows: TaskRows {
  /// The values of a row are text, then the second text if the task has one, then the label.
  private let rows: RowFile
  private let layout: RowLayout

  package var file: String { rows.file }
  package var count: Int { rows.rows.count }
  package var unit: RowUnit { rows.unit }
  package var unread: UnreadRows? { rows.unread }

  init(_ input: any RowInput, _ layout: RowLayout, withLabel: Bool) throws {
    self.layout = layout
    if layout.isPlainText(input, withLabel: withLabel) {
      let texts = [1, 2].prefix(layout.columns.text2 == nil ? 1 : 2)
      rows = try RowFile.read(
        input, format: .tsv, columns: texts.map { RequestedColumn(.number($0)) }, header: .absent,
        keepsUnread: true)
      return
    }
    let columns = layout.columns
    var requested = [RequestedColumn(ColumnReference(columns.text))]
    if let second = columns.text2 { requested.append(RequestedColumn(ColumnReference(second))) }
    if withLabel { requested.append(RequestedColumn(ColumnReference(columns.label))) }
    rows = try RowFile.read(
      input, format: layout.format, columns: requested, header: layout.header,
      keepsUnread: true)
  }

  /// Rows that stand in no file, or were read before.
  package init(_ rows: RowFile, _ layout: RowLayout) {
    self.rows = rows
    self.layout = layout
  }

  package var reported: [DataReport.Row] {
    let texts = layout.columns.text2 == nil ? 1 : 2
    return rows.rows.map { row in
      let label = row.values.count > texts ? row.values.last ?? nil : nil
      return DataReport.Row(
        line: row.number,
        text: row.values.prefix(texts).map { $0 ?? "" }.joined(separator: "\u{1F}"),
        label: label, classes: classes(label))
    }
  }

  /// What the balance counts where that is not the label: each of several labels, no numbers.
  private func classes(_ label: String?) -> [String]? {
    if layout.task == .regression { return [] }
    guard layout.classification.kind == .multiLabel else { return nil }
    return LabelVocabulary.split(label ?? "", separator: layout.classification.separator)
  }

  package func filtered(_ isKept: (Int) -> Bool) -> LabelledRows {
    LabelledRows(rows.filtered(isKept), layout)
  }

  // MARK: Labels

  package func labels(_ recipe: Recipe) throws -> [String] {
    if recipe.task == .regression { return [] }
    let kind = recipe.classification.kind
    let cells = rows.rows.compactMap { $0.values.last ?? nil }
    let found = LabelVocabulary.sorted(
      kind == .multiLabel
        ? cells.flatMap {
          LabelVocabulary.split($0, separator: recipe.classification.separator)
        } : cells)
    func refuse(_ rule: String, _ remedy: String) -> DataErrors {
      DataErrors(
        DataProblem(
          file: rows.file, column: recipe.data.columns.label, rule: rule, remedy: remedy))
    }
    let shown = DataProblem.list(found)
    if kind == .binarySigmoid, found.count > 2 {
      throw refuse(
        "binary-sigmoid has two labels, the rows have \(found.count): \(shown)",
        "set classification.kind: softmax, or correct data.columns.label")
    }
    if found.count < (kind == .multiLabel ? 1 : 2) {
      throw refuse(
        "the rows have \(found.count) different labels\(found.isEmpty ? "" : ": \(shown)")",
        "give rows of every label, name them all in data.labels, or correct data.columns.label")
    }
    return found
  }

  // MARK: Examples

  package func examples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet {
    let definition = context.definition, tokenizer = context.tokenizer
    func tokens(_ column: Int) throws -> [TokenizedText] {
      try context.tokenize(rows.rows.map { context.cut($0.values[column]) })
    }
    let first = try tokens(0), second = definition.columns.text2 == nil ? [] : try tokens(1)
    let targets = TargetReader(definition, file: rows.file, unit: rows.unit)
    var problems = DataProblemCollector()
    var report = TruncationReport()
    var sequences: [SequenceInput] = []
    sequences.reserveCapacity(rows.rows.count)
    let columns = [definition.columns.text] + (definition.columns.text2.map { [$0] } ?? [])
    for (index, row) in rows.rows.enumerated() {
      let target =
        withLabel ? targets.target((row.values.last ?? nil) ?? "", row, &problems) : []
      for (column, value) in zip(columns, row.values) where withLabel && (value ?? "").isBlank {
        problems.add(
          .empty(file, line: row.line, row: row.number, unit: rows.unit, column: column))
      }
      do {
        func input(_ first: TokenizedText, _ second: TokenizedText?) throws -> AssembledInput {
          try tokenizer.assemble(
            first, second, limit: definition.maxLength, truncation: context.truncation)
        }
        let isSiamese = definition.pair?.mode == .siamese
        let main = try input(first[index], isSiamese || second.isEmpty ? nil : second[index])
        let other = try isSiamese ? input(second[index], nil) : nil
        report.add(main, other, row: row.number)
        sequences.append(
          SequenceInput(
            ids: main.ids, segments: main.segments,
            second: other.map { SequenceInput.Second(ids: $0.ids, segments: $0.segments) },
            exampleID: UInt64(index), target: target))
      } catch let error as TruncationError {
        problems.add(
          DataProblem(
            error, file: file, line: row.line, row: row.number, unit: rows.unit,
            column: definition.columns.text))
      }
    }
    try problems.check()
    var fingerprint = RowFingerprint()
    for row in rows.rows { row.values.forEach { fingerprint.add($0) } }
    return ExampleSet(
      file: rows.file, sequences: sequences, truncation: report, fingerprint: fingerprint.text,
      decoder: LabelDecoder(definition: definition, targets: sequences.map(\.target)))
  }
}

extension DataProblem {
  /// A row that does not fit.
  init(
    _ error: TruncationError, file: String, line: Int?, row: Int, unit: RowUnit, column: String
  ) {
    let parts = error.description.components(separatedBy: ": ")
    self.init(
      file: file, line: line, row: row, unit: unit, column: column, rule: parts[0],
      remedy: parts.dropFirst().joined(separator: ": "))
  }
}

/// Turns the label cell of a row into a head's target.
struct TargetReader {
  private let definition: TaskDefinition
  private let labels: LabelVocabulary
  private let file: String
  private let unit: RowUnit

  init(_ definition: TaskDefinition, file: String, unit: RowUnit) {
    self.unit = unit
    self.definition = definition
    labels = LabelVocabulary(definition.labels)
    self.file = file
  }

  /// The target of `cell`, which stands in `row`; empty where it is none (noted).
  func target(_ cell: String, _ row: Row, _ problems: inout DataProblemCollector) -> [Float] {
    func note(_ value: String, _ rule: String, _ remedy: String) {
      problems.add(
        DataProblem(
          file: file, line: row.line, row: row.number, unit: unit,
          column: definition.columns.label, value: value, rule: rule, remedy: remedy))
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
