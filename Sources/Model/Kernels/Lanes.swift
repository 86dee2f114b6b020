/// Sixteen floats: the width of every kernel, on any CPU, so that sums fold alike everywhere.
package typealias Lanes = SIMD16<Float>

/// The lane numbers 0…15.
let laneNumbers = SIMD16<UInt32>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

extension UnsafePointer<Float> {
  /// The sixteen floats from element `i` on.
  @inline(__always) func lanes(_ i: Int) -> Lanes {
    UnsafeRawPointer(self + i).loadUnaligned(as: Lanes.self)
  }

  /// The `count` ≤ 16 floats from element `i` on, the other lanes zero.
  @inline(__always) func lanes(_ i: Int, _ count: Int) -> Lanes {
    if count == 16 { return lanes(i) }
    var v = Lanes.zero
    for lane in 0..<count { v[lane] = self[i + lane] }
    return v
  }
}

extension UnsafeMutablePointer<Float> {
  /// The `count` ≤ 16 floats from element `i` on, the other lanes zero.
  @inline(__always) func lanes(_ i: Int, _ count: Int = 16) -> Lanes {
    UnsafePointer(self).lanes(i, count)
  }

  /// Writes the first `count` ≤ 16 lanes from element `i` on.
  @inline(__always) func store(_ v: Lanes, at i: Int, _ count: Int = 16) {
    if count == 16 {
      UnsafeMutableRawPointer(self + i).storeBytes(of: v, as: Lanes.self)
    } else {
      for lane in 0..<count { self[i + lane] = v[lane] }
    }
  }
}

/// Calls `body(i, count)` over `0..<width` in steps of sixteen; `count` is 16 but for a last short step.
@inline(__always)
func forLanes(_ width: Int, _ body: (_ i: Int, _ count: Int) -> Void) {
  var i = 0
  while i + 16 <= width {
    body(i, 16)
    i += 16
  }
  if i < width { body(i, width - i) }
}

/// `forLanes` with `body` once: for one so long that the compiler would make a function of it, which is called for every sixteen floats.
@inline(__always)
func forLanesOnce(_ width: Int, _ body: (_ i: Int, _ count: Int) -> Void) {
  var i = 0
  while i < width {
    body(i, min(16, width - i))
    i += 16
  }
}

extension SIMD16<Float> {
  /// The sum of all lanes, folded by halves: always in the same order.
  @inline(__always) func folded() -> Float {
    let eight = lowHalf + highHalf
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y
  }

  /// The largest lane, folded by halves.
  @inline(__always) func foldedMaximum() -> Float {
    let eight = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
    let four = eight.lowHalf.replacing(with: eight.highHalf, where: eight.highHalf .> eight.lowHalf)
    let two = four.lowHalf.replacing(with: four.highHalf, where: four.highHalf .> four.lowHalf)
    return Swift.max(two.x, two.y)
  }

  @inline(__always) var bits: SIMD16<UInt32> { unsafeBitCast(self, to: SIMD16<UInt32>.self) }

  @inline(__always) init(bits: SIMD16<UInt32>) { self = unsafeBitCast(bits, to: Self.self) }

  /// `self · x + c`: one step of Horner's scheme.
  @inline(__always) func horner(_ x: Self, _ c: Float) -> Self {
    Self(repeating: c).addingProduct(self, x)
  }
}
