/// Transposes of small matrices, sixteen rows by sixteen columns at a time.
enum LaneTranspose {
  /// `t[columns, pitch]` from `a[rows, columns]`, its columns past `rows` zero; `pitch` is a multiple of 16.
  static func write(
    _ t: UnsafeMutablePointer<Float>, pitch: Int, _ a: UnsafePointer<Float>, _ lda: Int, rows: Int,
    columns: Int
  ) {
    precondition(pitch % 16 == 0 && pitch >= rows, "a pitch of \(pitch) for \(rows) rows")
    withUnsafeTemporaryAllocation(of: Lanes.self, capacity: 16) { block in
      guard let block = block.baseAddress else { return }
      for row in stride(from: 0, to: pitch, by: 16) {
        let count = min(16, max(0, rows - row))
        forLanes(columns) { column, width in
          for i in 0..<count { block[i] = (a + (row + i) * lda).lanes(column, width) }
          for i in count..<16 { block[i] = .zero }
          transpose(block)
          for i in 0..<width { t.store(block[i], at: (column + i) * pitch + row) }
        }
      }
    }
  }

  /// Transposes the sixteen vectors of `block` in place.
  ///
  /// The quarters off the diagonal change places, in blocks of 8, 4, 2 and 1: every exchange is a shuffle of two registers.
  @inline(__always)
  private static func transpose(_ block: UnsafeMutablePointer<Lanes>) {
    for i in 0..<8 {
      let a = block[i], b = block[i + 8]
      block[i] = Lanes(lowHalf: a.lowHalf, highHalf: b.lowHalf)
      block[i + 8] = Lanes(lowHalf: a.highHalf, highHalf: b.highHalf)
    }
    exchange(block, distance: 4) { x, y, a, b in
      for q in 0..<2 {
        for e in 0..<4 {
          x[8 * q + 4 + e] = b[8 * q + e]
          y[8 * q + e] = a[8 * q + 4 + e]
        }
      }
    }
    exchange(block, distance: 2) { x, y, a, b in
      for q in 0..<4 {
        for e in 0..<2 {
          x[4 * q + 2 + e] = b[4 * q + e]
          y[4 * q + e] = a[4 * q + 2 + e]
        }
      }
    }
    exchange(block, distance: 1) { x, y, a, b in
      for q in 0..<8 {
        x[2 * q + 1] = b[2 * q]
        y[2 * q] = a[2 * q + 1]
      }
    }
  }

  /// Lets `swap` change copies `x`, `y` of every two vectors `a`, `b` that are `distance` apart in a block of twice as many.
  @inline(__always)
  private static func exchange(
    _ block: UnsafeMutablePointer<Lanes>, distance: Int,
    _ swap: (_ x: inout Lanes, _ y: inout Lanes, _ a: Lanes, _ b: Lanes) -> Void
  ) {
    for start in stride(from: 0, to: 16, by: 2 * distance) {
      for i in start..<start + distance {
        let a = block[i], b = block[i + distance]
        var x = a, y = b
        swap(&x, &y, a, b)
        block[i] = x
        block[i + distance] = y
      }
    }
  }
}
