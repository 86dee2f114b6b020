/// Gradients of dense weights and biases: one product for each leaf and block, folded by the tree in cache.
struct WeightGradient {
  /// `[rows, out]`, pitch `ldy`.
  var dy: UnsafePointer<Float>, ldy: Int
  /// `[rows, in]`, pitch `ldx`.
  var x: UnsafePointer<Float>, ldx: Int
  var outputs: Int, inputs: Int
  /// Where `dW [out, in]` and `db [out]` go; nil when frozen.
  var weight: UnsafeMutablePointer<Float>?, bias: UnsafeMutablePointer<Float>?
  var leafStarts: [Int]
  /// Whether `MicroProduct` multiplies: one head's outputs of a few rows, for which packing is not worth it.
  var isSmall = false

  /// Columns of a block of `dW`, which one thread computes.
  static let blockColumns = 768

  /// Rows of a block, for `threads` threads.
  ///
  /// A product copies what it multiplies into an order of its own, the inputs once for every block of outputs: the taller the blocks,
  /// the fewer the copies, and the fewer blocks for many threads to share. The height changes no bit, or is fixed.
  static func blockRows(threads: Int, _ contract: BLASContract) -> Int {
    if !contract.blocksAreIndependent { return fixedBlockRows }
    return threads <= 4 ? 768 : threads <= 8 ? 384 : fixedBlockRows
  }

  static let fixedBlockRows = 192

  /// Floats of scratch for one block of `rows` rows and `leaves` leaves.
  static func scratch(leaves: Int, rows: Int) -> Int {
    LeafFold.slots(leaves: leaves) * rows * blockColumns
  }

  /// The blocks of this weight, of at most `rows` rows.
  func blocks(rows: Int) -> [(outputs: Range<Int>, inputs: Range<Int>)] {
    guard weight != nil else {
      return bias == nil ? [] : Self.parts(outputs, rows).map { ($0, 0..<0) }
    }
    return Self.parts(outputs, rows).flatMap { out in
      Self.parts(inputs, Self.blockColumns).map { (out, $0) }
    }
  }

  private static func parts(_ count: Int, _ size: Int) -> [Range<Int>] {
    let parts = (count + size - 1) / size
    return (0..<parts).map { count * $0 / parts..<count * ($0 + 1) / parts }
  }

  /// Computes one block; the block with the first inputs computes the bias too.
  func compute(
    _ block: (outputs: Range<Int>, inputs: Range<Int>), contract: BLASContract,
    scratch: UnsafeMutablePointer<Float>
  ) {
    if let bias, block.inputs.lowerBound == 0 {
      ColumnSums.fold(
        bias + block.outputs.lowerBound, dy + block.outputs.lowerBound, ldy,
        columns: block.outputs.count, leafStarts: leafStarts)
    }
    guard let weight, !block.inputs.isEmpty else { return }
    let m = block.outputs.count, n = block.inputs.count
    let destination = weight + block.outputs.lowerBound * inputs + block.inputs.lowerBound
    func partial(_ slot: Int) -> (UnsafeMutablePointer<Float>, Int) {
      slot == 0 ? (destination, inputs) : (scratch + (slot - 1) * m * n, n)
    }
    LeafFold.run(leaves: leafStarts.count - 1) { leaf in
      isSmall || leafStarts[leaf + 1] - leafStarts[leaf] <= contract.foldedRows
    } produce: { leaf, slot, accumulate in
      let start = leafStarts[leaf], rows = leafStarts[leaf + 1] - start
      let (c, ldc) = partial(slot)
      if rows == 0 {
        // An empty leaf is a zero, and is added like one.
        for row in 0..<m {
          forLanes(n) { i, count in
            let at = c + row * ldc
            at.store(accumulate ? at.lanes(i, count) + 0 : .zero, at: i, count)
          }
        }
      } else if isSmall {
        MicroProduct.multiply(
          m, n, rows, dy + start * ldy + block.outputs.lowerBound, 1, ldy,
          x + start * ldx + block.inputs.lowerBound, ldx, accumulate: accumulate, c, ldc)
      } else {
        MatrixProduct.multiply(
          m, n, rows, dy + start * ldy + block.outputs.lowerBound, ldy, transposeA: true,
          x + start * ldx + block.inputs.lowerBound, ldx, beta: accumulate ? 1 : 0, c, ldc)
      }
    } merge: { from, into in
      let (a, lda) = partial(into), (b, ldb) = partial(from)
      for row in 0..<m {
        let x = a + row * lda, y = b + row * ldb
        forLanes(n) { i, count in x.store(x.lanes(i, count) + y.lanes(i, count), at: i, count) }
      }
    }
  }
}
