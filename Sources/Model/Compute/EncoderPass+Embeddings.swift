extension EncoderPass {
  /// From the gradient of the embedded rows to the three tables and the norm.
  func throughEmbeddings(_ g: Gradients, _ target: GradientTarget) {
    let h = hidden, before = configuration.embeddingDropoutBeforeNorm
    let dy = g.output, dz = g.middle
    pool.run(tokens.tiles.count) { tile, thread in
      let mask = scratch(of: thread)
      for row in tokens.tiles[tile] {
        if !before { drop(dy + row * h, tokens, row, .embeddingDropout, 0, mask) }
        LayerNorm.backward(
          dz: dz + row * h, dy: dy + row * h, normal: embeddingNormal + row * h,
          r: embeddingR[row], gamma: parameters + offsets.embeddingNorm.gamma, width: h)
        if before { drop(dz + row * h, tokens, row, .embeddingDropout, 0, mask) }
      }
    }
    let norm = NormGradient(
      dy: dy, normal: embeddingNormal, norm: offsets.embeddingNorm, leafStarts: tokens.leafStarts)
    let columns = NormGradient.blocks(h)
    pool.run(columns.count) { task, _ in
      norm.compute(columns[task], width: h, target: target)
    }
    let ids = batch.sequences.flatMap(\.ids)
    let segments = batch.sequences.flatMap(\.segments)
    if let table = target.place(offsets.word), let decoder = target.decoder {
      dense(table, dz, ids, decoder)
      target.arena.touchedRows = nil
    } else if let table = target.place(offsets.word) {
      if let touched = target.arena.touchedRows {
        for row in touched { (table + Int(row) * h).update(repeating: 0, count: h) }
      } else {
        zero(table, configuration.vocabularySize * h)
      }
      scatter(table, dz, keys: ids)
      target.arena.touchedRows = Set(ids).sorted()
    }
    if let table = target.place(offsets.position) {
      zero(table, configuration.maximumPositions * h)
      scatter(table, dz, keys: tokens.positions.map(Int32.init))
    }
    if let table = target.place(offsets.segment) {
      zero(table, configuration.segmentCount * h)
      scatter(table, dz, keys: segments)
    }
  }

  private func zero(_ table: UnsafeMutablePointer<Float>, _ count: Int) {
    let tile = 1 << 18
    pool.run((count + tile - 1) / tile) { part, _ in
      (table + part * tile).update(repeating: 0, count: min(tile, count - part * tile))
    }
  }

  /// Adds up the rows of `d [T, H]` that share a key, by the canonical tree over leaves, into `table[key]`.
  ///
  /// A leaf without the key counts as zero. Rows of a leaf are added in order.
  private func scatter(
    _ table: UnsafeMutablePointer<Float>, _ d: UnsafePointer<Float>, keys: [Int32]
  ) {
    let order = keys.indices.sorted { (keys[$0], $0) < (keys[$1], $1) }
    var groups: [Range<Int>] = []
    var start = 0
    for i in order.indices where i + 1 == order.count || keys[order[i + 1]] != keys[order[i]] {
      groups.append(start..<i + 1)
      start = i + 1
    }
    let h = hidden, strips = (h + 63) / 64
    // A key that many rows share (a segment, a frequent word) is split by columns.
    let large = groups.filter { $0.count > 64 }, small = groups.filter { $0.count <= 64 }
    let batchSize = 32
    let smallTasks = (small.count + batchSize - 1) / batchSize
    pool.run(large.count * strips + smallTasks) { task, _ in
      if task < large.count * strips {
        let columns = task % strips * 64..<min(task % strips * 64 + 64, h)
        sum(large[task / strips], columns, table, d, keys, order)
      } else {
        let first = (task - large.count * strips) * batchSize
        for group in small[first..<min(first + batchSize, small.count)] {
          sum(group, 0..<h, table, d, keys, order)
        }
      }
    }
  }

  private func sum(
    _ group: Range<Int>, _ columns: Range<Int>, _ table: UnsafeMutablePointer<Float>,
    _ d: UnsafePointer<Float>, _ keys: [Int32], _ order: [Int]
  ) {
    let h = hidden, out = table + Int(keys[order[group.lowerBound]]) * h + columns.lowerBound
    forLanes(columns.count) { i, n in
      // Adding +0 makes a sum of negative zeros positive, as an absent leaf does.
      let total =
        treeSum(group, 0..<batch.leaves.count, order) { row in
          d.lanes(row * h + columns.lowerBound + i, n)
        } + 0
      out.store(total, at: i, n)
    }
  }

  /// The canonical tree over `leaves`, where the rows of `group` (ascending) are all there is.
  private func treeSum(
    _ group: Range<Int>, _ leaves: Range<Int>, _ order: [Int], _ value: (Int) -> Lanes
  ) -> Lanes {
    let starts = tokens.leafStarts
    if leaves.count == 1 || group.count == 1 {
      var sum = Lanes.zero
      for i in group { sum += value(order[i]) }
      return sum
    }
    let half = leaves.lowerBound + leaves.count / 2
    var split = group.lowerBound
    while split < group.upperBound, order[split] < starts[half] { split += 1 }
    if split == group.lowerBound {
      return treeSum(group, half..<leaves.upperBound, order, value)
    }
    if split == group.upperBound {
      return treeSum(group, leaves.lowerBound..<half, order, value)
    }
    let left = treeSum(group.lowerBound..<split, leaves.lowerBound..<half, order, value)
    return left + treeSum(split..<group.upperBound, half..<leaves.upperBound, order, value)
  }
}
