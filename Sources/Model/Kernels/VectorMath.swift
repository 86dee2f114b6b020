/// Transcendental functions on sixteen lanes, the same on every CPU and C library.
///
/// Polynomials are least-squares fits, reweighted towards the minimax error, over the stated ranges.
enum VectorMath {
  /// `eˣ` with a relative error below 1.5e-7; inputs are clamped to [-87.3, 88.3], NaN stays NaN.
  @inline(__always) static func exp(_ input: Lanes) -> Lanes {
    let low = Lanes(repeating: -87.3), high = Lanes(repeating: 88.3)
    var x = input.replacing(with: low, where: input .< low)
    x = x.replacing(with: high, where: x .> high)
    // x = n ln 2 + r, with ln 2 in two parts so that r keeps a float's precision.
    let n = (x * 1.442_695_04).rounded(.toNearestOrEven)
    var r = x.addingProduct(n, Lanes(repeating: -0.693_145_751_953_125))
    r = r.addingProduct(n, Lanes(repeating: -1.428_606_820_309_417e-6))
    var q = Lanes(repeating: 0.001_390_127_88).horner(r, 0.008_363_140_37)
    q = q.horner(r, 0.041_666_853_4).horner(r, 0.166_665_773).horner(r, 0.499_999_996)
    let e = r.addingProduct(r * r, q) + 1
    // 2ⁿ: adding 1.5·2²³ leaves n in the low bits of the sum's significand.
    let shifted = (n + 12_582_912).bits &+ (127 &- 0x4B40_0000)
    return e * Lanes(bits: shifted &<< 23)
  }

  /// `tanh x` with a relative error of a few 1e-7.
  @inline(__always) static func tanh(_ x: Lanes) -> Lanes {
    let sign = x.bits & 0x8000_0000
    let a = Lanes(bits: x.bits & 0x7FFF_FFFF)
    let e = exp(a * -2)
    let large = (1 - e) / (1 + e)
    let s = a * a
    var q = Lanes(repeating: -0.006_090_264_83).horner(s, 0.020_992_808_5)
    q = q.horner(s, -0.053_850_010_8).horner(s, 0.133_327_641).horner(s, -0.333_333_289)
    let small = a.addingProduct(a * s, q)
    return Lanes(bits: large.replacing(with: small, where: a .< 0.625).bits | sign)
  }

  /// The logistic function `1 / (1 + e⁻ˣ)`.
  @inline(__always) static func sigmoid(_ x: Lanes) -> Lanes { 1 / (1 + exp(-x)) }

  /// The normal distribution's cumulative function Φ(x), and `exp(-x²/2)`.
  ///
  /// Φ(-|x|) = exp(-x²/2) · t · P(t) with t = 1/(1 + 0.26|x|); relative error of P below 2.5e-8.
  @inline(__always) static func normal(_ x: Lanes) -> (cumulative: Lanes, bell: Lanes) {
    let a = Lanes(bits: x.bits & 0x7FFF_FFFF)
    let bell = exp(a * a * -0.5)
    let t = 1 / Lanes(repeating: 1).addingProduct(a, Lanes(repeating: 0.26))
    var p = Lanes(repeating: 0.030_506_393_3).horner(t, -0.152_836_034).horner(t, 0.251_505_912)
    p = p.horner(t, -0.150_965_36).horner(t, 0.160_958_943).horner(t, 0.051_023_063_4)
    p = p.horner(t, 0.103_031_409).horner(t, 0.103_016_592).horner(t, 0.103_759_069)
    let tail = bell * t * p
    return (tail.replacing(with: 1 - tail, where: x .> 0), bell)
  }
}
