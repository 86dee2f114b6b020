extension EncoderPass {
  /// The word table's gradient where a tied decoder reads it too.
  ///
  /// Leaf by leaf the decoder's product and then the rows of the embedded tokens `d [T, H]` in order, folded by the
  /// canonical tree. Every row is written.
  func dense(
    _ table: UnsafeMutablePointer<Float>, _ d: UnsafePointer<Float>, _ ids: [Int32],
    _ decoder: DecoderGradient
  ) {
    let h = hidden, leaves = batch.leaves.count
    // Of each leaf the rows in the order of their words, and within a word in their own.
    let rowsByLeaf = (0..<leaves).map { leaf in
      (tokens.leafStarts[leaf]..<tokens.leafStarts[leaf + 1]).sorted {
        (ids[$0], $0) < (ids[$1], $1)
      }
    }
    let height = gradientBlockRows, width = WeightGradient.blockColumns
    let columns = (h + width - 1) / width
    pool.run((decoder.words + height - 1) / height * columns) { task, thread in
      let first = task / columns * height
      let words = first..<min(first + height, decoder.words)
      let part = task % columns
      let range = h * part / columns..<h * (part + 1) / columns
      block(words, range, table, d, ids, rowsByLeaf, decoder, scratch(of: thread))
    }
  }

  private func block(
    _ words: Range<Int>, _ columns: Range<Int>, _ table: UnsafeMutablePointer<Float>,
    _ d: UnsafePointer<Float>, _ ids: [Int32], _ rowsByLeaf: [[Int]], _ decoder: DecoderGradient,
    _ scratch: UnsafeMutablePointer<Float>
  ) {
    let h = hidden, m = words.count, n = columns.count
    let destination = table + words.lowerBound * h + columns.lowerBound
    func partial(_ slot: Int) -> (UnsafeMutablePointer<Float>, Int) {
      slot == 0 ? (destination, h) : (scratch + (slot - 1) * m * n, n)
    }
    LeafFold.run(leaves: rowsByLeaf.count) { _ in
      false
    } produce: { leaf, slot, _ in
      let (c, pitch) = partial(slot)
      let start = decoder.leafStarts[leaf], count = decoder.leafStarts[leaf + 1] - start
      if count == 0 {
        for row in 0..<m { (c + row * pitch).update(repeating: 0, count: n) }
      } else {
        MatrixProduct.multiply(
          m, n, count, decoder.dLogits + start * decoder.words + words.lowerBound, decoder.words,
          transposeA: true, decoder.hidden + start * h + columns.lowerBound, h, beta: 0, c, pitch)
      }
      let rows = rowsByLeaf[leaf]
      var next = rows.partitioningIndex { Int(ids[$0]) >= words.lowerBound }
      while next < rows.count, Int(ids[rows[next]]) < words.upperBound {
        let row = rows[next]
        let sum = c + (Int(ids[row]) - words.lowerBound) * pitch
        let share = d + row * h + columns.lowerBound
        forLanes(n) { i, lanes in
          sum.store(sum.lanes(i, lanes) + share.lanes(i, lanes), at: i, lanes)
        }
        next += 1
      }
    } merge: { from, into in
      let (a, lda) = partial(into), (b, ldb) = partial(from)
      for row in 0..<m {
        let x = a + row * lda, y = b + row * ldb
        forLanes(n) { i, lanes in
          x.store(x.lanes(i, lanes) + y.lanes(i, lanes), at: i, lanes)
        }
      }
    }
  }
}

extension [Int] {
  /// The first place from which on `isAfter` holds.
  fileprivate func partitioningIndex(_ isAfter: (Int) -> Bool) -> Int {
    var low = 0, high = count
    while low < high {
      let middle = (low + high) / 2
      if isAfter(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
