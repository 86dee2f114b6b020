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

  /// Parses the file at `url`; without `withLabel` its rows need no labels, and a `.txt` file holds a text a line.
  package func read(_ url: URL, withLabel: Bool) throws -> any TaskRows {
    switch task {
    case .classification, .pair, .regression:
      return try LabelledRows(url, self, withLabel: withLabel)
    }
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
      columns: data.columns)
  }
}

extension TaskDefinition {
  /// How files are written that are given to the saved model: their own endings tell the format.
  package var layout: RowLayout {
    RowLayout(
      task: task, classification: classification, format: nil, header: header, columns: columns)
  }

  /// Reads the file at `url` as this model's inputs.
  package func examples(
    _ url: URL, tokenizer: Tokenizer, threads: Int, withLabel: Bool
  ) throws -> ExampleSet {
    try layout.read(url, withLabel: withLabel)
      .examples(TaskContext(self, tokenizer: tokenizer, threads: threads), withLabel: withLabel)
  }
}
