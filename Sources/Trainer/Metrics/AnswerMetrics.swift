import Foundation

/// How far an answer is the expected one: exact match and overlap, after normalisation.
package enum AnswerMetrics {
  package enum Kind: String, Sendable, Codable, CaseIterable {
    /// SQuAD's script: lower case, no ASCII punctuation, no articles; overlap of words.
    case squad
    /// CMRC's: no punctuation; overlap of the longest common run of Chinese characters and Latin words.
    case cmrc
  }

  /// Whether `prediction` is one of `answers`, and the best overlap; an empty text is "no answer", and so is an empty list.
  package static func score(
    _ prediction: String, answers: [String], _ kind: Kind
  ) -> (exact: Double, f1: Double) {
    let answers = answers.isEmpty ? [""] : answers
    let scores = answers.map { answer in
      (exact(prediction, answer, kind), overlap(prediction, answer, kind))
    }
    return (scores.map(\.0).max() ?? 0, scores.map(\.1).max() ?? 0)
  }

  private static func exact(_ a: String, _ b: String, _ kind: Kind) -> Double {
    normalized(a, kind) == normalized(b, kind) ? 1 : 0
  }

  private static func overlap(_ prediction: String, _ answer: String, _ kind: Kind) -> Double {
    let a = units(prediction, kind), b = units(answer, kind)
    // One without words is right exactly if the other has none either.
    if a.isEmpty || b.isEmpty { return a.isEmpty && b.isEmpty ? 1 : 0 }
    let common = kind == .squad ? commonWords(a, b) : longestCommonRun(a, b)
    return common == 0 ? 0 : 2 * Double(common) / Double(a.count + b.count)
  }

  // MARK: Normalisation

  /// The text as it is compared.
  package static func normalized(_ text: String, _ kind: Kind) -> String {
    units(text, kind).joined(separator: kind == .squad ? " " : "")
  }

  private static func units(_ text: String, _ kind: Kind) -> [String] {
    kind == .squad ? words(text) : characters(text)
  }

  private static func words(_ text: String) -> [String] {
    let kept = String.UnicodeScalarView(
      text.lowercased().unicodeScalars.filter { !isASCIIPunctuation($0) })
    return withoutArticles(String(kept)).split(whereSeparator: \.isWhitespace).map(String.init)
  }

  /// `text` with `a`, `an` and `the` replaced by a space wherever they are words.
  private static func withoutArticles(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    func isWord(_ scalar: Unicode.Scalar) -> Bool {
      scalar == "_" || scalar.properties.isAlphabetic || scalar.properties.numericType != nil
    }
    var result = String.UnicodeScalarView()
    var start = 0
    while start < scalars.count {
      guard isWord(scalars[start]) else {
        result.append(scalars[start])
        start += 1
        continue
      }
      var end = start
      while end < scalars.count, isWord(scalars[end]) { end += 1 }
      let word = String(String.UnicodeScalarView(scalars[start..<end]))
      result.append(
        contentsOf: ["a", "an", "the"].contains(word) ? " ".unicodeScalars : word.unicodeScalars)
      start = end
    }
    return String(result)
  }

  private static func isASCIIPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 33...47, 58...64, 91...96, 123...126: true
    default: false
    }
  }

  /// Chinese characters one by one, runs of other letters and digits as they are; no punctuation, no case.
  private static func characters(_ text: String) -> [String] {
    var units: [String] = []
    var run = ""
    func isIdeograph(_ scalar: Unicode.Scalar) -> Bool { (0x4E00...0x9FFF).contains(scalar.value) }
    func isMark(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar.properties.generalCategory {
      case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
        .initialPunctuation, .finalPunctuation, .otherPunctuation, .mathSymbol, .currencySymbol,
        .modifierSymbol, .otherSymbol, .spaceSeparator, .control:
        true
      default: false
      }
    }
    for scalar in text.lowercased().unicodeScalars {
      if isIdeograph(scalar) || isMark(scalar) {
        if !run.isEmpty { units.append(run) }
        run = ""
        if isIdeograph(scalar) { units.append(String(scalar)) }
      } else {
        run.unicodeScalars.append(scalar)
      }
    }
    if !run.isEmpty { units.append(run) }
    return units
  }

  // MARK: Overlap

  /// Words in common, each as often as it occurs in both.
  private static func commonWords(_ a: [String], _ b: [String]) -> Int {
    var counts: [String: Int] = [:]
    for word in a { counts[word, default: 0] += 1 }
    return b.reduce(0) { sum, word in
      guard let left = counts[word], left > 0 else { return sum }
      counts[word] = left - 1
      return sum + 1
    }
  }

  /// The length of the longest run that both have.
  private static func longestCommonRun(_ a: [String], _ b: [String]) -> Int {
    var best = 0
    var row = [Int](repeating: 0, count: b.count + 1)
    for unit in a {
      var previous = 0
      for j in b.indices {
        let current = row[j + 1]
        row[j + 1] = unit == b[j] ? previous + 1 : 0
        best = max(best, row[j + 1])
        previous = current
      }
    }
    return best
  }
}

/// Exact triples, as sets, over rows.
package enum TripleMetrics {
  /// Micro counts; a triple that a row names twice counts once.
  package static func count<Triple: Hashable>(
    gold: [[Triple]], predicted: [[Triple]]
  ) -> MatchCounts {
    precondition(gold.count == predicted.count, "\(predicted.count) of \(gold.count) rows")
    var counts = MatchCounts()
    for (gold, predicted) in zip(gold, predicted) {
      let truth = Set(gold), found = Set(predicted)
      counts += MatchCounts(
        correct: truth.intersection(found).count, predicted: found.count, gold: truth.count)
    }
    return counts
  }
}
