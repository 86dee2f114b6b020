/// `exp` and `log` in double precision from basic arithmetic: the C library has other code for other processors,
/// and what enters a gradient must have the same bits on all of them.
enum DoubleMath {
  /// `eˣ` within two units in the last place; 0 below −708, infinite above 709.
  static func exp(_ x: Double) -> Double {
    if x.isNaN { return x }
    if x < -708 { return 0 }
    if x > 709 { return .infinity }
    let n = (x * 1.442_695_040_888_963_4).rounded(.toNearestOrEven)
    // ln 2 in two parts, of which the first has trailing zeros: n times it is exact.
    let r = (x - n * 0.693_147_180_369_123_816_49) - n * 1.908_214_929_270_587_7e-10
    var sum = 1.0
    for k in stride(from: 13.0, through: 1, by: -1) { sum = 1 + r / k * sum }
    return sum * Double(sign: .plus, exponent: Int(n), significand: 1)
  }

  /// The natural logarithm of `x > 0` within two units in the last place; −∞ for 0.
  static func log(_ x: Double) -> Double {
    guard x > 0 else { return x == 0 ? -.infinity : .nan }
    guard x < .infinity else { return x }
    var exponent = Double(x.exponent), m = x.significand
    if m > 1.414_213_562_373_095_1 {
      m /= 2
      exponent += 1
    }
    // log m = 2 artanh s, with |s| < 0.172.
    let s = (m - 1) / (m + 1), square = s * s
    var sum = 0.0
    for k in stride(from: 23.0, through: 3, by: -2) { sum = square * (1 / k + sum) }
    let fraction = 2 * s * (1 + sum)
    return exponent * 0.693_147_180_369_123_816_49
      + (fraction + exponent * 1.908_214_929_270_587_7e-10)
  }
}
