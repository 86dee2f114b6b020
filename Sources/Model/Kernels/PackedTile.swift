internal import CVector

/// The innermost part of `PackedProduct`: six rows by sixty-four columns in registers.
enum PackedTile {
  static let rows = 6
  static let columns = 64
  /// Steps of `k` between two jumps: of 384 steps, a stretch of OpenBLAS's, 48 jumps are left, few enough for the last one to be foreseen.
  private static let unrolled = 8

  /// Whether the tile's sums stay in registers: with shorter vectors they would not, and OpenBLAS is twice as fast.
  static var fitsRegisters: Bool { has_wide_registers() }

  /// `c[6, 64] (+)= a[6, k] · b[k, 64]`, where `a[i, p]` lies at `i · rowStride + p · columnStride` and `b` has a pitch of 64.
  ///
  /// `isFirst` says that nobody has used `c` for long, so that it is asked for ahead.
  ///
  /// Each element is one chain of fused multiply-adds over `k` in ascending order, added to `c`, or to zero unless `accumulate`.
  @inline(never)
  static func multiply(
    _ k: Int, _ a: UnsafePointer<Float>, _ rowStride: Int, _ columnStride: Int,
    _ b: UnsafePointer<Float>, accumulate: Bool, isFirst: Bool,
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    // Rows of `c` lie far apart, and are used all at once at the end.
    if isFirst {
      for row in 0..<rows {
        let line = c + row * ldc
        prefetch_for_writing(line)
        prefetch_for_writing(line + 16)
        prefetch_for_writing(line + 32)
        prefetch_for_writing(line + 48)
      }
    }
    var sums = Sums()
    var column = Column(
      upper: a, lower: a + 3 * rowStride, rowStride: rowStride, stride: columnStride, b: b)
    for _ in 0..<k / unrolled {
      sums.add(&column)
      sums.add(&column)
      sums.add(&column)
      sums.add(&column)
      sums.add(&column)
      sums.add(&column)
      sums.add(&column)
      sums.add(&column)
    }
    for _ in 0..<k % unrolled { sums.add(&column) }
    sums.row0.put(accumulate, c)
    sums.row1.put(accumulate, c + ldc)
    sums.row2.put(accumulate, c + 2 * ldc)
    sums.row3.put(accumulate, c + 3 * ldc)
    sums.row4.put(accumulate, c + 4 * ldc)
    sums.row5.put(accumulate, c + 5 * ldc)
  }

  /// Where a column of `a` and a row of `b` lie; two pointers into `a`, from which three rows each are in reach of an address.
  private struct Column {
    var upper: UnsafePointer<Float>
    var lower: UnsafePointer<Float>
    let rowStride: Int
    let stride: Int
    var b: UnsafePointer<Float>
  }

  /// The tile's 384 sums.
  private struct Sums {
    var row0 = Row(), row1 = Row(), row2 = Row(), row3 = Row(), row4 = Row(), row5 = Row()

    /// Adds the products of a column of `a` with a row of `b`, and goes on to the next.
    @inline(__always)
    mutating func add(_ column: inout Column) {
      let (b, r1) = (column.b, column.rowStride)
      let b0 = b.lanes(0), b1 = b.lanes(16), b2 = b.lanes(32), b3 = b.lanes(48)
      row0.add(column.upper[0], b0, b1, b2, b3)
      row1.add(column.upper[r1], b0, b1, b2, b3)
      row2.add(column.upper[2 * r1], b0, b1, b2, b3)
      row3.add(column.lower[0], b0, b1, b2, b3)
      row4.add(column.lower[r1], b0, b1, b2, b3)
      row5.add(column.lower[2 * r1], b0, b1, b2, b3)
      column.b += columns
      column.upper += column.stride
      column.lower += column.stride
    }
  }

  /// One row's sums.
  private struct Row {
    var s0 = Lanes.zero, s1 = Lanes.zero, s2 = Lanes.zero, s3 = Lanes.zero

    @inline(__always)
    mutating func add(_ a: Float, _ b0: Lanes, _ b1: Lanes, _ b2: Lanes, _ b3: Lanes) {
      let a = Lanes(repeating: a)
      s0.addProduct(a, b0)
      s1.addProduct(a, b1)
      s2.addProduct(a, b2)
      s3.addProduct(a, b3)
    }

    @inline(__always)
    func put(_ accumulate: Bool, _ c: UnsafeMutablePointer<Float>) {
      c.store((accumulate ? c.lanes(0) : Lanes.zero) + s0, at: 0)
      c.store((accumulate ? c.lanes(16) : Lanes.zero) + s1, at: 16)
      c.store((accumulate ? c.lanes(32) : Lanes.zero) + s2, at: 32)
      c.store((accumulate ? c.lanes(48) : Lanes.zero) + s3, at: 48)
    }
  }
}
