/// The optimizers' loops over one run of elements of one tensor.
///
/// They multiply, add, divide and take roots, each rounded once as IEEE 754 says, and fuse nothing: a
/// parameter's bits depend on neither the processor's vector width nor where a run begins.
enum OptimizerKernels {
  typealias Values = UnsafeMutablePointer<Float>

  /// Everything an element's update multiplies with; the same for all elements of a tensor.
  struct Coefficients {
    /// Clipping over the global denominator: what one gradient element is multiplied with.
    var scale: Float
    var beta1: Float
    /// `1 − β₁`, rounded from double precision.
    var oneMinusBeta1: Float
    var beta2: Float
    var oneMinusBeta2: Float
    /// `1/√(1−β₂ᵗ)` where the method corrects the second moment inside the root, else 1.
    var rootScale: Float
    var epsilon: Float
    /// What `m/(√v · rootScale + ε)` is multiplied with.
    var rate: Float
    /// What the old parameter is multiplied with, to be subtracted.
    var decay: Float
  }

  /// First moments below this are zero.
  ///
  /// A gradient that stays zero (a word that no longer occurs) would let its moment shrink into the
  /// denormal numbers, on which processors are some hundred times slower. At this size the moment can
  /// no longer move a parameter: the update is under 1e-30 / ε of the learning rate.
  static let vanishingMoment: Float = 0x1p-100
  /// Second moments below this are zero, for the same reason.
  static let vanishingSquare: Float = 0x1p-126

  /// Updates moments and parameters of the Adam family; all arrays `[count]`.
  @inline(never)
  static func adam(
    parameters p: Values, gradient g: UnsafePointer<Float>, first m: Values, second v: Values,
    count: Int, _ c: Coefficients
  ) {
    for i in 0..<count {
      let (moment, square) = moments(g[i], m[i], v[i], c)
      m[i] = moment
      v[i] = square
      let old = p[i]
      p[i] = old - (c.rate * direction(moment, square, c) + c.decay * old)
    }
  }

  /// What `adam` does where the gradient is zero, without reading it; all arrays `[count]`.
  @inline(never)
  static func adamWithoutGradient(
    parameters p: Values, first m: Values, second v: Values, count: Int, _ c: Coefficients
  ) {
    for i in 0..<count {
      let (moment, square) = moments(0, m[i], v[i], c)
      m[i] = moment
      v[i] = square
      let old = p[i]
      p[i] = old - (c.rate * direction(moment, square, c) + c.decay * old)
    }
  }

  /// What `adam` does where gradient and moments are zero.
  @inline(never)
  static func decay(parameters p: Values, count: Int, _ c: Coefficients) {
    // The zero of the other term counts: it makes the sum of a zero of either sign positive.
    for i in 0..<count { p[i] -= 0 + c.decay * p[i] }
  }

  /// Updates moments alone; all arrays `[count]`.
  @inline(never)
  static func moments(
    gradient g: UnsafePointer<Float>, first m: Values, second v: Values, count: Int,
    _ c: Coefficients
  ) {
    for i in 0..<count { (m[i], v[i]) = moments(g[i], m[i], v[i], c) }
  }

  /// Subtracts LAMB's step `rate · u`, `u = m̂/(√v̂ + ε) + decay·p`; all arrays `[count]`.
  ///
  /// `c.rate` turns the moments' quotient into the corrected one, `c.decay` is the decay itself.
  @inline(never)
  static func adapted(
    parameters p: Values, first m: Values, second v: Values, count: Int, step: Float,
    _ c: Coefficients
  ) {
    for i in 0..<count {
      let old = p[i]
      p[i] = old - step * (c.rate * direction(m[i], v[i], c) + c.decay * old)
    }
  }

  /// Sums of squares of the parameters and of LAMB's `u` (see `adapted`).
  ///
  /// `u` is laid out in blocks, so that one loop computes it and another adds, both vectorised.
  @inline(never)
  static func adaptedSquareSums(
    parameters p: Values, first m: Values, second v: Values, count: Int, _ c: Coefficients
  ) -> (parameters: Double, update: Double) {
    let block = 1024
    let update = withUnsafeTemporaryAllocation(of: Float.self, capacity: block) { scratch in
      guard let u = scratch.baseAddress else { return 0.0 }
      var sum = 0.0
      for start in stride(from: 0, to: count, by: block) {
        let length = min(block, count - start)
        for i in 0..<length {
          u[i] =
            c.rate * direction(m[start + i], v[start + i], c) + c.decay * p[start + i]
        }
        sum += squareSum(u, count: length)
      }
      return sum
    }
    return (squareSum(p, count: count), update)
  }

  /// The sum of squares of `count` elements in double precision.
  ///
  /// Element `i` goes to lane `i mod 16`, each lane adds in rising order, lanes are folded by halves:
  /// the result is the same on every processor. Infinite or NaN exactly when an element is, because
  /// the square of a float is far from the largest double.
  static func squareSum(_ x: UnsafePointer<Float>, count: Int) -> Double {
    var lanes = Lanes()
    addSquares(x, count: count, to: &lanes)
    return fold(lanes)
  }

  /// The 16 lanes of a sum of squares.
  struct Lanes {
    var low = SIMD8<Double>.zero
    var high = SIMD8<Double>.zero
  }

  /// Adds squares to the lanes, from lane 0 on.
  @inline(never)
  static func addSquares(_ x: UnsafePointer<Float>, count: Int, to lanes: inout Lanes) {
    var low = lanes.low
    var high = lanes.high
    let bytes = UnsafeRawPointer(x)
    var i = 0
    while i + 16 <= count {
      let a = SIMD8<Double>(bytes.loadUnaligned(fromByteOffset: 4 * i, as: SIMD8<Float>.self))
      let b = SIMD8<Double>(bytes.loadUnaligned(fromByteOffset: 4 * i + 32, as: SIMD8<Float>.self))
      low += a * a
      high += b * b
      i += 16
    }
    for lane in 0..<count - i {
      let value = Double(x[i + lane])
      if lane < 8 { low[lane] += value * value } else { high[lane - 8] += value * value }
    }
    lanes = Lanes(low: low, high: high)
  }

  /// The sum of 16 lanes, by halves.
  @inline(__always)
  static func fold(_ lanes: Lanes) -> Double {
    let eight = lanes.low + lanes.high
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y
  }

  @inline(__always)
  private static func moments(
    _ gradient: Float, _ m: Float, _ v: Float, _ c: Coefficients
  ) -> (Float, Float) {
    let g = gradient * c.scale
    let moment = c.beta1 * m + c.oneMinusBeta1 * g
    let square = c.beta2 * v + c.oneMinusBeta2 * g * g
    return (
      abs(moment) < vanishingMoment ? 0 : moment, square < vanishingSquare ? 0 : square
    )
  }

  @inline(__always)
  private static func direction(_ moment: Float, _ square: Float, _ c: Coefficients) -> Float {
    moment / (square.squareRoot() * c.rootScale + c.epsilon)
  }
}
