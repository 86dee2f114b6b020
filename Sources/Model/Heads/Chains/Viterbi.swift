/// The best sequence of labels under a linear-chain model, with constraints.
package struct Viterbi: Sendable {
  /// Which labels may follow which, start and end a sequence; nothing else is ever returned.
  package struct Constraints: Sendable, Equatable {
    /// Labels `C`.
    package let labels: Int
    /// `[C, C]` (from, to).
    package var follows: [Bool]
    /// `[C]` each.
    package var starts: [Bool]
    package var ends: [Bool]

    /// No constraints.
    package init(labels: Int) {
      self.labels = labels
      follows = Array(repeating: true, count: labels * labels)
      starts = Array(repeating: true, count: labels)
      ends = Array(repeating: true, count: labels)
    }

    /// BIO labels in the order O, B-1, I-1, B-2, I-2, …: I of a type comes only after B or I of that type.
    ///
    /// With `outerAreO` the first and the last label are O: those of [CLS] and [SEP].
    package static func bio(types: Int, outerAreO: Bool) -> Constraints {
      var result = Constraints(labels: 2 * types + 1)
      for to in stride(from: 2, through: 2 * types, by: 2) {
        result.starts[to] = false
        for from in 0..<result.labels where from != to && from != to - 1 {
          result.follows[from * result.labels + to] = false
        }
      }
      if outerAreO {
        for label in 1..<result.labels {
          result.starts[label] = false
          result.ends[label] = false
        }
      }
      return result
    }
  }

  /// The labels `[S]` of the highest score, and that score; of equals the smallest label, from the end backwards.
  ///
  /// `emissions [S, C]`, `transitions [C, C]` (from, to). An empty sequence has no labels and the score 0.
  /// Returns nil where the constraints leave no sequence of that length.
  package static func decode(
    emissions: [Float], transitions: [Float], constraints: Constraints
  ) -> (labels: [Int], score: Double)? {
    let c = constraints.labels
    precondition(
      emissions.count % c == 0 && transitions.count == c * c,
      "\(emissions.count) emissions and \(transitions.count) transitions for \(c) labels")
    let s = emissions.count / c
    guard s > 0 else { return ([], 0) }
    var scores = (0..<c).map { constraints.starts[$0] ? Double(emissions[$0]) : -.infinity }
    var origins = [Int](repeating: 0, count: s * c)
    for t in 1..<max(s, 1) {
      var next = [Double](repeating: -.infinity, count: c)
      for j in 0..<c {
        for i in 0..<c where constraints.follows[i * c + j] {
          let score = scores[i] + Double(transitions[i * c + j])
          if score > next[j] {
            next[j] = score
            origins[t * c + j] = i
          }
        }
        next[j] += Double(emissions[t * c + j])
      }
      scores = next
    }
    var best: Int?
    for j in 0..<c where constraints.ends[j] && scores[j] > -.infinity {
      if best.map({ scores[j] > scores[$0] }) ?? true { best = j }
    }
    guard let last = best else { return nil }
    var labels = [last]
    for t in stride(from: s - 1, to: 0, by: -1) {
      labels.append(origins[t * c + labels[labels.count - 1]])
    }
    return (labels.reversed(), scores[last])
  }
}
