import Foundation
import Text

/// How a task's files are written: what is needed to parse them.
package struct RowLayout: Sendable {
  package var task: Recipe.Task
  package var classification: Recipe.Classification
  /// nil: by the file's ending.
  package var format: RowFormat?
  package var header: HeaderPolicy
  package var columns: Recipe.Columns
  package var tagging: Recipe.Tagging?

  /// Parses `input`; without `withLabel` its rows need no labels, and a `.txt` file holds a text a line.
  package func read(_ input: any RowInput, withLabel: Bool) throws -> any TaskRows {
    switch task {
    case .classification, .pair, .regression:
      return try LabelledRows(input, self, withLabel: withLabel)
    case .tagging: return try TaggedRows(input, self, withLabel: withLabel)
    case .relation: return try RelationRows(input, self, withLabel: withLabel)
    case .eventSubject: return try EventSubjectRows(input, self, withLabel: withLabel)
    case .reading: return ReadingRows(try ReadingFile.read(input, withAnswers: withLabel))
    case .maskedLM: return try TextRows(input, self)
    }
  }

  /// The keys that the objects of JSON rows must have to be predicted.
  package var predictedKeys: [String] {
    switch task {
    case .classification, .pair, .regression:
      [columns.text] + (columns.text2.map { [$0] } ?? [])
    case .eventSubject:
      [columns.text, columns.type ?? "type"] + (columns.id.map { [$0] } ?? [])
    case .tagging, .maskedLM: [columns.text]
    // Forms of their own.
    case .relation: ["text"]
    case .reading: ["context", "question"]
    }
  }

  /// The texts of a file of bare texts, a line each.
  func plainTexts(_ input: any RowInput) throws -> [String] {
    let file = try RowFile.read(
      input, format: .tsv, columns: [RequestedColumn(.number(1))], header: .absent)
    return file.rows.map { ($0.values[0] ?? "") }
  }

  /// Whether `input` is a file of bare texts, of which a tab separates the second.
  func isPlainText(_ input: any RowInput, withLabel: Bool) -> Bool {
    !withLabel && input.rowEnding == "txt"
  }
}

extension Recipe {
  package var layout: RowLayout {
    RowLayout(
      task: task, classification: classification, format: data.format, header: data.header,
      columns: data.columns, tagging: task == .tagging ? tagging : nil)
  }
}

extension TaskDefinition {
  /// How files are written that are given to the saved model: their own endings tell the format.
  package var layout: RowLayout {
    RowLayout(
      task: task, classification: classification, format: nil, header: header, columns: columns,
      tagging: tagging)
  }

  /// Reads `input` as this model's inputs.
  package func examples(
    _ input: any RowInput, tokenizer: Tokenizer, threads: Int, withLabel: Bool
  ) throws -> ExampleSet {
    try layout.read(input, withLabel: withLabel)
      .allExamples(TaskContext(self, tokenizer: tokenizer, threads: threads), withLabel: withLabel)
  }
}
