import Foundation
import Model

/// The scores of a model on one set of rows, each row counted once.
package struct Evaluation: Sendable, Equatable {
  /// Metrics by name, the task's own order; a metric that the rows do not define is absent.
  package let metrics: [(name: String, value: Double)]
  package let rows: Int

  package static func == (a: Evaluation, b: Evaluation) -> Bool {
    a.rows == b.rows && a.metrics.elementsEqual(b.metrics) { $0 == $1 }
  }

  package subscript(name: String) -> Double? { metrics.first { $0.name == name }?.value }

  /// Whether `a` is a better value of `metric` than `b`.
  package static func isBetter(_ a: Double, than b: Double, metric: String) -> Bool {
    ["loss", "perplexity"].contains(metric) ? a < b : a > b
  }

  /// Scores `outputs`, one for each sequence of `examples`, which have targets.
  package init(outputs: [HeadOutput], examples: ExampleSet, definition: TaskDefinition) {
    precondition(
      outputs.count == examples.sequences.count,
      "\(outputs.count) of \(examples.sequences.count) outputs")
    rows = examples.rows.count
    let head = definition.head.evaluated
    var sum = 0.0, terms = 0.0
    for (output, example) in zip(outputs, examples.sequences) {
      // Rows without an answer are judged by what is predicted, not by a loss.
      guard let loss = output.loss else { continue }
      sum += loss
      terms += head.terms(of: example)
    }
    let loss = sum / max(terms, 1)
    var values = examples.decoder.metrics(outputs)
    values["loss"] = loss
    if definition.task == .maskedLM { values["perplexity"] = exp(loss) }
    let known = definition.task.metrics(kind: definition.classification.kind)
    metrics =
      known.compactMap { name in values[name].map { (name, $0) } }
      + values.filter { !known.contains($0.key) }.sorted { $0.key < $1.key }.map {
        (name: $0.key, value: $0.value)
      }
  }
}
