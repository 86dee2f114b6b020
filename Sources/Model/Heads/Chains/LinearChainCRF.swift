/// A linear-chain conditional random field over the labels of one sequence, without scores for its ends.
///
/// The score of labels `y` is `Σ E[t, y_t] + Σ k·A[y_{t−1}, y_t]`, with emissions `E [S, C]`, transitions `A [C, C]` (from, to) and
/// bert4keras' multiplier `k`: what is stored is divided by it, so that an optimizer of Adam's kind moves the
/// transitions `k` times as fast. Source: Lafferty, McCallum, Pereira, "Conditional random fields" (ICML 2001);
/// bert4keras, `ConditionalRandomField`.
package struct LinearChainCRF {
  /// Labels `C`.
  let labels: Int
  /// `[C, C]`, as stored.
  let transitions: UnsafePointer<Float>
  let multiplier: Float

  package init(labels: Int, transitions: UnsafePointer<Float>, multiplier: Float) {
    self.labels = labels
    self.transitions = transitions
    self.multiplier = multiplier
  }

  /// Doubles of scratch for a sequence of `count` tokens.
  static func scratch(count: Int, labels: Int) -> Int { (2 * count + 1) * labels + labels * labels }

  /// `log Z − score(gold)`: the negative log-likelihood of `gold`, in double precision and log space.
  ///
  /// `emissions [S, C]` and `gold [S]`. Where wanted, writes the gradients: of the emissions the marginals less the gold
  /// labels `[S, C]`, of the stored transitions expected less observed counts times the multiplier `[C, C]`.
  package func loss(
    _ emissions: UnsafePointer<Float>, gold: [Int],
    dEmissions: UnsafeMutablePointer<Float>?, dTransitions: UnsafeMutablePointer<Float>?
  ) -> Double {
    let s = gold.count, c = labels
    guard s > 0 else {
      dTransitions?.update(repeating: 0, count: c * c)
      return 0
    }
    return withUnsafeTemporaryAllocation(
      of: Double.self, capacity: Self.scratch(count: s, labels: c)
    ) { scratch in
      guard let forward = scratch.baseAddress else { preconditionFailure("no scratch") }
      let backward = forward + s * c, sums = backward + s * c, scores = sums + c
      for i in 0..<c * c { scores[i] = Double(transitions[i] * multiplier) }
      let partition = runForward(emissions, s, scores, forward)
      if dEmissions != nil || dTransitions != nil {
        runBackward(emissions, s, scores, backward)
      }
      if let dEmissions {
        for t in 0..<s {
          for j in 0..<c {
            let marginal = DoubleMath.exp(forward[t * c + j] + backward[t * c + j] - partition)
            dEmissions[t * c + j] = Float(marginal - (gold[t] == j ? 1 : 0))
          }
        }
      }
      if let dTransitions {
        transitionGradient(
          emissions, gold, scores, forward, backward, partition, into: dTransitions)
      }
      var score = 0.0
      for t in 0..<s {
        score += Double(emissions[t * c + gold[t]])
        if t > 0 { score += scores[gold[t - 1] * c + gold[t]] }
      }
      return partition - score
    }
  }

  /// `forward[t, j]`: log of the summed exponentials of all ways to be at `j` in token `t`; returns log Z.
  private func runForward(
    _ emissions: UnsafePointer<Float>, _ s: Int, _ scores: UnsafePointer<Double>,
    _ forward: UnsafeMutablePointer<Double>
  ) -> Double {
    let c = labels
    for j in 0..<c { forward[j] = Double(emissions[j]) }
    for t in 1..<max(s, 1) {
      let before = forward + (t - 1) * c
      for j in 0..<c {
        forward[t * c + j] =
          Double(emissions[t * c + j])
          + Self.logSum(c) { before[$0] + scores[$0 * c + j] }
      }
    }
    let last = forward + (s - 1) * c
    return Self.logSum(c) { last[$0] }
  }

  /// `backward[t, i]`: the same of all ways on from `i` in token `t`, that token's own score left out.
  private func runBackward(
    _ emissions: UnsafePointer<Float>, _ s: Int, _ scores: UnsafePointer<Double>,
    _ backward: UnsafeMutablePointer<Double>
  ) {
    let c = labels
    for i in 0..<c { backward[(s - 1) * c + i] = 0 }
    for t in stride(from: s - 2, through: 0, by: -1) {
      let after = backward + (t + 1) * c, e = emissions + (t + 1) * c
      for i in 0..<c {
        backward[t * c + i] = Self.logSum(c) { scores[i * c + $0] + Double(e[$0]) + after[$0] }
      }
    }
  }

  private func transitionGradient(
    _ emissions: UnsafePointer<Float>, _ gold: [Int], _ scores: UnsafePointer<Double>,
    _ forward: UnsafePointer<Double>, _ backward: UnsafePointer<Double>, _ partition: Double,
    into d: UnsafeMutablePointer<Float>
  ) {
    let c = labels
    for i in 0..<c {
      for j in 0..<c {
        var expected = 0.0
        var observed = 0
        for t in 1..<max(gold.count, 1) {
          expected += DoubleMath.exp(
            forward[(t - 1) * c + i] + scores[i * c + j] + Double(emissions[t * c + j])
              + backward[t * c + j] - partition)
          if gold[t - 1] == i && gold[t] == j { observed += 1 }
        }
        d[i * c + j] = Float((expected - Double(observed)) * Double(multiplier))
      }
    }
  }

  /// `log Σ exp`, the largest term taken out.
  @inline(__always)
  private static func logSum(_ count: Int, _ term: (Int) -> Double) -> Double {
    var largest = term(0)
    for i in 1..<max(count, 1) { largest = Swift.max(largest, term(i)) }
    guard largest > -.infinity else { return largest }
    var sum = 0.0
    for i in 0..<count { sum += DoubleMath.exp(term(i) - largest) }
    return largest + DoubleMath.log(sum)
  }
}
