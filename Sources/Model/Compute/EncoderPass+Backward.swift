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
      if let attention = layer.firstTokens {
        throughAttention(attention, layer, number, g)
      } else {
        throughAttention(layer, number, g)
      }
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
  private func throughAttention(_ layer: Layer, _ number: Int, _ g: Gradients) {
    let heads = configuration.headCount, d = configuration.headWidth, h = hidden
    pool.run(batch.sequences.count * heads) { task, thread in
      let sequence = task / heads, head = task % heads, row = batch.offsets[sequence]
      let query = g.projection + row * 3 * h + head * d
      attention.backward(
        work(layer, number, sequence: sequence, head: head),
        dContext: g.context + row * h + head * d, h,
        dq: query, 3 * h, dk: query + h, dv: query + 2 * h, 3 * h, scratch: scratch(of: thread))
    }
  }

  /// From queries, keys and values to the layer's input; `g.output` holds its gradient afterwards.
  private func intoInput(_ layer: Layer, _ number: Int, _ g: inout Gradients) {
    if let attention = layer.firstTokens {
      intoInput(attention, layer, number, g)
      return
    }
    let h = hidden, weight = parameters + offsets.layers[number].projectionWeight
    let (whole, projection) = (g.input, g.projection)
    pool.run(tokens.tiles.count) { tile, _ in
      let range = tokens.tiles[tile]
      RowProduct.backward(
        range.count, h, 3 * h, projection + range.lowerBound * 3 * h, 3 * h, weight,
        accumulate: true, whole + range.lowerBound * h, h)
    }
    swap(&g.output, &g.input)
  }

  /// All weight, bias and norm gradients of a layer, as one job of many blocks.
  private func weightGradients(
    _ layer: Layer, _ number: Int, _ g: Gradients, _ target: GradientTarget
  ) {
    let o = offsets.layers[number], h = hidden, f = inner
    let rowStarts = rows(layer).leafStarts
    func gradient(
      _ dy: UnsafePointer<Float>, _ ldy: Int, _ x: UnsafePointer<Float>, _ outputs: Int,
      _ inputs: Int, _ weight: Int, _ bias: Int
    ) -> WeightGradient {
      WeightGradient(
        dy: dy, ldy: ldy, x: x, ldx: inputs, outputs: outputs, inputs: inputs,
        weight: target.place(weight), bias: target.place(bias), leafStarts: rowStarts)
    }
    var dense = [
      gradient(g.down, h, layer.preactivation, h, f, o.downWeight, o.downBias),
      gradient(g.preactivation, f, layer.middle, f, h, o.upWeight, o.upBias),
      gradient(g.attention, h, layer.context, h, h, o.attentionWeight, o.attentionBias),
    ]
    if let attention = layer.firstTokens {
      dense += projectionGradients(attention, layer, number, g, target)
    } else {
      for part in 0..<3 {
        dense.append(
          gradient(
            g.projection + part * h, 3 * h, layer.input, h, h, o.projectionWeight + part * h * h,
            o.projectionBias + part * h))
      }
    }
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
