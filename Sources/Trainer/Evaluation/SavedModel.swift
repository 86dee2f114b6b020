import Crypto
import Foundation
import Model
import Text

/// A model that a run has saved, ready to be asked: weights, tokenizer and what its outputs mean.
package final class SavedModel {
  package var definition: TaskDefinition { reader.definition }
  private let folder: URL
  /// What makes inputs of rows; unlike the model it may be used by several threads.
  package let reader: InputReader
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
    self.folder = folder
    let definition = try TaskDefinition(folder: folder)
    // What is saved says everything itself, in Hugging Face's words, whatever it was trained as.
    let model = try ModelFolder.open(folder, dialect: .huggingface)
    guard let vocabularyURL = model.vocabularyURL else {
      throw RunError.damaged(folder.path, "vocab.txt is missing")
    }
    let vocabulary = try Vocabulary(contentsOf: vocabularyURL)
    _ = try vocabulary.check(modelVocabularySize: model.configuration.vocabularySize)
    reader = InputReader(
      definition: definition,
      tokenizer: Tokenizer(
        vocabulary: vocabulary, kind: definition.tokenizer, lowercase: definition.lowercase),
      threads: threads, configuration: model.configuration)
    engine = Engine(
      configuration: model.configuration, head: definition.head, pool: ThreadPool(threads: threads))
    parameters = Arena(count: engine.table.count)
    let report = try model.load(into: parameters, table: engine.table)
    if let missing = report.missing.first {
      throw RunError.damaged(model.location, "the tensor \(missing.name) is missing")
    }
  }

  deinit { engine.pool.stop() }

  /// SHA-256 of the file of weights, as `sha256sum` says it.
  func weightsDigest() throws -> String {
    let file = try InputFile(folder.appending(path: "model.safetensors"))
    var hash = SHA256()
    try file.stream(at: 0, count: file.byteCount) { hash.update(bufferPointer: $0) }
    return hash.finalize().hex
  }

  func outputs(
    of sequences: [SequenceInput], as form: Engine.OutputForm = .found
  ) -> [HeadOutput] {
    engine.outputs(of: sequences, parameters: parameters, as: form)
  }

  /// Whether both make the same inputs of a text.
  func readsLike(_ other: SavedModel) -> Bool {
    definition.tokenizer == other.definition.tokenizer
      && definition.lowercase == other.definition.lowercase
      && definition.maxLength == other.definition.maxLength
      && definition.evaluationLength == other.definition.evaluationLength
      && reader.tokenizer.vocabulary.tokens == other.reader.tokenizer.vocabulary.tokens
  }
}

/// Makes inputs of rows as a saved model reads them.
package struct InputReader: Sendable {
  package let definition: TaskDefinition
  fileprivate let tokenizer: Tokenizer
  /// Threads that tokenize.
  package var threads: Int
  private let configuration: BertConfiguration

  fileprivate init(
    definition: TaskDefinition, tokenizer: Tokenizer, threads: Int,
    configuration: BertConfiguration
  ) {
    (self.definition, self.tokenizer, self.threads) = (definition, tokenizer, threads)
    self.configuration = configuration
  }

  /// Reads the rows of `input`.
  package func examples(_ input: any RowInput, withLabel: Bool) throws -> ExampleSet {
    let examples = try definition.examples(
      input, tokenizer: tokenizer, threads: threads, withLabel: withLabel)
    try examples.check(configuration)
    return examples
  }
}
