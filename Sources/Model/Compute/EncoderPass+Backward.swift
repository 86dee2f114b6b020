/// Which gradients are wanted, and where each goes.
final class GradientTarget {
  let arena: Arena
  /// For each element offset that starts a tensor: whether it is trained.
  let trained: Set<Int>
  /// What a tied decoder adds to the word table's gradient.
  var decoder: DecoderGradient?

  init(arena: Arena, trained: Set<Int>) {
    self.arena = arena
    self.trained = trained
  }

  /// The place of the tensor at `offset`; nil when it is frozen.
  func place(_ offset: Int) -> UnsafeMutablePointer<Float>? {
    trained.contains(offset) ? arena.base + offset : nil
  }

  /// Whether any tensor that starts in `range` is trained.
  func trainsAny(in range: Range<Int>) -> Bool { trained.contains { range.contains($0) } }
}

extension EncoderPass {
  /// Runs backward from the gradient of the last layer's output, which lies in `gradients.output`.
  ///
  /// Stops below the lowest trained tensor. `closed(offset)` is called when everything from `offset`
  /// on is final.
  func backward(into target: GradientTarget, closed: (Int) -> Void) {
    guard var g = gradients else { preconditionFailure("this pass was planned without backward") }
    for number in layers.indices.reversed() {
      let layer = layers[number], start = offsets.layers[number].projectionWeight
      if recomputes, number + 1 < layers.count { recompute(number) }
      let tiles = rows(layer).tiles
      pool.run(tiles.count) { tile, thread in
        throughFeedForward(layer, number, g, tiles[tile], scratch(of: thread))
      }
      throughAttention(layer, number, g)
      weightGradients(layer, number, g, target)
      closed(start)
      guard target.trainsAny(in: 0..<start) else { return }
      intoInput(layer, number, &g)
    }
    throughEmbeddings(g, target)
    closed(0)
  }

  /// From the gradient of a layer's output to that of attention's context.
  private func throughFeedForward(
    _ layer: Layer, _ number: Int, _ g: Gradients, _ range: Range<Int>,
    _ mask: UnsafeMutablePointer<Float>
  ) {
    let o = offsets.layers[number], h = hidden, f = inner
    let first = range.lowerBound, count = range.count
    normBackward(
      layer, range, mask, dz: g.middle, dy: g.output, normal: layer.normal2, r: layer.r2,
      norm: o.outputNorm, product: g.down, fromHead: layer.sum == nil ? nil : g.sum,
      purpose: .feedForwardDropout, number)
    let d = g.preactivation + first * f
    RowProduct.backward(
      count, f, h, g.down + first * h, h, parameters + o.downWeight, accumulate: false, d, f)
    // The pre-activation becomes the activation, which the weight gradient reads.
    Gelu.backward(
      d, x: layer.preactivation + first * f, count: count * f, kind: configuration.activation)
    RowProduct.backward(
      count, h, f, d, f, parameters + o.upWeight, accumulate: true, g.middle + first * h, h)
    normBackward(
      layer, range, mask, dz: g.input, dy: g.middle, normal: layer.normal1, r: layer.r1,
      norm: o.attentionNorm, product: g.attention, purpose: .attentionOutputDropout, number)
    RowProduct.backward(
      count, h, h, g.attention + first * h, h, parameters + o.attentionWeight, accumulate: false,
      g.context + first * h, h)
  }

  /// `dz` of `y = LN(z)` and of `fromHead`, and the gradient `product` of the dense output that dropout let through.
  private func normBackward(
    _ layer: Layer, _ range: Range<Int>, _ mask: UnsafeMutablePointer<Float>,
    dz: UnsafeMutablePointer<Float>, dy: UnsafePointer<Float>, normal: UnsafePointer<Float>,
    r: UnsafePointer<Float>, norm: ParameterOffsets.Norm, product: UnsafeMutablePointer<Float>,
    fromHead: UnsafePointer<Float>? = nil, purpose: RandomPurpose, _ number: Int
  ) {
    let h = hidden, rowSet = rows(layer)
    for row in range {
      let d = dz + row * h, p = product + row * h
      LayerNorm.backward(
        dz: d, dy: dy + row * h, normal: normal + row * h, r: r[row],
        gamma: parameters + norm.gamma, width: h)
      if let share = fromHead.map({ $0 + row * h }) {
        forLanes(h) { i, n in d.store(d.lanes(i, n) + share.lanes(i, n), at: i, n) }
      }
      if let hiddenDropout {
        fillMask(mask, hiddenDropout, rowSet, row, purpose, number)
        forLanes(h) { i, n in p.store(d.lanes(i, n) * mask.lanes(i, n), at: i, n) }
      } else {
        p.update(from: d, count: h)
      }
    }
  }

  /// Gradients of queries, keys and values.
  ///
  /// A [CLS]-only layer's query gradient lies behind its keys' and values'.
  private func throughAttention(_ layer: Layer, _ number: Int, _ g: Gradients) {
    let heads = configuration.headCount, d = configuration.headWidth, h = hidden
    pool.run(batch.sequences.count * heads) { task, thread in
      let sequence = task / heads, head = task % heads
      let row = layer.firstTokensOnly ? sequence : batch.offsets[sequence]
      let (dq, dk, dv, pitch) = projectionGradients(layer, g)
      let start = batch.offsets[sequence] * pitch + head * d
      attention.backward(
        work(layer, number, sequence: sequence, head: head),
        dContext: g.context + row * h + head * d, h,
        dq: dq + row * layer.queryPitch + head * d, layer.queryPitch,
        dk: dk + start, dv: dv + start, pitch, scratch: scratch(of: thread))
    }
  }

