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

  /// Scores `outputs`, `[B][C]`, against the targets of `sequences`.
  package init(
    outputs: [[Float]], sequences: [SequenceInput], definition: TaskDefinition
  ) {
    precondition(outputs.count == sequences.count, "\(outputs.count) of \(sequences.count) outputs")
    rows = sequences.count
    let head = definition.head
    let terms = Double(max(rows, 1) * head.termsPerSequence)
    let loss = zip(outputs, sequences).reduce(0) {
      $0 + Engine.loss(of: $1.0, target: $1.1.target, head: head)
    }
    let targets = sequences.map(\.target)
    let values: [String: Double?]
    switch definition.task {
    case .regression:
      let predicted = outputs.map { Double($0[0]) }
      let expected = targets.map { Double($0[0]) }
      values = [
        "pearson": NumericMetrics.pearson(predicted, expected),
        "spearman": NumericMetrics.spearman(predicted, expected),
      ]
    case .classification, .pair:
      let predictions = outputs.map(definition.prediction)
      values =
        definition.classification.kind == .multiLabel
        ? Self.multiLabel(predictions, targets, labels: definition.labels.count)
        : Self.singleLabel(predictions, targets, labels: definition.labels.count)
    }
    var metrics: [(name: String, value: Double)] = []
    for name in definition.task.metrics(kind: definition.classification.kind) {
      if name == "loss" {
        metrics.append((name, loss / terms))
      } else if let value = values[name] ?? nil {
        metrics.append((name, value))
      }
    }
    self.metrics = metrics
  }

  private static func singleLabel(
    _ predictions: [TaskDefinition.Prediction], _ targets: [[Float]], labels: Int
  ) -> [String: Double?] {
    var predicted: [Int] = []
    var positive: [Double] = []
    for case .label(let label, let probabilities) in predictions {
      predicted.append(label)
      positive.append(probabilities[probabilities.count - 1])
    }
    let metrics = ClassificationMetrics(
      labels: targets.map { Int($0[0]) }, predictions: predicted)
    var values: [String: Double?] = [
      "accuracy": metrics.accuracy, "f1Macro": metrics.macro?.f1, "mcc": metrics.matthews,
    ]
    if labels == 2 {
      values["f1"] = metrics.binary?.f1
      values["auc"] = NumericMetrics.areaUnderCurve(
        positive: targets.map { $0[0] == 1 }, scores: positive)
    }
    return values
  }

  private static func multiLabel(
    _ predictions: [TaskDefinition.Prediction], _ targets: [[Float]], labels: Int
  ) -> [String: Double?] {
    let predicted = predictions.map { prediction in
      var row = [Bool](repeating: false, count: labels)
      if case .labels(let numbers, _) = prediction { for number in numbers { row[number] = true } }
      return row
    }
    let metrics = MultiLabelMetrics(
      labels: targets.map { $0.map { $0 == 1 } }, predictions: predicted)
    return [
      "accuracy": metrics.exactAccuracy, "f1Micro": metrics.micro?.f1,
      "f1Macro": metrics.macro?.f1,
    ]
  }
}
