/// Transposes of small matrices, sixteen rows by sixteen columns at a time.
enum LaneTranspose {
  /// `t[columns, pitch]` from `a[rows, columns]`, its columns past `rows` zero; `pitch` is a multiple of 16.
  static func write(
    _ t: UnsafeMutablePointer<Float>, pitch: Int, _ a: UnsafePointer<Float>, _ lda: Int, rows: Int,
    columns: Int
  ) {
    precondition(pitch % 16 == 0 && pitch >= rows, "a pitch of \(pitch) for \(rows) rows")
    withUnsafeTemporaryAllocation(of: Lanes.self, capacity: 32) { block in
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

  /// Transposes the first sixteen vectors of `block` in place; the sixteen behind them are room to work in.
  ///
  /// Interleaving row i with row i + 8 is a perfect shuffle of all 256 elements' addresses; four of them exchange row and column.
  @inline(__always)
  private static func transpose(_ block: UnsafeMutablePointer<Lanes>) {
    let room = block + 16
    for step in 0..<4 {
      let (from, to) = step % 2 == 0 ? (block, room) : (room, block)
      for i in 0..<8 {
        let x = from[i], y = from[i + 8]
        to[2 * i].evenHalf = x.lowHalf
        to[2 * i].oddHalf = y.lowHalf
        to[2 * i + 1].evenHalf = x.highHalf
        to[2 * i + 1].oddHalf = y.highHalf
      }
    }
  }
}