  /// Where the gradients of queries, keys and values lie, and the pitch of the latter two.
  private func projectionGradients(
    _ layer: Layer, _ g: Gradients
  ) -> (
    query: UnsafeMutablePointer<Float>, key: UnsafeMutablePointer<Float>,
    value: UnsafeMutablePointer<Float>, pitch: Int
  ) {
    let h = hidden
    guard layer.firstTokensOnly else {
      return (g.projection, g.projection + h, g.projection + 2 * h, 3 * h)
    }
    return (g.projection + tokens.count * 2 * h, g.projection, g.projection + h, 2 * h)
  }

  /// From queries, keys and values to the layer's input; `g.output` holds its gradient afterwards.
  private func intoInput(_ layer: Layer, _ number: Int, _ g: inout Gradients) {
    let h = hidden, weight = parameters + offsets.layers[number].projectionWeight
    if layer.firstTokensOnly {
      let (dq, dkv, _, _) = projectionGradients(layer, g)
      // The residual's and the query's share exist for [CLS] rows only; `g.output` is free now.
      let whole = g.output, part = g.input
      pool.run(firsts.tiles.count) { tile, _ in
        let range = firsts.tiles[tile]
        RowProduct.backward(
          range.count, h, h, dq + range.lowerBound * h, h, weight, accumulate: true,
          part + range.lowerBound * h, h)
      }
      pool.run(tokens.tiles.count) { tile, _ in
        let range = tokens.tiles[tile]
        RowProduct.backward(
          range.count, h, 2 * h, dkv + range.lowerBound * 2 * h, 2 * h, weight + h * h,
          accumulate: false, whole + range.lowerBound * h, h)
      }
      for sequence in 0..<firsts.count {
        let row = whole + batch.offsets[sequence] * h, share = part + sequence * h
        forLanes(h) { i, n in row.store(row.lanes(i, n) + share.lanes(i, n), at: i, n) }
      }
    } else {
      let (whole, projection) = (g.input, g.projection)
      pool.run(tokens.tiles.count) { tile, _ in
        let range = tokens.tiles[tile]
        RowProduct.backward(
          range.count, h, 3 * h, projection + range.lowerBound * 3 * h, 3 * h, weight,
          accumulate: true, whole + range.lowerBound * h, h)
      }
      swap(&g.output, &g.input)
    }
  }

  /// All weight, bias and norm gradients of a layer, as one job of many blocks.
  private func weightGradients(
    _ layer: Layer, _ number: Int, _ g: Gradients, _ target: GradientTarget
  ) {
    let o = offsets.layers[number], h = hidden, f = inner
    let rowStarts = rows(layer).leafStarts, tokenStarts = tokens.leafStarts
    let (dq, dk, dv, pitch) = projectionGradients(layer, g)
    func gradient(
      _ dy: UnsafePointer<Float>, _ ldy: Int, _ x: UnsafePointer<Float>, _ outputs: Int,
      _ inputs: Int, _ weight: Int, _ bias: Int, _ starts: [Int]
    ) -> WeightGradient {
      WeightGradient(
        dy: dy, ldy: ldy, x: x, ldx: inputs, outputs: outputs, inputs: inputs,
        weight: target.place(weight), bias: target.place(bias), leafStarts: starts)
    }
    let projection = (o.projectionWeight, o.projectionBias)
    let dense = [
      gradient(g.down, h, layer.preactivation, h, f, o.downWeight, o.downBias, rowStarts),
      gradient(g.preactivation, f, layer.middle, f, h, o.upWeight, o.upBias, rowStarts),
      gradient(
        g.attention, h, layer.context, h, h, o.attentionWeight, o.attentionBias, rowStarts),
      gradient(
        dq, layer.queryPitch, layer.queryInput, h, h, projection.0, projection.1, rowStarts),
      gradient(dk, pitch, layer.input, h, h, projection.0 + h * h, projection.1 + h, tokenStarts),
      gradient(
        dv, pitch, layer.input, h, h, projection.0 + 2 * h * h, projection.1 + 2 * h, tokenStarts),
    ]
    let norms = [
      NormGradient(
        dy: g.output, normal: layer.normal2, norm: o.outputNorm, leafStarts: rowStarts),
      NormGradient(
        dy: g.middle, normal: layer.normal1, norm: o.attentionNorm, leafStarts: rowStarts),
    ]
    let blocks = dense.enumerated().flatMap { i, d in
      d.blocks(rows: gradientBlockRows).map { (i, $0) }
    }
    let columns = NormGradient.blocks(h)
    pool.run(blocks.count + norms.count * columns.count) { task, thread in
      if task < blocks.count {
        let (i, block) = blocks[task]
        dense[i].compute(block, contract: contract, scratch: scratch(of: thread))
      } else {
        let task = task - blocks.count
        norms[task / columns.count].compute(
          columns[task % columns.count], width: h, target: target)
      }
    }
  }

  /// A layer norm's parameter gradients.
  struct NormGradient {
    var dy: UnsafePointer<Float>, normal: UnsafePointer<Float>
    var norm: ParameterOffsets.Norm
    var leafStarts: [Int]

    /// Column ranges that are computed as one task.
    static func blocks(_ width: Int) -> [Range<Int>] {
      stride(from: 0, to: width, by: 128).map { $0..<min($0 + 128, width) }
    }

    func compute(_ columns: Range<Int>, width: Int, target: GradientTarget) {
      guard let gamma = target.place(norm.gamma), let beta = target.place(norm.beta) else {
        return
      }
      ColumnSums.foldNorm(
        gamma: gamma + columns.lowerBound, beta: beta + columns.lowerBound,
        dy: dy + columns.lowerBound, normal: normal + columns.lowerBound, pitch: width,
        columns: columns.count, leafStarts: leafStarts)
    }
  }
}
