/// A probability that is a power of a sigmoid, `p = σ(z)ⁿ`, and its cross-entropy.
///
/// Where ones are rare a power starts them low: an untrained output of 0 is a probability of 2⁻ⁿ (bert4keras 0.11, its example of
/// relation extraction, with n = 2 for subjects and 4 for objects).
struct SigmoidPower {
  static let one = SigmoidPower(1)

  /// At least 1.
  let power: Int
  /// The logits between which Keras does not clip the probability.
  private let clip: (low: Float, high: Float)

  init(_ power: Int) {
    precondition(power >= 1, "a sigmoid to the power of \(power)")
    self.power = power
    func logit(_ p: Double) -> Float {
      let sigmoid = DoubleMath.exp(DoubleMath.log(p) / Double(power))
      return Float(DoubleMath.log(sigmoid) - DoubleMath.log(1 - sigmoid))
    }
    clip = (logit(1e-7), logit(Double(1 - Float(1e-7))))
  }

  func probability(_ logit: Float) -> Float {
    let sigmoid = VectorMath.sigmoid(Lanes(repeating: logit))[0]
    var p = sigmoid
    for _ in 1..<power { p *= sigmoid }
    return p
  }

  /// `−t log p − (1 − t) log (1 − p)`, and its slope in the logit `z`; clipped, what Keras makes of it: constant outside of
  /// probabilities in [1e-7, 1 − 1e-7].
  ///
  /// With `s = σ(z)` and `S = 1 + s + … + sⁿ⁻¹`, `1 − sⁿ = (1 − s) S`: so nothing is subtracted from 1 that is nearly 1, and the slope
  /// is `−t n (1 − s) + (1 − t) n sⁿ / S`.
  func loss(
    _ logit: Float, _ target: Float, clipped: Bool, _ gradient: (Float) -> Void
  ) -> Double {
    let isInside = !clipped || (logit > clip.low && logit < clip.high)
    let z = Double(isInside ? logit : min(max(logit, clip.low), clip.high))
    let small = DoubleMath.exp(-abs(z)), sigmoid = z < 0 ? small / (1 + small) : 1 / (1 + small)
    let rest = z < 0 ? 1 / (1 + small) : small / (1 + small)
    var sum = 0.0, term = 1.0
    for _ in 0..<power {
      sum += term
      term *= sigmoid
    }
    let n = Double(power), t = Double(target), log = DoubleMath.log(1 + small)
    let ofOnes = n * (max(-z, 0) + log), ofZeros = max(z, 0) + log - DoubleMath.log(sum)
    gradient(isInside ? Float((1 - t) * n * term / sum - t * n * rest) : 0)
    return t * ofOnes + (1 - t) * ofZeros
  }
}
