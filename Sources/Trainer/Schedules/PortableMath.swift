import Foundation

/// Functions that the C library computes differently on different processors.
enum PortableMath {
  /// `cos(π x)` for `x ≥ 0` from basic arithmetic alone.
  ///
  /// The C library's cosine has one implementation per processor family, whose last bits differ; the
  /// learning rate must not depend on the node. The result is within 4e-16 of the exact value.
  static func cosine(ofPiTimes x: Double) -> Double {
    // cos(πx) has period 2 and cos(π(2 − x)) = cos(πx); both reductions are exact.
    var r = x.truncatingRemainder(dividingBy: 2)
    if r > 1 { r = 2 - r }
    let sign: Double = r > 0.5 ? -1 : 1
    if r > 0.5 { r = 1 - r }
    // From 1/4 to 1/2 by the sine of the complement, so that the series' argument stays below π/4.
    let useSine = r > 0.25
    let y = Double.pi * (useSine ? 0.5 - r : r)
    let square = y * y
    var sum = 0.0
    for n in stride(from: 9, through: 1, by: -1) {
      let k = Double(useSine ? 2 * n * (2 * n + 1) : (2 * n - 1) * 2 * n)
      sum = -square / k * (1 + sum)
    }
    return sign * (useSine ? y : 1) * (1 + sum)
  }

  /// `base` to the power `exponent`; whole exponents by multiplication alone, the same on every node.
  static func power(_ base: Double, to exponent: Double) -> Double {
    guard exponent >= 0, exponent <= 64, exponent == exponent.rounded() else {
      return pow(base, exponent)
    }
    return power(base, to: Int(exponent))
  }

  /// `base` to a whole power by repeated squaring.
  static func power(_ base: Double, to exponent: Int) -> Double {
    var result = 1.0
    var factor = base
    var rest = exponent
    while rest > 0 {
      if rest & 1 == 1 { result *= factor }
      factor *= factor
      rest >>= 1
    }
    return result
  }
}
