internal import CVector

/// The innermost part of `PackedProduct`: six rows by sixty-four columns in registers.
enum PackedTile {
  static let rows = 6
  static let columns = 64

  /// Whether the tile's sums stay in registers: with shorter vectors they would not, and OpenBLAS is twice as fast.
  static var fitsRegisters: Bool { has_wide_registers() }

  /// `c[6, 64] (+)= a[6, k] · b[k, 64]`, where `a[i, p]` lies at `i · rowStride + p · columnStride` and `b` has a pitch of 64.
  ///
  /// Each element is one chain of fused multiply-adds over `k` in ascending order, added to `c`, or to zero unless `accumulate`.
  @inline(never)
  static func multiply(
    _ k: Int, _ a: UnsafePointer<Float>, _ rowStride: Int, _ columnStride: Int,
    _ b: UnsafePointer<Float>, accumulate: Bool, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    // Rows of `c` lie far apart, and are written all at once at the end.
    for row in 0..<rows {
      let line = c + row * ldc
      prefetch_for_writing(line)
      prefetch_for_writing(line + 16)
      prefetch_for_writing(line + 32)
      prefetch_for_writing(line + 48)
    }
    var s00 = Lanes.zero, s01 = s00, s02 = s00, s03 = s00
    var s10 = s00, s11 = s00, s12 = s00, s13 = s00
    var s20 = s00, s21 = s00, s22 = s00, s23 = s00
    var s30 = s00, s31 = s00, s32 = s00, s33 = s00
    var s40 = s00, s41 = s00, s42 = s00, s43 = s00
    var s50 = s00, s51 = s00, s52 = s00, s53 = s00
    let (r1, r2) = (rowStride, 2 * rowStride)
    var bp = b, upper = a, lower = a + 3 * rowStride
    for _ in 0..<k {
      let b0 = bp.lanes(0), b1 = bp.lanes(16), b2 = bp.lanes(32), b3 = bp.lanes(48)
      let a0 = Lanes(repeating: upper[0])
      s00.addProduct(a0, b0)
      s01.addProduct(a0, b1)
      s02.addProduct(a0, b2)
      s03.addProduct(a0, b3)
      let a1 = Lanes(repeating: upper[r1])
      s10.addProduct(a1, b0)
      s11.addProduct(a1, b1)
      s12.addProduct(a1, b2)
      s13.addProduct(a1, b3)
      let a2 = Lanes(repeating: upper[r2])
      s20.addProduct(a2, b0)
      s21.addProduct(a2, b1)
      s22.addProduct(a2, b2)
      s23.addProduct(a2, b3)
      let a3 = Lanes(repeating: lower[0])
      s30.addProduct(a3, b0)
      s31.addProduct(a3, b1)
      s32.addProduct(a3, b2)
      s33.addProduct(a3, b3)
      let a4 = Lanes(repeating: lower[r1])
      s40.addProduct(a4, b0)
      s41.addProduct(a4, b1)
      s42.addProduct(a4, b2)
      s43.addProduct(a4, b3)
      let a5 = Lanes(repeating: lower[r2])
      s50.addProduct(a5, b0)
      s51.addProduct(a5, b1)
      s52.addProduct(a5, b2)
      s53.addProduct(a5, b3)
      bp += columns
      upper += columnStride
      lower += columnStride
    }
    put(s00, s01, s02, s03, accumulate, c)
    put(s10, s11, s12, s13, accumulate, c + ldc)
    put(s20, s21, s22, s23, accumulate, c + 2 * ldc)
    put(s30, s31, s32, s33, accumulate, c + 3 * ldc)
    put(s40, s41, s42, s43, accumulate, c + 4 * ldc)
    put(s50, s51, s52, s53, accumulate, c + 5 * ldc)
  }

  @inline(__always)
  private static func put(
    _ s0: Lanes, _ s1: Lanes, _ s2: Lanes, _ s3: Lanes, _ accumulate: Bool,
    _ c: UnsafeMutablePointer<Float>
  ) {
    c.store((accumulate ? c.lanes(0) : Lanes.zero) + s0, at: 0)
    c.store((accumulate ? c.lanes(16) : Lanes.zero) + s1, at: 16)
    c.store((accumulate ? c.lanes(32) : Lanes.zero) + s2, at: 32)
    c.store((accumulate ? c.lanes(48) : Lanes.zero) + s3, at: 48)
  }
}
