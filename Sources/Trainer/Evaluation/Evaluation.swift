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
    metric == "loss" ? a < b : a > b
  }

  /// Scores `outputs`, one for each sequence of `examples`, which have targets.
  package init(outputs: [HeadOutput], examples: ExampleSet, definition: TaskDefinition) {
    precondition(
      outputs.count == examples.sequences.count,
      "\(outputs.count) of \(examples.sequences.count) outputs")
    rows = examples.rows.count
    let terms = examples.sequences.reduce(0) { $0 + definition.head.terms(of: $1) }
    let loss = outputs.reduce(0) { $0 + ($1.loss ?? 0) } / Double(max(terms, 1))
    let values = examples.decoder.metrics(outputs)
    metrics = definition.task.metrics(kind: definition.classification.kind).compactMap { name in
      name == "loss" ? (name, loss) : values[name].map { (name, $0) }
    }
  }
}
