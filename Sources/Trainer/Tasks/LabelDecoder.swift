import Foundation
import Model

/// Labels and numbers: the metrics and predictions of classification, pairs and regression.
package struct LabelDecoder: ExampleDecoder {
  let definition: TaskDefinition
  /// Of each example; empty where rows have no labels.
  let targets: [[Float]]

  package init(definition: TaskDefinition, targets: [[Float]]) {
    self.definition = definition
    self.targets = targets
  }

  package func metrics(_ outputs: [HeadOutput]) -> [String: Double] {
    let values: [String: Double?]
    if definition.task == .regression {
      let predicted = outputs.map { Double($0.values[0]) }
      let expected = targets.map { Double($0[0]) }
      values = [
        "pearson": NumericMetrics.pearson(predicted, expected),
        "spearman": NumericMetrics.spearman(predicted, expected),
      ]
    } else {
      let predictions = outputs.map { definition.prediction($0.values) }
      values =
        definition.classification.kind == .multiLabel
        ? multiLabel(predictions) : singleLabel(predictions)
    }
    return values.compactMapValues { $0 }
  }

  private func singleLabel(_ predictions: [TaskDefinition.Prediction]) -> [String: Double?] {
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
    if definition.labels.count == 2 {
      values["f1"] = metrics.binary?.f1
      values["auc"] = NumericMetrics.areaUnderCurve(
        positive: targets.map { $0[0] == 1 }, scores: positive)
    }
    return values
  }

  private func multiLabel(_ predictions: [TaskDefinition.Prediction]) -> [String: Double?] {
    let predicted = predictions.map { prediction in
      var row = [Bool](repeating: false, count: definition.labels.count)
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

  package func warning(_ outputs: [HeadOutput]) -> String? {
    guard definition.task != .regression else { return nil }
    if definition.classification.kind == .multiLabel { return multiLabelWarning(outputs) }
    var predicted: Set<Int> = []
    var entropy = 0.0
    for output in outputs {
      guard case .label(let label, let probabilities) = definition.prediction(output.values) else {
        continue
      }
      predicted.insert(label)
      entropy -= probabilities.reduce(0) { $1 > 0 ? $0 + $1 * log($1) : $0 }
    }
    let present = Set(targets.compactMap(\.first))
    guard let label = predicted.first, predicted.count == 1, present.count > 1 else { return nil }
    let mean = Progress.fixed(entropy / Double(outputs.count), 3)
    let most = Progress.fixed(log(Double(definition.labels.count)), 3)
    return
      "all \(outputs.count) rows are predicted as \(definition.labels[label]), though they have \(present.count) labels; "
      + "the mean entropy of the predictions is \(mean) of at most \(most). A model that has collapsed does that, and one that has not learnt yet."
  }

  /// Whether no row has a label, or all have the same ones, though the truth differs.
  private func multiLabelWarning(_ outputs: [HeadOutput]) -> String? {
    var predicted: Set<[Int]> = []
    var entropy = 0.0
    for output in outputs {
      guard case .labels(let numbers, let probabilities) = definition.prediction(output.values)
      else { continue }
      predicted.insert(numbers)
      for p in probabilities {
        for q in [p, 1 - p] where q > 0 { entropy -= q * log(q) }
      }
    }
    let present = Set(targets.filter { !$0.isEmpty }).count
    guard let labels = predicted.first, predicted.count == 1, present > 1 else { return nil }
    let names = labels.map { definition.labels[$0] }.joined(separator: ", ")
    let mean = Progress.fixed(
      entropy / Double(max(outputs.count, 1) * max(definition.labels.count, 1)), 3)
    return
      "all \(outputs.count) rows are predicted to have \(labels.isEmpty ? "no label" : "just \(names)"), though they have \(present) different sets of labels; "
      + "the mean entropy of a label's prediction is \(mean) of at most \(Progress.fixed(log(2), 3)). A model that has collapsed does that, and one that has not learnt yet."
  }

  package func prediction(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) -> String {
    guard let output = outputs.first else { preconditionFailure("row \(row) has no output") }
    func all(_ probabilities: [Double]) -> String {
      let members = zip(definition.labels, probabilities).map {
        "\(JSONText.quoted($0)):\($1)"
      }
      return "{\(members.joined(separator: ","))}"
    }
    switch definition.prediction(output.values) {
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
