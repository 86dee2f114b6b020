/// Small matrix products on SIMD lanes: attention heads, small weights, a head's few outputs.
///
/// Every element is one chain of fused multiply-adds over `k` in ascending order, so its bits do not
/// depend on its row, its column or the size of the product.
enum MicroProduct {
  /// `c[m, n] (+)= a[m, k] · b[k, n]`, where `a[i, p]` lies at `i · rowStride + p · columnStride`.
  static func multiply(
    _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ rowStride: Int, _ columnStride: Int,
    _ b: UnsafePointer<Float>, _ ldb: Int, accumulate: Bool, _ c: UnsafeMutablePointer<Float>,
    _ ldc: Int
  ) {
    var j = 0
    while j < n {
      let width = n - j
      let bj = b + j, cj = c + j
      var i = 0
      while i + 4 <= m {
        let ai = a + i * rowStride, ci = cj + i * ldc
        if width >= 64 {
          four64(k, ai, rowStride, columnStride, bj, ldb, accumulate, ci, ldc)
        } else if width >= 32 {
          four32(k, ai, rowStride, columnStride, bj, ldb, accumulate, ci, ldc)
        } else {
          let count = min(width, 16)
          for row in 0..<4 {
            one16(k, ai + row * rowStride, columnStride, bj, ldb, accumulate, ci + row * ldc, count)
          }
        }
        i += 4
      }
      let step = width >= 64 ? 64 : width >= 32 ? 32 : min(width, 16)
      while i < m {
        var offset = 0
        while offset < step {
          one16(
            k, a + i * rowStride, columnStride, bj + offset, ldb, accumulate, cj + i * ldc + offset,
            min(16, step - offset))
          offset += 16
        }
        i += 1
      }
      j += step
    }
  }

  @inline(__always)
  private static func put(
    _ sum: Lanes, _ accumulate: Bool, _ c: UnsafeMutablePointer<Float>, _ at: Int
  ) { c.store(accumulate ? c.lanes(at) + sum : sum, at: at) }

  private static func four64(
    _ k: Int, _ a: UnsafePointer<Float>, _ rs: Int, _ cs: Int, _ b: UnsafePointer<Float>,
    _ ldb: Int, _ accumulate: Bool, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    var s00 = Lanes.zero, s01 = s00, s02 = s00, s03 = s00, s10 = s00, s11 = s00, s12 = s00
    var s13 = s00, s20 = s00, s21 = s00, s22 = s00, s23 = s00, s30 = s00, s31 = s00, s32 = s00
    var s33 = s00
    var bp = b, ap = a
    for _ in 0..<k {
      let b0 = bp.lanes(0), b1 = bp.lanes(16), b2 = bp.lanes(32), b3 = bp.lanes(48)
      let a0 = Lanes(repeating: ap[0]), a1 = Lanes(repeating: ap[rs])
      s00.addProduct(a0, b0)
      s01.addProduct(a0, b1)
      s02.addProduct(a0, b2)
      s03.addProduct(a0, b3)
      s10.addProduct(a1, b0)
      s11.addProduct(a1, b1)
      s12.addProduct(a1, b2)
      s13.addProduct(a1, b3)
      let a2 = Lanes(repeating: ap[2 * rs]), a3 = Lanes(repeating: ap[3 * rs])
      s20.addProduct(a2, b0)
      s21.addProduct(a2, b1)
      s22.addProduct(a2, b2)
      s23.addProduct(a2, b3)
      s30.addProduct(a3, b0)
      s31.addProduct(a3, b1)
      s32.addProduct(a3, b2)
      s33.addProduct(a3, b3)
      bp += ldb
      ap += cs
    }
    let c1 = c + ldc, c2 = c + 2 * ldc, c3 = c + 3 * ldc
    put(s00, accumulate, c, 0)
    put(s01, accumulate, c, 16)
    put(s02, accumulate, c, 32)
    put(s03, accumulate, c, 48)
    put(s10, accumulate, c1, 0)
    put(s11, accumulate, c1, 16)
    put(s12, accumulate, c1, 32)
    put(s13, accumulate, c1, 48)
    put(s20, accumulate, c2, 0)
    put(s21, accumulate, c2, 16)
    put(s22, accumulate, c2, 32)
    put(s23, accumulate, c2, 48)
    put(s30, accumulate, c3, 0)
    put(s31, accumulate, c3, 16)
    put(s32, accumulate, c3, 32)
    put(s33, accumulate, c3, 48)
  }

