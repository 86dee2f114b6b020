/// Layer normalisation of rows of width `H`.
///
/// Source: Ba, Kiros, Hinton, "Layer normalization" (2016); the variance is the biased one.
enum LayerNorm {
  /// Normalises one row in place and returns `r = 1/√(var + ε)`.
  ///
  /// `z` becomes `x̂ = (z − mean) · r`, and `y = γ x̂ + β`.
  @inline(__always)
  static func forward(
    y: UnsafeMutablePointer<Float>, z: UnsafeMutablePointer<Float>, width: Int,
    gamma: UnsafePointer<Float>, beta: UnsafePointer<Float>, epsilon: Float
  ) -> Float {
    var sum = Lanes.zero
    forLanes(width) { i, n in sum += z.lanes(i, n) }
    let mean = sum.folded() / Float(width)
    var squares = Lanes.zero
    forLanes(width) { i, n in
      var d = z.lanes(i, n) - mean
      if n < 16 { for lane in n..<16 { d[lane] = 0 } }
      squares.addProduct(d, d)
    }
    let r = 1 / (squares.folded() / Float(width) + epsilon).squareRoot()
    forLanes(width) { i, n in
      let normal = (z.lanes(i, n) - mean) * r
      z.store(normal, at: i, n)
      y.store(beta.lanes(i, n).addingProduct(gamma.lanes(i, n), normal), at: i, n)
    }
    return r
  }

  /// `dz` of one row from `dy`; `dz` may be `dy`.
  ///
  /// With `g = γ dy`: `dz = r (g − mean(g) − x̂ mean(g x̂))`.
  @inline(__always)
  static func backward(
    dz: UnsafeMutablePointer<Float>, dy: UnsafePointer<Float>, normal: UnsafePointer<Float>,
    r: Float, gamma: UnsafePointer<Float>, width: Int
  ) {
    var sum = Lanes.zero, product = Lanes.zero
    forLanes(width) { i, n in
      let g = gamma.lanes(i, n) * dy.lanes(i, n)
      sum += g
      product.addProduct(g, normal.lanes(i, n))
    }
    let meanG = sum.folded() / Float(width), meanGX = product.folded() / Float(width)
    forLanes(width) { i, n in
      let g = gamma.lanes(i, n) * dy.lanes(i, n)
      dz.store(r * (g - meanG - meanGX * normal.lanes(i, n)), at: i, n)
    }
  }
}
