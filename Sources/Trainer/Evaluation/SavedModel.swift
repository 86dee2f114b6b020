import Foundation
import Model
import Text

/// A model that a run has saved, ready to be asked: weights, tokenizer and what its outputs mean.
package final class SavedModel {
  package let definition: TaskDefinition
  private let tokenizer: Tokenizer
  private let threads: Int
  private let engine: Engine
  private let parameters: Arena

  /// Opens the best model of the run in `run`.
  package convenience init(run: URL, threads: Int) throws {
    let folder = run.appending(path: "best")
    guard FileManager.default.fileExists(atPath: folder.path) else {
      let isRun = FileManager.default.fileExists(atPath: run.path)
      throw RunError(
        .data,
        isRun
          ? "\(run.path) has no model yet. Let lockstep train come to its first evaluation, or to its end."
          : "\(run.path) does not exist. Give the directory of a run with --run.")
    }
    try self.init(folder: folder, threads: threads)
  }

  /// Opens the model in `folder`.
  package init(folder: URL, threads: Int) throws {
    definition = try TaskDefinition(folder: folder)
    // What is saved says everything itself, in Hugging Face's words, whatever it was trained as.
    let model = try ModelFolder.open(folder, dialect: .huggingface)
    guard let vocabularyURL = model.vocabularyURL else {
      throw RunError.damaged(folder.path, "vocab.txt is missing")
    }
    let vocabulary = try Vocabulary(contentsOf: vocabularyURL)
    _ = try vocabulary.check(modelVocabularySize: model.configuration.vocabularySize)
    tokenizer = Tokenizer(
      vocabulary: vocabulary, kind: definition.tokenizer, lowercase: definition.lowercase)
    self.threads = threads
    engine = Engine(
      configuration: model.configuration, head: definition.head, pool: ThreadPool(threads: threads))
    parameters = Arena(count: engine.table.count)
    let report = try model.load(into: parameters, table: engine.table)
    if let missing = report.missing.first {
      throw RunError.damaged(model.location, "the tensor \(missing.name) is missing")
    }
  }

  deinit { engine.pool.stop() }

  /// Scores the labelled rows of `url`.
  package func evaluate(_ url: URL) throws -> (evaluation: Evaluation, examples: ExampleSet) {
    let examples = try definition.examples(
      url, tokenizer: tokenizer, threads: threads, withLabel: true)
    let outputs = engine.outputs(of: examples.sequences, parameters: parameters)
    return (
      Evaluation(outputs: outputs, examples: examples, definition: definition), examples
    )
  }

  /// Predicts the rows of `input` into `output`, one JSON object a line, in the order of the rows.
  ///
  /// Rows are read as in training, by the file's ending, but need no label; in a `.txt` file each line
  /// is a text, and a tab separates the second one. `output` appears when it is complete.
  package func predict(_ input: URL, to output: URL) throws -> ExampleSet {
    let examples = try definition.examples(
      input, tokenizer: tokenizer, threads: threads, withLabel: false)
    let writer = try DurableFile(output)
    // Some thousand rows at a time: enough to batch by length, little to hold.
    for start in stride(from: 0, to: examples.rows.count, by: 4096) {
      let rows = start..<min(start + 4096, examples.rows.count)
      let first = examples.rows[start].lowerBound
      let part = examples.sequences[first..<examples.rows[rows.upperBound - 1].upperBound]
      let outputs = engine.outputs(of: Array(part), parameters: parameters)
      for row in rows {
        let range = examples.rows[row]
        let line = examples.decoder.prediction(
          ofRow: row, from: outputs[range.lowerBound - first..<range.upperBound - first])
        try writer.write([UInt8]((line + "\n").utf8))
      }
    }
    try writer.commit()
    return examples
  }
}
