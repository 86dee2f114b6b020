import TestSupport
import Testing
import Trainer

/// `Tests/Fixtures/metrics.json`: scikit-learn's and SciPy's values.
private struct MetricsFixture: Decodable, Sendable {
  struct Classification: Decodable, Sendable {
    let labels, predictions, macro_f1_classes: [Int]
    let accuracy, mcc, macro_f1, micro_f1, weighted_f1: Double
    let binary_f1, binary_precision, binary_recall: Double?
    let scores: [Double]?
    let auc: Double?
  }
  struct Correlation: Decodable, Sendable {
    let x, y: [Double]
    let pearson, spearman: Double?
    let mse, mae: Double
  }
  struct Section<Case: Decodable & Sendable>: Decodable, Sendable { let cases: [Case] }
  let classification: Section<Classification>
  let correlation: Section<Correlation>

  static let loaded = try? Fixtures.json("metrics.json", as: MetricsFixture.self)
}

/// Equal within the fixture's tolerance, or both undefined.
private func same(_ value: Double?, _ expected: Double?) -> Bool {
  guard let value, let expected else { return value == nil && expected == nil }
  return abs(value - expected) <= 1e-11
}

@Suite struct MetricsTests {
  @Test func `the reference has its cases`() {
    #expect(MetricsFixture.loaded?.classification.cases.count == 8)
    #expect(MetricsFixture.loaded?.correlation.cases.count == 4)
  }

  @Test(arguments: MetricsFixture.loaded?.classification.cases ?? [])
  fileprivate func `classification scores are scikit-learn's`(
    reference: MetricsFixture.Classification
  ) {
    let metrics = ClassificationMetrics(
      labels: reference.labels, predictions: reference.predictions)
    #expect(metrics.classes == reference.macro_f1_classes)
    #expect(same(metrics.accuracy, reference.accuracy))
    #expect(same(metrics.matthews, reference.mcc))
    #expect(same(metrics.macro?.f1, reference.macro_f1))
    #expect(same(metrics.micro?.f1, reference.micro_f1))
    #expect(same(metrics.weighted?.f1, reference.weighted_f1))
    if reference.binary_f1 != nil {
      #expect(same(metrics.binary?.f1, reference.binary_f1))
      #expect(same(metrics.binary?.precision, reference.binary_precision))
      #expect(same(metrics.binary?.recall, reference.binary_recall))
    }
    if let scores = reference.scores {
      let auc = NumericMetrics.areaUnderCurve(
        positive: reference.labels.map { $0 == 1 }, scores: scores)
      #expect(same(auc, reference.auc))
    }
  }

  @Test(arguments: MetricsFixture.loaded?.correlation.cases ?? [])
  fileprivate func `correlations and errors are SciPy's`(reference: MetricsFixture.Correlation) {
    #expect(same(NumericMetrics.pearson(reference.x, reference.y), reference.pearson))
    #expect(same(NumericMetrics.spearman(reference.x, reference.y), reference.spearman))
    #expect(same(NumericMetrics.meanSquaredError(reference.x, reference.y), reference.mse))
    #expect(same(NumericMetrics.meanAbsoluteError(reference.x, reference.y), reference.mae))
  }

  @Test func `without rows every score is nil`() {
    let none = ClassificationMetrics(labels: [], predictions: [])
    #expect(none.accuracy == nil && none.matthews == nil && none.binary == nil)
    #expect(none.macro == nil && none.micro == nil && none.weighted == nil)
    let labels = MultiLabelMetrics(labels: [], predictions: [])
    #expect(labels.exactAccuracy == nil && labels.macro == nil && labels.micro == nil)
    #expect(NumericMetrics.areaUnderCurve(positive: [], scores: []) == nil)
    #expect(NumericMetrics.pearson([], []) == nil && NumericMetrics.spearman([1], [1]) == nil)
    #expect(NumericMetrics.meanSquaredError([], []) == nil)
    #expect(NumericMetrics.meanAbsoluteError([], []) == nil)
  }

  @Test func `values that are not numbers make a score undefined`() {
    #expect(NumericMetrics.areaUnderCurve(positive: [true, false], scores: [.nan, 1]) == nil)
    #expect(NumericMetrics.pearson([1, .nan, 3], [1, 2, 3]) == nil)
    #expect(NumericMetrics.pearson([1, .infinity, 3], [1, 2, 3]) == nil)
    #expect(NumericMetrics.spearman([1, .nan, 3], [1, 2, 3]) == nil)
    // Ranks of infinities are well defined.
    #expect(same(NumericMetrics.spearman([1, .infinity, -.infinity], [2, 3, 1]), 1))
  }

  @Test func `a constant side has no correlation even where its mean is rounded`() {
    #expect(NumericMetrics.pearson([0.1, 0.1, 0.1], [1, 2, 3]) == nil)
    #expect(NumericMetrics.spearman([1, 2, 3], [0.1, 0.1, 0.1]) == nil)
  }

  @Test func `AUC counts the pairs`() {
    let positive = [true, false, true, true, false, false, true]
    let scores = [0.5, 0.5, 0.5, 0.9, 0.1, 0.9, -3]
    var pairs = 0.0
    for (isPositive, score) in zip(positive, scores) where isPositive {
      for (other, rival) in zip(positive, scores) where !other {
        pairs += score > rival ? 1 : score == rival ? 0.5 : 0
      }
    }
    #expect(same(NumericMetrics.areaUnderCurve(positive: positive, scores: scores), pairs / 12))
  }

  @Test func `scores do not depend on the order of rows`() {
    let labels = [0, 3, 1, 1, 0, 2, 2, 1]
    let predictions = [0, 1, 1, 1, 2, 2, 0, 4]
    let order = [5, 0, 7, 3, 1, 2, 6, 4]
    #expect(
      ClassificationMetrics(labels: labels, predictions: predictions)
        == ClassificationMetrics(
          labels: order.map { labels[$0] }, predictions: order.map { predictions[$0] }))
  }

  @Test func `multi-label scores count every label by itself`() {
    let metrics = MultiLabelMetrics(
      labels: [[true, false, false], [true, true, false], [false, false, false]],
      predictions: [[true, false, false], [false, true, false], [false, true, false]])
    #expect(
      metrics.counts == [
        ClassCounts(truePositives: 1, predicted: 1, support: 2),
        ClassCounts(truePositives: 1, predicted: 2, support: 1), ClassCounts(),
      ])
    #expect(same(metrics.exactAccuracy, 1.0 / 3))
    #expect(same(metrics.micro?.f1, 2.0 / 3))
    #expect(same(metrics.macro?.f1, (2.0 / 3 + 2.0 / 3 + 0) / 3))
    #expect(same(metrics.weighted?.precision, (2 * 1 + 1 * 0.5) / 3))
  }
}
