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

  /// Parses the file at `url`; without `withLabel` its rows need no labels, and a `.txt` file holds a text a line.
  package func read(_ url: URL, withLabel: Bool) throws -> any TaskRows {
    switch task {
    case .classification, .pair, .regression:
      return try LabelledRows(url, self, withLabel: withLabel)
    case .tagging: return try TaggedRows(url, self, withLabel: withLabel)
    case .relation: return try RelationRows(url, self, withLabel: withLabel)
    case .eventSubject: return try EventSubjectRows(url, self, withLabel: withLabel)
    case .reading: return ReadingRows(try ReadingFile.read(url, withAnswers: withLabel))
    case .maskedLM: return try TextRows(url, self)
    }
  }

  /// The texts of a file of bare texts, a line each.
  func plainTexts(_ url: URL) throws -> [String] {
    let file = try RowFile.read(
      url, format: .tsv, columns: [RequestedColumn(.number(1))], header: .absent)
    return file.rows.map { ($0.values[0] ?? "") }
  }

  /// Whether `url` is a file of bare texts, of which a tab separates the second.
  func isPlainText(_ url: URL, withLabel: Bool) -> Bool {
    !withLabel && url.pathExtension.lowercased() == "txt"
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

  /// Reads the file at `url` as this model's inputs.
  package func examples(
    _ url: URL, tokenizer: Tokenizer, threads: Int, withLabel: Bool
  ) throws -> ExampleSet {
    try layout.read(url, withLabel: withLabel)
      .allExamples(TaskContext(self, tokenizer: tokenizer, threads: threads), withLabel: withLabel)
  }
}
