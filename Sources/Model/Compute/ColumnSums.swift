/// Sums over the rows of each leaf, column by column, folded over leaves by the canonical tree.
enum ColumnSums {
  /// `sums[columns] = Σ rows a[row, column]`.
  static func fold(
    _ sums: UnsafeMutablePointer<Float>, _ a: UnsafePointer<Float>, _ lda: Int, columns: Int,
    leafStarts: [Int]
  ) {
    forLanes(columns) { i, n in
      let total = foldLanes(leafStarts) { row in a.lanes(row * lda + i, n) }
      sums.store(total, at: i, n)
    }
  }

  /// A layer norm's `dγ = Σ dy x̂` and `dβ = Σ dy`.
  static func foldNorm(
    gamma: UnsafeMutablePointer<Float>, beta: UnsafeMutablePointer<Float>,
    dy: UnsafePointer<Float>, normal: UnsafePointer<Float>, pitch: Int, columns: Int,
    leafStarts: [Int]
  ) {
    forLanes(columns) { i, n in
      let g = foldLanes(leafStarts) { row in
        dy.lanes(row * pitch + i, n) * normal.lanes(row * pitch + i, n)
      }
      gamma.store(g, at: i, n)
      let b = foldLanes(leafStarts) { row in dy.lanes(row * pitch + i, n) }
      beta.store(b, at: i, n)
    }
  }

  /// The tree sum over leaves of each leaf's rows summed in order.
  @inline(__always)
  static func foldLanes(_ leafStarts: [Int], _ value: (Int) -> Lanes) -> Lanes {
    let leaves = leafStarts.count - 1
    return withUnsafeTemporaryAllocation(of: Lanes.self, capacity: 64) { slots in
      LeafFold.run(leaves: leaves) { _ in
        false
      } produce: { leaf, slot, _ in
        var sum = Lanes.zero
        for row in leafStarts[leaf]..<leafStarts[leaf + 1] { sum += value(row) }
        slots[slot] = sum
      } merge: { from, into in
        slots[into] += slots[from]
      }
      return slots[0]
    }
  }
}
