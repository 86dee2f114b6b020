extension EncoderPass {
  /// Runs the embeddings and all planned layers.
  ///
  /// `reading` is called with an offset before any parameter in front of it is read for the first time.
  func forward(reading: (Int) -> Void = { _ in }) {
    reading(end(ofLayer: 0))
    pool.run(tokens.tiles.count) { tile, thread in
      embed(tokens.tiles[tile], scratch(of: thread))
      if !layers.isEmpty { project(0, tokens.tiles[tile]) }
    }
    for (number, layer) in layers.enumerated() {
      if let attention = layer.firstTokens {
        attend(attention, layer, number)
      } else {
        attend(layer, number)
      }
      let tiles = rows(layer).tiles
      if number + 1 < layers.count { reading(end(ofLayer: number + 1)) }
      pool.run(tiles.count) { tile, thread in
        if let attention = layer.firstTokens { mixContext(attention, layer, number, tiles[tile]) }
        finish(layer, number, tiles[tile], scratch(of: thread))
        if number + 1 < layers.count { project(number + 1, tiles[tile]) }
      }
    }
  }

  /// Where the parameters of the embeddings and of layers 0 to `number` end; the head's follow the last layer's.
  private func end(ofLayer number: Int) -> Int {
    number + 1 < offsets.layers.count ? offsets.layers[number + 1].projectionWeight : offsets.head
  }

  /// Computes the inner values of layer `number` again from its input.
  func recompute(_ number: Int) {
    let layer = layers[number]
    pool.run(tokens.tiles.count) { tile, _ in project(number, tokens.tiles[tile]) }
    attend(layer, number)
    pool.run(tokens.tiles.count) { tile, thread in
      finish(layer, number, tokens.tiles[tile], scratch(of: thread))
    }
  }

  /// `x = Dropout(LN(word + position + segment))`, or `LN(Dropout(…))` where the dialect says so.
  private func embed(_ range: Range<Int>, _ mask: UnsafeMutablePointer<Float>) {
    let h = hidden, before = configuration.embeddingDropoutBeforeNorm
    var sequence = sequenceContaining(range.lowerBound)
    for row in range {
      while row >= batch.offsets[sequence + 1] { sequence += 1 }
      let input = batch.sequences[sequence], place = row - batch.offsets[sequence]
      let word = parameters + offsets.word + Int(input.ids[place]) * h
      let position = parameters + offsets.position + place * h
      let segment = parameters + offsets.segment + Int(input.segments[place]) * h
      let z = embeddingNormal + row * h, y = embedded + row * h
      forLanes(h) { i, n in
        z.store(word.lanes(i, n) + segment.lanes(i, n) + position.lanes(i, n), at: i, n)
      }
      if before { drop(z, tokens, row, .embeddingDropout, 0, mask) }
      embeddingR[row] = LayerNorm.forward(
        y: y, z: z, width: h, gamma: parameters + offsets.embeddingNorm.gamma,
        beta: parameters + offsets.embeddingNorm.beta, epsilon: configuration.layerNormEpsilon)
      if !before { drop(y, tokens, row, .embeddingDropout, 0, mask) }
    }
  }

  /// The sequence that token `row` belongs to.
  func sequenceContaining(_ row: Int) -> Int {
    var low = 0, high = batch.sequences.count - 1
    while low < high {
      let middle = (low + high) / 2
      if batch.offsets[middle + 1] <= row { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Multiplies a row by its dropout mask; forward and backward are the same.
  @inline(__always)
  func drop(
    _ values: UnsafeMutablePointer<Float>, _ rows: RowSet, _ row: Int, _ purpose: RandomPurpose,
    _ layer: Int, _ mask: UnsafeMutablePointer<Float>
  ) {
    guard let hiddenDropout else { return }
    fillMask(mask, hiddenDropout, rows, row, purpose, layer)
    forLanes(hidden) { i, n in values.store(values.lanes(i, n) * mask.lanes(i, n), at: i, n) }
  }

  @inline(__always)
  func fillMask(
    _ mask: UnsafeMutablePointer<Float>, _ dropout: Dropout, _ rows: RowSet, _ row: Int,
    _ purpose: RandomPurpose, _ layer: Int
  ) {
    dropout.fill(
      mask, count: hidden, base: rows.positions[row] << 12, example: rows.examples[row],
      purpose: purpose.word(layer: layer))
  }

  /// Queries, keys and values of rows `range` of layer `number`, where all tokens have them.
  private func project(_ number: Int, _ range: Range<Int>) {
    let layer = layers[number], o = offsets.layers[number], h = hidden
    if layer.firstTokensOnly { return }
    dense(
      layer.projection + range.lowerBound * 3 * h, layer.input + range.lowerBound * h, h,
      rows: range.count, outputs: 3 * h, weight: parameters + o.projectionWeight,
      bias: parameters + o.projectionBias)
  }

  /// Attention of every token of `layer`.
  private func attend(_ layer: Layer, _ number: Int) {
    let heads = configuration.headCount
    pool.run(batch.sequences.count * heads) { task, thread in
      attention.forward(
        work(layer, number, sequence: task / heads, head: task % heads),
        scratch: scratch(of: thread))
    }
  }

  /// `out[rows, outputs] = a · weightᵀ + bias`.
  func dense(
    _ out: UnsafeMutablePointer<Float>, _ a: UnsafePointer<Float>, _ inputs: Int, rows: Int,
    outputs: Int, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>
  ) {
    RowProduct.forward(rows, outputs, inputs, a, inputs, weight, out, outputs)
    for row in 0..<rows {
      let y = out + row * outputs
      forLanes(outputs) { i, n in y.store(y.lanes(i, n) + bias.lanes(i, n), at: i, n) }
    }
  }

  /// Everything of a layer after attention, for rows `range`.
  private func finish(
    _ layer: Layer, _ number: Int, _ range: Range<Int>, _ scratch: UnsafeMutablePointer<Float>
  ) {
    let o = offsets.layers[number], h = hidden, f = inner
    let first = range.lowerBound, count = range.count
    let mask = scratch + count * f
    addAndNormalize(
      layer, range, mask, product: layer.normal1, from: layer.context, h,
      weight: o.attentionWeight, bias: o.attentionBias, residual: layer.queryInput,
      norm: o.attentionNorm, output: layer.middle, r: layer.r1,
      purpose: .attentionOutputDropout, number)
    let pre = layer.preactivation + first * f
    dense(
      pre, layer.middle + first * h, h, rows: count, outputs: f,
      weight: parameters + o.upWeight, bias: parameters + o.upBias)
    Gelu.forward(scratch, x: pre, count: count * f, kind: configuration.activation)
    addAndNormalize(
      layer, range, mask, product: layer.normal2, from: scratch - first * f, f,
      weight: o.downWeight, bias: o.downBias, residual: layer.middle, norm: o.outputNorm,
      output: layer.output, r: layer.r2, sum: layer.sum, purpose: .feedForwardDropout, number)
  }

  /// `output = LN(residual + Dropout(from · weightᵀ + bias))`; `product` becomes x̂, `sum` what is normalised.
  private func addAndNormalize(
    _ layer: Layer, _ range: Range<Int>, _ mask: UnsafeMutablePointer<Float>,
    product: UnsafeMutablePointer<Float>, from: UnsafePointer<Float>, _ inputs: Int, weight: Int,
    bias: Int, residual: UnsafePointer<Float>, norm: ParameterOffsets.Norm,
    output: UnsafeMutablePointer<Float>, r: UnsafeMutablePointer<Float>,
    sum: UnsafeMutablePointer<Float>? = nil, purpose: RandomPurpose, _ number: Int
  ) {
    let h = hidden, rowSet = rows(layer), bias = parameters + bias
    RowProduct.forward(
      range.count, h, inputs, from + range.lowerBound * inputs, inputs, parameters + weight,
      product + range.lowerBound * h, h)
    for row in range {
      let z = product + row * h, x = residual + row * h
      if let hiddenDropout {
        fillMask(mask, hiddenDropout, rowSet, row, purpose, number)
        forLanes(h) { i, n in
          z.store(
            x.lanes(i, n).addingProduct(z.lanes(i, n) + bias.lanes(i, n), mask.lanes(i, n)), at: i,
            n)
        }
      } else {
        forLanes(h) { i, n in
          z.store(x.lanes(i, n) + (z.lanes(i, n) + bias.lanes(i, n)), at: i, n)
        }
      }
      if let sum { (sum + row * h).update(from: z, count: h) }
      r[row] = LayerNorm.forward(
        y: output + row * h, z: z, width: h, gamma: parameters + norm.gamma,
        beta: parameters + norm.beta, epsilon: configuration.layerNormEpsilon)
    }
  }
}
