/// The symmetric divergence between what two passes say of one example: R-Drop's term.
enum Divergence {
  /// `weight · (KL(p‖q) + KL(q‖p)) / 2` of the logits `z1` and `z2` `[C]`; adds its gradient to `d1` and `d2`.
  static func add(
    _ z1: UnsafePointer<Float>, _ z2: UnsafePointer<Float>, _ c: Int, _ loss: Head.Loss,
    weight: Float, _ d1: UnsafeMutablePointer<Float>?, _ d2: UnsafeMutablePointer<Float>?
  ) -> Double {
    switch loss {
    case .softmax: return softmax(z1, z2, c, weight, d1, d2)
    case .sigmoid, .sigmoidClipped:
      // A sigmoid is a softmax over the logits z and 0.
      var sum = 0.0
      for j in 0..<c {
        let (a, b): ([Float], [Float]) = ([z1[j], 0], [z2[j], 0])
        var da: [Float] = [0, 0], db: [Float] = [0, 0]
        sum += softmax(a, b, 2, weight, &da, &db)
        d1?[j] += da[0]
        d2?[j] += db[0]
      }
      return sum
    case .squaredError:
      preconditionFailure("R-Drop of a regression was refused when the recipe was read")
    }
  }

  /// With `a = log p − log q`: `½ Σ (p − q) a`, whose slope in `z1` is `½ (p (a − Σ p a) + p − q)`.
  private static func softmax(
    _ z1: UnsafePointer<Float>, _ z2: UnsafePointer<Float>, _ c: Int, _ weight: Float,
    _ d1: UnsafeMutablePointer<Float>?, _ d2: UnsafeMutablePointer<Float>?
  ) -> Double {
    let logP = logarithms(z1, c), logQ = logarithms(z2, c)
    let p = logP.map(DoubleMath.exp), q = logQ.map(DoubleMath.exp)
    var sum = 0.0, meanP = 0.0, meanQ = 0.0
    for j in 0..<c {
      let a = logP[j] - logQ[j]
      sum += (p[j] - q[j]) * a
      meanP += p[j] * a
      meanQ += q[j] * a
    }
    for j in 0..<c {
      let a = logP[j] - logQ[j]
      d1?[j] += weight * Float((p[j] * (a - meanP) + p[j] - q[j]) / 2)
      d2?[j] -= weight * Float((q[j] * (a - meanQ) + p[j] - q[j]) / 2)
    }
    return Double(weight) * sum / 2
  }

  private static func logarithms(_ z: UnsafePointer<Float>, _ c: Int) -> [Double] {
    var largest = Double(z[0])
    for j in 1..<max(c, 1) { largest = max(largest, Double(z[j])) }
    var sum = 0.0
    for j in 0..<c { sum += DoubleMath.exp(Double(z[j]) - largest) }
    let shift = largest + DoubleMath.log(sum)
    return (0..<c).map { Double(z[$0]) - shift }
  }
}
