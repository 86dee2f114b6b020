import Foundation
import Model
import Text

/// A model that a run has saved, ready to be asked: weights, tokenizer and what its outputs mean.
package final class SavedModel {
  package let definition: TaskDefinition
  package let reader: ExampleReader
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
    let tokenizer = Tokenizer(
      vocabulary: vocabulary, kind: definition.tokenizer, lowercase: definition.lowercase)
    reader = ExampleReader(definition, tokenizer: tokenizer, threads: threads)
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
    let rows = try ExampleReader.rows(
      url, format: nil, header: definition.header, columns: definition.columns, withLabel: true)
    let examples = try reader.examples(rows, withLabel: true)
    let outputs = engine.outputs(of: examples.sequences, parameters: parameters)
    return (
      Evaluation(outputs: outputs, sequences: examples.sequences, definition: definition), examples
    )
  }

  /// Predicts the rows of `input` into `output`, one JSON object a line, in the order of the rows.
  ///
  /// Rows are read as in training, by the file's ending, but need no label; in a `.txt` file each line
  /// is a text, and a tab separates the second one. `output` appears when it is complete.
  package func predict(_ input: URL, to output: URL) throws -> ExampleSet {
    let rows =
      input.pathExtension.lowercased() == "txt"
      ? try lines(of: input)
      : try ExampleReader.rows(
        input, format: nil, header: definition.header, columns: definition.columns,
        withLabel: false)
    let examples = try reader.examples(rows, withLabel: false)
    let writer = try DurableFile(output)
    // Some thousand rows at a time: enough to batch by length, little to hold.
    for start in stride(from: 0, to: examples.sequences.count, by: 4096) {
      let part = examples.sequences[start..<min(start + 4096, examples.sequences.count)]
      for outputs in engine.outputs(of: Array(part), parameters: parameters) {
        try writer.write([UInt8]((line(definition.prediction(outputs)) + "\n").utf8))
      }
    }
    try writer.commit()
    return examples
  }

  private func lines(of url: URL) throws -> RowFile {
    let texts: [RequestedColumn] =
      definition.columns.text2 == nil
      ? [RequestedColumn(.number(1))] : [RequestedColumn(.number(1)), RequestedColumn(.number(2))]
    return try RowFile.read(url, format: .tsv, columns: texts, header: .absent)
  }

  /// A prediction as one JSON object.
  private func line(_ prediction: TaskDefinition.Prediction) -> String {
    func all(_ probabilities: [Double]) -> String {
      let members = zip(definition.labels, probabilities).map {
        "\(JSONText.quoted($0)):\($1)"
      }
      return "{\(members.joined(separator: ","))}"
    }
    switch prediction {
    case .label(let number, let probabilities):
      return
        "{\"label\":\(JSONText.quoted(definition.labels[number])),\"probabilities\":\(all(probabilities))}"
    case .labels(let numbers, let probabilities):
      let names = numbers.map { JSONText.quoted(definition.labels[$0]) }
      return
        "{\"labels\":[\(names.joined(separator: ","))],\"probabilities\":\(all(probabilities))}"
    case .value(let value):
      return "{\"value\":\(value)}"
    }
  }
}