  private static func four32(
    _ k: Int, _ a: UnsafePointer<Float>, _ rs: Int, _ cs: Int, _ b: UnsafePointer<Float>,
    _ ldb: Int, _ accumulate: Bool, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    var s00 = Lanes.zero, s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00
    var s31 = s00
    var bp = b, ap = a
    for _ in 0..<k {
      let b0 = bp.lanes(0), b1 = bp.lanes(16)
      let a0 = Lanes(repeating: ap[0]), a1 = Lanes(repeating: ap[rs])
      let a2 = Lanes(repeating: ap[2 * rs]), a3 = Lanes(repeating: ap[3 * rs])
      s00.addProduct(a0, b0)
      s01.addProduct(a0, b1)
      s10.addProduct(a1, b0)
      s11.addProduct(a1, b1)
      s20.addProduct(a2, b0)
      s21.addProduct(a2, b1)
      s30.addProduct(a3, b0)
      s31.addProduct(a3, b1)
      bp += ldb
      ap += cs
    }
    let c1 = c + ldc, c2 = c + 2 * ldc, c3 = c + 3 * ldc
    put(s00, accumulate, c, 0)
    put(s01, accumulate, c, 16)
    put(s10, accumulate, c1, 0)
    put(s11, accumulate, c1, 16)
    put(s20, accumulate, c2, 0)
    put(s21, accumulate, c2, 16)
    put(s30, accumulate, c3, 0)
    put(s31, accumulate, c3, 16)
  }

  @inline(__always)
  private static func one16(
    _ k: Int, _ a: UnsafePointer<Float>, _ cs: Int, _ b: UnsafePointer<Float>, _ ldb: Int,
    _ accumulate: Bool, _ c: UnsafeMutablePointer<Float>, _ count: Int
  ) {
    var sum = Lanes.zero
    for p in 0..<k { sum.addProduct(Lanes(repeating: a[p * cs]), b.lanes(p * ldb, count)) }
    c.store(accumulate ? c.lanes(0, count) + sum : sum, at: 0, count)
  }

  /// `c[m, n] = a[m, k] · b[n, k]ᵀ`: dot products, each with sixteen partial sums.
  static func multiplyTransposed(
    _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ lda: Int, _ b: UnsafePointer<Float>,
    _ ldb: Int, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    for start in stride(from: 0, to: m, by: dotRows) {
      let rows = start..<min(start + dotRows, m)
      var j = 0
      while j + 4 <= n {
        for i in rows { fourDots(k, a + i * lda, b + j * ldb, ldb, c + i * ldc + j) }
        j += 4
      }
      while j < n {
        for i in rows {
          let row = a + i * lda, column = b + j * ldb
          var sum = Lanes.zero
          forLanes(k) { p, count in sum.addProduct(row.lanes(p, count), column.lanes(p, count)) }
          c[i * ldc + j] = sum.folded()
        }
        j += 1
      }
    }
  }

  /// Rows that stay in the first cache while the columns pass by.
  private static let dotRows = 8

  /// `c[0..<4] = a[k] · b[4, k]ᵀ`: four sums at once, because each of them waits for its own last addition.
  @inline(__always)
  private static func fourDots(
    _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ ldb: Int,
    _ c: UnsafeMutablePointer<Float>
  ) {
    let b1 = b + ldb, b2 = b1 + ldb, b3 = b2 + ldb
    var s0 = Lanes.zero, s1 = s0, s2 = s0, s3 = s0
    forLanes(k) { p, count in
      let row = a.lanes(p, count)
      s0.addProduct(row, b.lanes(p, count))
      s1.addProduct(row, b1.lanes(p, count))
      s2.addProduct(row, b2.lanes(p, count))
      s3.addProduct(row, b3.lanes(p, count))
    }
    c[0] = s0.folded()
    c[1] = s1.folded()
    c[2] = s2.folded()
    c[3] = s3.folded()
  }
}
