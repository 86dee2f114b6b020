/// The Gaussian error linear unit, in BERT's two spellings.
///
/// Source: Hendrycks, Gimpel, "Gaussian error linear units" (2016), section 2; the tanh form is theirs too.
enum Gelu {
  private static let c0: Float = 0.797_884_561  // √(2/π)
  private static let c1: Float = 0.044_715
  private static let inverseRoot2Pi: Float = 0.398_942_28

  /// `y = gelu(x)` for `count` elements; `y` may be `x`.
  static func forward(
    _ y: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, count: Int,
    kind: BertConfiguration.Activation
  ) {
    switch kind {
    case .geluErf:
      forLanesOnce(count) { i, n in
        let v = x.lanes(i, n)
        y.store(v * VectorMath.normal(v).cumulative, at: i, n)
      }
    case .geluTanh:
      forLanesOnce(count) { i, n in
        let v = x.lanes(i, n)
        y.store(v * VectorMath.sigmoid(2 * inner(v)), at: i, n)
      }
    }
  }

  /// `d = d · gelu′(x)` and, in the same pass, `x = gelu(x)`: backward needs both, and `x` no more.
  static func backward(
    _ d: UnsafeMutablePointer<Float>, x: UnsafeMutablePointer<Float>, count: Int,
    kind: BertConfiguration.Activation
  ) {
    switch kind {
    case .geluErf:
      forLanesOnce(count) { i, n in
        let v = x.lanes(i, n)
        let (cumulative, bell) = VectorMath.normal(v)
        d.store(d.lanes(i, n) * cumulative.addingProduct(v * inverseRoot2Pi, bell), at: i, n)
        x.store(v * cumulative, at: i, n)
      }
    case .geluTanh:
      forLanesOnce(count) { i, n in
        let v = x.lanes(i, n)
        // With s = σ(2u): gelu = x s, gelu′ = s + x · 2 s (1 − s) · u′.
        let s = VectorMath.sigmoid(2 * inner(v))
        let slope = c0 + (3 * c0 * c1) * (v * v)
        d.store(d.lanes(i, n) * s.addingProduct(2 * v * slope, s * (1 - s)), at: i, n)
        x.store(v * s, at: i, n)
      }
    }
  }

  /// `u = √(2/π) (x + 0.044715 x³)`.
  @inline(__always) private static func inner(_ x: Lanes) -> Lanes {
    c0 * x.addingProduct(c1 * x, x * x)
  }
}
