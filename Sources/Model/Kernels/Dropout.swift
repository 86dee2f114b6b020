/// Inverted dropout whose mask is a function of (seed, step, example, place), with no state.
///
/// One Philox block decides eight elements with sixteen bits each, so the rate is a multiple of 2⁻¹⁶;
/// what is kept is scaled by the inverse of the exact keep probability.
package struct Dropout: Sendable {
  let key: SIMD2<UInt32>
  let step: UInt32
  /// An element is dropped when its sixteen bits are below this.
  let threshold: UInt32
  /// `1 / (1 − threshold / 65536)`.
  package let scale: Float

  /// Elements decided by one group of sixteen blocks.
  package static let group = 128

  /// Dropout of `rate` at global step `step`; nil when nothing would be dropped.
  package init?(rate: Float, seed: UInt64, step: Int) {
    precondition(rate >= 0 && rate < 1, "a dropout rate of \(rate)")
    threshold = min(UInt32((Double(rate) * 65536).rounded()), 65535)
    guard threshold > 0 else { return nil }
    key = Philox(seed: seed).key
    self.step = UInt32(truncatingIfNeeded: step)
    scale = Float(1 / (1 - Double(threshold) / 65536))
  }

  /// `count` rounded up to whole groups: the room that `fill` writes to.
  package static func room(for count: Int) -> Int { (count + group - 1) / group * group }

  /// Fills `multipliers` with 0 or `scale` for `count` elements, rounded up to a whole group of 128.
  ///
  /// `base` is the first counter word of the first group: the place in the example, in blocks of eight
  /// elements. `example` is the example's number in its data set, `purpose` says which dropout, with
  /// its layer (`RandomPurpose.word`).
  package func fill(
    _ multipliers: UnsafeMutablePointer<Float>, count: Int, base: UInt32, example: UInt32,
    purpose: UInt32
  ) {
    let scale = Lanes(repeating: self.scale)
    let threshold = SIMD16<UInt32>(repeating: self.threshold)
    var start = 0
    var block = base
    while start < count {
      let words = Self.blocks(
        laneNumbers &+ block, SIMD16(repeating: example), SIMD16(repeating: step),
        SIMD16(repeating: purpose), key: key)
      // Element 32 w + 16 h + lane of the group is half `h` of word `w` of the lane's block.
      let out = multipliers + start
      @inline(__always) func decide(_ word: SIMD16<UInt32>, _ at: Int) {
        let low = word & 0xFFFF, high = word &>> 16
        out.store(Lanes.zero.replacing(with: scale, where: low .>= threshold), at: at)
        out.store(Lanes.zero.replacing(with: scale, where: high .>= threshold), at: at + 16)
      }
      decide(words.0, 0)
      decide(words.1, 32)
      decide(words.2, 64)
      decide(words.3, 96)
      start += Self.group
      block &+= 16
    }
  }

  typealias Words = (SIMD16<UInt32>, SIMD16<UInt32>, SIMD16<UInt32>, SIMD16<UInt32>)

  /// Sixteen blocks of Philox4x32-10 at once, one a lane.
  @inline(__always)
  static func blocks(
    _ c0: SIMD16<UInt32>, _ c1: SIMD16<UInt32>, _ c2: SIMD16<UInt32>, _ c3: SIMD16<UInt32>,
    key: SIMD2<UInt32>
  ) -> Words {
    var c = (c0, c1, c2, c3)
    var k0 = key.x, k1 = key.y
    for _ in 0..<10 {
      let p0 = product(c.0, 0xD251_1F53)
      let p1 = product(c.2, 0xCD9E_8D57)
      c = (p1.high ^ c.1 ^ k0, p1.low, p0.high ^ c.3 ^ k1, p0.low)
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return c
  }

  /// The high and low words of `a · m`.
  @inline(__always)
  private static func product(
    _ a: SIMD16<UInt32>, _ m: UInt32
  ) -> (high: SIMD16<UInt32>, low: SIMD16<UInt32>) {
    // Even lanes are the low words of eight 64-bit lanes, odd ones the high words.
    let pairs = unsafeBitCast(a, to: SIMD8<UInt64>.self)
    let lowWord = SIMD8<UInt64>(repeating: 0xFFFF_FFFF)
    let factor = SIMD8<UInt64>(repeating: UInt64(m))
    let even = (pairs & lowWord) &* factor
    let odd = (pairs &>> 32) &* factor
    let high = (even &>> 32) | (odd & ~lowWord)
    let low = (even & lowWord) | (odd &<< 32)
    return (
      unsafeBitCast(high, to: SIMD16<UInt32>.self), unsafeBitCast(low, to: SIMD16<UInt32>.self)
    )
  }
}
