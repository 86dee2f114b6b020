/// Transposes of small matrices, sixteen rows by sixteen columns at a time.
enum LaneTranspose {
  /// `t[columns, pitch]` from `a[rows, columns]`, its columns past `rows` zero; `pitch` is a multiple of 16.
  static func write(
    _ t: UnsafeMutablePointer<Float>, pitch: Int, _ a: UnsafePointer<Float>, _ lda: Int, rows: Int,
    columns: Int
  ) {
    precondition(pitch % 16 == 0 && pitch >= rows, "a pitch of \(pitch) for \(rows) rows")
    var row = 0
    while row < pitch {
      let count = min(16, max(0, rows - row))
      forLanes(columns) { column, width in
        let from = a + row * lda + column, to = t + column * pitch + row
        if count == 16, width == 16 {
          whole(to, pitch, from, lda)
        } else {
          part(to, pitch, from, lda, rows: count, columns: width)
        }
      }
      row += 16
    }
  }

  /// All indices are known, so the block is never in memory.
  @inline(__always)
  private static func whole(
    _ t: UnsafeMutablePointer<Float>, _ pitch: Int, _ a: UnsafePointer<Float>, _ lda: Int
  ) {
    withUnsafeTemporaryAllocation(of: Lanes.self, capacity: 16) { block in
      let block = block.baseAddress.unsafelyUnwrapped
      for i in 0..<16 { block[i] = (a + i * lda).lanes(0) }
      transpose(block)
      for i in 0..<16 { t.store(block[i], at: i * pitch) }
    }
  }

  private static func part(
    _ t: UnsafeMutablePointer<Float>, _ pitch: Int, _ a: UnsafePointer<Float>, _ lda: Int,
    rows: Int, columns: Int
  ) {
    withUnsafeTemporaryAllocation(of: Lanes.self, capacity: 16) { block in
      let block = block.baseAddress.unsafelyUnwrapped
      for i in 0..<rows { block[i] = (a + i * lda).lanes(0, columns) }
      for i in rows..<16 { block[i] = .zero }
      transpose(block)
      for i in 0..<columns { t.store(block[i], at: i * pitch) }
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
    // Eight pairs, as many as the compiler unrolls.
    for pair in 0..<8 {
      let i = pair / distance * 2 * distance + pair % distance
      let a = block[i], b = block[i + distance]
      var x = a, y = b
      swap(&x, &y, a, b)
      block[i] = x
      block[i + distance] = y
    }
  }
}
