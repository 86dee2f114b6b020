/// One class against the rest: what was predicted of it, and what was true.
///
/// A quotient whose denominator is 0 (nothing predicted, nothing true) counts as 0, as
/// scikit-learn's `zero_division=0`, so that averages over classes are always defined.
package struct ClassCounts: Sendable, Equatable {
  /// Rows of the class that were predicted as it.
  package var truePositives = 0
  /// Rows that were predicted as the class.
  package var predicted = 0
  /// Rows of the class.
  package var support = 0

  package init(truePositives: Int = 0, predicted: Int = 0, support: Int = 0) {
    self.truePositives = truePositives
    self.predicted = predicted
    self.support = support
  }

  package var precision: Double { Self.quotient(truePositives, predicted) }
  package var recall: Double { Self.quotient(truePositives, support) }
  /// The harmonic mean of precision and recall.
  package var f1: Double { Self.quotient(2 * truePositives, predicted + support) }

  private static func quotient(_ a: Int, _ b: Int) -> Double { b == 0 ? 0 : Double(a) / Double(b) }
}

/// Averages over classes, or over the labels of a multi-label task.
package struct ClassAverages: Sendable, Equatable {
  package let precision: Double
  package let recall: Double
  package let f1: Double

  /// The plain mean over `classes`; nil without classes.
  package static func macro(_ classes: [ClassCounts]) -> ClassAverages? {
    mean(classes) { _ in 1 }
  }

  /// The mean over `classes` weighted by their rows; nil without rows.
  package static func weighted(_ classes: [ClassCounts]) -> ClassAverages? {
    mean(classes) { Double($0.support) }
  }

  /// The scores of the counts' sums; nil without classes.
  package static func micro(_ classes: [ClassCounts]) -> ClassAverages? {
    guard !classes.isEmpty else { return nil }
    let sum = classes.reduce(into: ClassCounts()) {
      $0.truePositives += $1.truePositives
      $0.predicted += $1.predicted
      $0.support += $1.support
    }
    return ClassAverages(precision: sum.precision, recall: sum.recall, f1: sum.f1)
  }

  private static func mean(
    _ classes: [ClassCounts], weight: (ClassCounts) -> Double
  ) -> ClassAverages? {
    let total = classes.reduce(0) { $0 + weight($1) }
    guard total > 0 else { return nil }
    func average(_ score: (ClassCounts) -> Double) -> Double {
      classes.reduce(0) { $0 + weight($1) * score($1) } / total
    }
    return ClassAverages(
      precision: average(\.precision), recall: average(\.recall), f1: average(\.f1))
  }
}

/// Scores of predictions with one class a row, over all rows of an evaluation.
///
/// None of them is a mean over batches: F1 and the like are not averages, so counts are collected over
/// the whole split. Without rows everything is nil.
package struct ClassificationMetrics: Sendable, Equatable {
  /// The classes seen as label or prediction, rising.
  package let classes: [Int]
  /// For each of `classes`.
  package let counts: [ClassCounts]
  package let rows: Int
  package let correct: Int

  /// Counts the rows; `labels[i]` and `predictions[i]` are class numbers of row `i`.
  package init(labels: [Int], predictions: [Int]) {
    precondition(
      labels.count == predictions.count, "\(labels.count) labels, \(predictions.count) predictions")
    var counts: [Int: ClassCounts] = [:]
    var correct = 0
    for (label, prediction) in zip(labels, predictions) {
      counts[label, default: ClassCounts()].support += 1
      counts[prediction, default: ClassCounts()].predicted += 1
      if label == prediction {
        counts[label, default: ClassCounts()].truePositives += 1
        correct += 1
      }
    }
    classes = counts.keys.sorted()
    self.counts = classes.map { counts[$0] ?? ClassCounts() }
    rows = labels.count
    self.correct = correct
  }

  /// The share of rows whose class was predicted; nil without rows.
  package var accuracy: Double? { rows == 0 ? nil : Double(correct) / Double(rows) }

  /// The counts of one class; all 0 if it was never seen.
  package subscript(class number: Int) -> ClassCounts {
    classes.firstIndex(of: number).map { counts[$0] } ?? ClassCounts()
  }

  /// Precision, recall and F1 of class 1 of a binary task; nil without rows.
  package var binary: ClassAverages? {
    let one = self[class: 1]
    return rows == 0
      ? nil : ClassAverages(precision: one.precision, recall: one.recall, f1: one.f1)
  }

  /// Means over the classes that were seen as label or prediction; nil without rows.
  package var macro: ClassAverages? { .macro(counts) }
  /// Means over classes weighted by rows; nil without rows.
  package var weighted: ClassAverages? { .weighted(counts) }
  /// With one class a row all three equal the accuracy; nil without rows.
  package var micro: ClassAverages? { .micro(counts) }

  /// Matthews' correlation for any number of classes; 0 where labels or predictions are all one class,
  /// as scikit-learn has it; nil without rows.
  ///
  /// Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient" (2004).
  package var matthews: Double? {
    guard rows > 0 else { return nil }
    let n = Double(rows)
    var both = 0.0
    var labels = 0.0
    var predictions = 0.0
    for count in counts {
      both += Double(count.support) * Double(count.predicted)
      labels += Double(count.support) * Double(count.support)
      predictions += Double(count.predicted) * Double(count.predicted)
    }
    let spread = (n * n - labels).squareRoot() * (n * n - predictions).squareRoot()
    return spread == 0 ? 0 : (Double(correct) * n - both) / spread
  }
}

/// Scores of a task whose rows may have any number of labels.
package struct MultiLabelMetrics: Sendable, Equatable {
  /// One for each label.
  package let counts: [ClassCounts]
  package let rows: Int
  /// Rows all of whose labels were predicted rightly.
  package let exactRows: Int

  /// Counts the rows; both arrays are `[rows][labels]`.
  package init(labels: [[Bool]], predictions: [[Bool]]) {
    precondition(
      labels.count == predictions.count, "\(labels.count) rows, \(predictions.count) predictions")
    var counts = [ClassCounts](repeating: ClassCounts(), count: labels.first?.count ?? 0)
    for (label, prediction) in zip(labels, predictions) {
      precondition(
        label.count == counts.count && prediction.count == counts.count,
        "\(label.count) labels, \(prediction.count) predictions of \(counts.count)")
      for i in counts.indices {
        if label[i] { counts[i].support += 1 }
        if prediction[i] { counts[i].predicted += 1 }
        if label[i] && prediction[i] { counts[i].truePositives += 1 }
      }
    }
    self.counts = counts
    rows = labels.count
    exactRows = zip(labels, predictions).count { $0 == $1 }
  }

  /// The share of rows without any error (subset accuracy); nil without rows.
  package var exactAccuracy: Double? { rows == 0 ? nil : Double(exactRows) / Double(rows) }
  package var macro: ClassAverages? { rows == 0 ? nil : .macro(counts) }
  package var micro: ClassAverages? { rows == 0 ? nil : .micro(counts) }
  /// Nil also when no row has any label.
  package var weighted: ClassAverages? { rows == 0 ? nil : .weighted(counts) }
}
