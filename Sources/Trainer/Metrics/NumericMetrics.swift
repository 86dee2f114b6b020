/// Scores of numbers against numbers; undefined ones are nil, never NaN.
package enum NumericMetrics {
  /// The area under the ROC curve: the chance that a positive row has a higher score than a negative
  /// one, ties counted half.
  ///
  /// Nil if one of the two classes is missing or a score is NaN.
  package static func areaUnderCurve(positive: [Bool], scores: [Double]) -> Double? {
    precondition(positive.count == scores.count, "\(positive.count) rows, \(scores.count) scores")
    guard !scores.contains(where: \.isNaN) else { return nil }
    let positives = positive.count { $0 }
    let negatives = positive.count - positives
    guard positives > 0, negatives > 0 else { return nil }
    // Average ranks are halves: their sum is exact.
    var rankSum = 0.0
    for (rank, isPositive) in zip(averageRanks(scores), positive) where isPositive {
      rankSum += rank
    }
    let pairsWon = rankSum - Double(positives) * Double(positives + 1) / 2
    return pairsWon / (Double(positives) * Double(negatives))
  }

  /// Pearson's correlation; nil for fewer than two rows, where a side is constant, or with NaN or infinity.
  package static func pearson(_ x: [Double], _ y: [Double]) -> Double? {
    precondition(x.count == y.count, "\(x.count) and \(y.count) values")
    // A constant side must be seen here: its rounded mean may differ from its value.
    guard x.count > 1, x.contains(where: { $0 != x[0] }), y.contains(where: { $0 != y[0] }) else {
      return nil
    }
    let n = Double(x.count)
    let meanX = x.reduce(0, +) / n
    let meanY = y.reduce(0, +) / n
    var xx = 0.0
    var yy = 0.0
    var xy = 0.0
    for (a, b) in zip(x, y) {
      xx += (a - meanX) * (a - meanX)
      yy += (b - meanY) * (b - meanY)
      xy += (a - meanX) * (b - meanY)
    }
    let correlation = xy / (xx.squareRoot() * yy.squareRoot())
    return correlation.isFinite ? max(-1, min(1, correlation)) : nil
  }

  /// Spearman's correlation: Pearson's of the ranks, ties sharing their average rank; nil as there.
  package static func spearman(_ x: [Double], _ y: [Double]) -> Double? {
    precondition(x.count == y.count, "\(x.count) and \(y.count) values")
    guard !x.contains(where: \.isNaN), !y.contains(where: \.isNaN) else { return nil }
    return pearson(averageRanks(x), averageRanks(y))
  }

  /// The mean of the squared differences; nil without rows.
  package static func meanSquaredError(_ x: [Double], _ y: [Double]) -> Double? {
    precondition(x.count == y.count, "\(x.count) and \(y.count) values")
    return x.isEmpty
      ? nil : zip(x, y).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Double(x.count)
  }

  /// The mean of the differences' sizes; nil without rows.
  package static func meanAbsoluteError(_ x: [Double], _ y: [Double]) -> Double? {
    precondition(x.count == y.count, "\(x.count) and \(y.count) values")
    return x.isEmpty ? nil : zip(x, y).reduce(0) { $0 + abs($1.0 - $1.1) } / Double(x.count)
  }

  /// Ranks from 1; equal values share the average of the ranks they take.
  static func averageRanks(_ values: [Double]) -> [Double] {
    let order = values.indices.sorted { values[$0] < values[$1] }
    var ranks = [Double](repeating: 0, count: values.count)
    var start = 0
    while start < order.count {
      var end = start + 1
      while end < order.count && values[order[end]] == values[order[start]] { end += 1 }
      for position in start..<end { ranks[order[position]] = Double(start + 1 + end) / 2 }
      start = end
    }
    return ranks
  }
}
