import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

/// A task without a model: rows are read, and outputs written by hand are decoded.
struct DecodedTask {
  let folder: MadeUpTask
  var definition: TaskDefinition
  let recipe: Recipe
  let tokenizer: Tokenizer

  init(_ overrides: [String], labels: [String] = []) throws {
    folder = try MadeUpTask(train: 2, dev: 1, test: 1)
    recipe = try Recipe(contentsOf: folder.recipe, overrides: overrides)
    var configuration = tinyConfiguration()
    configuration.maximumPositions = 512
    definition = TaskDefinition(
      recipe, labels: labels, lowercase: true, configuration: configuration)
    tokenizer = Tokenizer(
      vocabulary: try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt")),
      kind: definition.tokenizer, lowercase: true)
  }

  /// The rows of a file `name` with the content `text`.
  func examples(
    _ text: String, _ name: String, withLabel: Bool = false, isTraining: Bool = false
  ) throws -> ExampleSet {
    let url = try folder.write(text, to: name)
    let context = TaskContext(
      definition, tokenizer: tokenizer, threads: 1, isTraining: isTraining)
    return try recipe.layout.read(url, withLabel: withLabel).examples(
      context, withLabel: withLabel)
  }
}

extension ExampleSet {
  /// What is predicted for row `row`, which is one sequence, when the head says `values`.
  func said(_ values: [Float], row: Int = 0) throws -> [String: Any] {
    let line = decoder.prediction(
      ofRow: row, from: [HeadOutput(values: values, loss: nil)][...])
    return try #require(
      try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
  }
}
