import Foundation

/// The loss of one sequence's outputs, undivided, and its gradient.
enum HeadLoss {
  /// Writes `d = ∂loss/∂outputs` (`[C]`, unless nil) and returns the loss.
  ///
  /// `power`: the one of the sigmoids that makes them probabilities.
  static func compute(
    _ outputs: UnsafePointer<Float>, target: UnsafePointer<Float>, head: Head,
    power: SigmoidPower = .one,
    gradient d: UnsafeMutablePointer<Float>?
  ) -> Double {
    let c = head.outputs
    switch head.loss {
    case .softmax:
      return softmax(outputs, c, label: Int(target[0]), d, head.regularization)
    case .sigmoid, .sigmoidClipped:
      var loss = 0.0
      for j in 0..<c {
        let clipped = head.loss == .sigmoidClipped
        let own =
          power.power == 1
          ? sigmoid(outputs[j], target[j], clipped: clipped) { d?[j] = $0 }
          : power.loss(outputs[j], target[j], clipped: clipped) { d?[j] = $0 }
        guard let gamma = head.regularization.focal else {
          loss += own
          continue
        }
        let (weight, slope) = focal(own, gamma)
        loss += weight * own
        d?[j] *= Float(slope)
      }
      return loss
    case .squaredError:
      var loss = 0.0
      for j in 0..<c {
        let error = outputs[j] - target[j]
        loss += Double(error) * Double(error)
        d?[j] = 2 * error
      }
      return loss
    }
  }

  /// The same with the weight of the label's class and with label smoothing ε: the true class counts `1 − ε + ε/C`, each
  /// other one `ε/C` (Szegedy and others, "Rethinking the inception architecture", section 7).
  static func softmax(
    _ z: UnsafePointer<Float>, _ c: Int, label: Int, _ d: UnsafeMutablePointer<Float>?,
    _ regularization: Head.Regularization
  ) -> Double {
    let smoothing = regularization.labelSmoothing
    let weight = regularization.classWeights?[label] ?? 1
    var loss = softmax(z, c, label: label, d)
    if let gamma = regularization.focal {
      let (weight, slope) = focal(loss, gamma)
      loss *= weight
      if let d { for j in 0..<c { d[j] *= Float(slope) } }
    }
    if smoothing > 0 {
      var mean = 0.0
      for j in 0..<c { mean += Double(z[j]) }
      loss += Double(smoothing) * (Double(z[label]) - mean / Double(c))
      if let d {
        d[label] += smoothing
        for j in 0..<c { d[j] -= smoothing / Float(c) }
      }
    }
    guard weight != 1 else { return loss }
    if let d { for j in 0..<c { d[j] *= weight } }
    return loss * Double(weight)
  }

  /// What focal loss makes of a cross-entropy `l = −log p` of the truth and of its gradient: factors of both.
  ///
  /// `(1 − p)^γ l`, whose slope in any logit is that of `l` times `(1 − p)^γ + γ (1 − p)^(γ−1) p l` (Lin and others, "Focal loss for
  /// dense object detection", ICCV 2017, section 3 and appendix B).
  private static func focal(_ loss: Double, _ gamma: Float) -> (weight: Double, slope: Double) {
    let gamma = Double(gamma), p = DoubleMath.exp(-loss), rest = 1 - p
    // What is known for sure weighs nothing, and a loss is not below 0 but by rounding.
    guard gamma > 0 else { return (1, 1) }
    guard rest > 0 else { return (0, 0) }
    let weight = DoubleMath.exp(gamma * DoubleMath.log(rest))
    return (weight, weight + gamma * weight / rest * p * loss)
  }

  /// `log Σ exp(z) − z[label]`; the gradient is `softmax(z) − onehot`; `d` may be `z`.
  static func softmax(
    _ z: UnsafePointer<Float>, _ c: Int, label: Int, _ d: UnsafeMutablePointer<Float>?
  ) -> Double {
    precondition(label >= 0 && label < c, "label \(label) of \(c) classes")
    var largest = z[0]
    for j in 1..<max(c, 1) where z[j] > largest { largest = z[j] }
    var sum = 0.0
    for j in 0..<c { sum += Double(exponential(z[j] - largest)) }
    let loss = log(sum) - Double(z[label] - largest)
    if let d {
      let inverse = Float(1 / sum)
      for j in 0..<c { d[j] = exponential(z[j] - largest) * inverse - (j == label ? 1 : 0) }
    }
    return loss
  }

  /// The largest and smallest logit that Keras's clip of the probability to [1e-7, 1 − 1e-7] lets through in float32.
  ///
  /// They differ because 1 − 1e-7 rounds to 0.99999988.
  static let clip: (low: Float, high: Float) = (-16.118_095, 15.942_385)

  /// `log(1 + exp z) − t z`; the gradient is `σ(z) − t`, or zero beyond the clip.
  private static func sigmoid(
    _ z: Float, _ t: Float, clipped: Bool, _ gradient: (Float) -> Void
  ) -> Double {
    let inside = !clipped || (z > clip.low && z < clip.high)
    let x = inside ? z : Swift.min(Swift.max(z, clip.low), clip.high)
    gradient(inside ? VectorMath.sigmoid(Lanes(repeating: z))[0] - t : 0)
    return Double(Swift.max(x, 0)) - Double(t) * Double(x)
      + log1p(Double(exponential(-Swift.abs(x))))
  }

  private static func exponential(_ x: Float) -> Float { VectorMath.exp(Lanes(repeating: x))[0] }
}
