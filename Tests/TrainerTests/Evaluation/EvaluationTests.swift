import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

private func evaluation(
  _ overrides: [String], labels: [String], outputs: [[Float]], targets: [[Float]],
  losses: [Double]? = nil
) throws -> Evaluation {
  let task = try MadeUpTask(train: 2, dev: 1, test: 1)
  let definition = TaskDefinition(
    try Recipe(contentsOf: task.recipe, overrides: overrides), labels: labels, lowercase: true,
    configuration: tinyConfiguration(dropout: 0))
  let sequences = targets.map {
    SequenceInput(ids: [1], segments: [0], exampleID: 0, target: $0)
  }
  let examples = ExampleSet(
    file: "f", sequences: sequences, truncation: TruncationReport(), fingerprint: "",
    decoder: LabelDecoder(definition: definition, targets: targets))
  return Evaluation(
    outputs: outputs.enumerated().map { HeadOutput(values: $1, loss: losses?[$0] ?? 0) },
    examples: examples, definition: definition)
}

@Suite struct EvaluationTests {
  @Test func `a saved model reads no row that is longer than its positions`() throws {
    let task = try MadeUpTask()
    let run = task.url.appending(path: "run")
    try trained(task.recipe, into: run, ["epochs=1", "steps=null"])
    // The task of a model with more positions.
    let file = run.appending(path: "best/\(TaskDefinition.fileName)")
    let text = try String(contentsOf: file, encoding: .utf8)
    let changed = text.replacing(#/"maxLength" ?: ?24/#, with: "\"maxLength\": 2000")
    #expect(changed != text)
    try changed.write(to: file, atomically: true, encoding: .utf8)
    let long = String(repeating: "good ", count: 600)
    try task.write("text\tlabel\n\(long)\tpos\n", to: "long.tsv")
    let model = try Ensemble(runs: [run], threads: 1)
    let error = #expect(throws: RunError.self) {
      try model.evaluate(task.url.appending(path: "long.tsv"))
    }
    #expect(error?.status == .data)
    #expect(
      error?.description.contains(
        #/long.tsv: example 1 has 60\d tokens, and the model has \d+ positions/#)
        == true, "\(error.map { "\($0)" } ?? "")")
  }

  @Test func `two classes are scored by hand`() throws {
    // Predicted 1, 1, 0, 0; true 1, 0, 0, 1.
    let scores = try evaluation(
      [], labels: ["neg", "pos"], outputs: [[0, 2], [0, 1], [3, 0], [1, 0]],
      targets: [[1], [0], [0], [1]], losses: [0.5, 1, 0.25, 3])
    #expect(scores["accuracy"] == 0.5)
    #expect(scores["f1"] == 0.5)
    #expect(scores["mcc"] == 0)
    #expect(scores["auc"] == 0.75)
    #expect(scores["loss"] == 4.75 / 4)
  }

  @Test func `with three classes what names one of two is absent`() throws {
    let scores = try evaluation(
      [], labels: ["a", "b", "c"], outputs: [[1, 0, 0], [0, 1, 0]], targets: [[0], [2]])
    #expect(scores.metrics.map(\.name) == ["accuracy", "f1Macro", "mcc", "loss"])
  }

  @Test func `a regression is scored by its order and its line`() throws {
    let scores = try evaluation(
      ["task=regression"], labels: [], outputs: [[1], [2], [30]], targets: [[2], [4], [6]],
      losses: [1, 4, 576])
    #expect(abs((scores["spearman"] ?? 0) - 1) < 1e-12)
    #expect((scores["pearson"] ?? 1) < 0.9)
    #expect(abs((scores["loss"] ?? 0) - (1 + 4 + 576) / 3.0) < 1e-4)
  }

  @Test func `labels of a multi-label row count one by one`() throws {
    let scores = try evaluation(
      ["classification.kind=multi-label"], labels: ["a", "b"],
      outputs: [[5, -5], [5, 5]], targets: [[1, 0], [1, 0]])
    #expect(scores["accuracy"] == 0.5)
    #expect(scores["f1Micro"] == 0.8)
    // Two rows of two labels share the denominator.
    let loss = try evaluation(
      ["classification.kind=multi-label"], labels: ["a", "b"], outputs: [[5, -5], [5, 5]],
      targets: [[1, 0], [1, 0]], losses: [1, 7])["loss"]
    #expect(loss == 2)
  }

  @Test func `higher is better, except for loss and perplexity`() {
    #expect(Evaluation.isBetter(0.9, than: 0.8, metric: "accuracy"))
    #expect(!Evaluation.isBetter(0.9, than: 0.9, metric: "accuracy"))
    #expect(Evaluation.isBetter(0.1, than: 0.2, metric: "loss"))
    #expect(Evaluation.isBetter(8, than: 9, metric: "perplexity"))
  }
}
