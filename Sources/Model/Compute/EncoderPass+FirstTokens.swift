/// A last layer of which only [CLS] is read: its attention, forward and backward.
extension EncoderPass {
  /// Copies the [CLS] rows of the layer's input, projects their queries and lets them attend to all tokens.
  func attend(_ first: FirstTokenAttention, _ layer: Layer, _ number: Int) {
    let h = hidden, d = configuration.headWidth, n = first.heads, o = offsets.layers[number]
    let weight = parameters + o.projectionWeight
    pool.run(firsts.tiles.count) { tile, _ in
      let range = firsts.tiles[tile], start = range.lowerBound
      for row in range {
        (layer.queryInput + row * h).update(from: layer.input + batch.offsets[row] * h, count: h)
      }
      dense(
        layer.projection + start * h, layer.queryInput + start * h, h, rows: range.count,
        outputs: h, weight: weight, bias: parameters + o.projectionBias)
      for head in 0..<n {
        MicroProduct.multiply(
          range.count, h, d, layer.projection + start * h + head * d, h, 1,
          weight + (h + head * d) * h, h, accumulate: false,
          first.absorbed + (start * n + head) * h, n * h)
      }
    }
    pool.run(batch.sequences.count) { sequence, thread in
      first.forward(
        sequence, inputs: layer.input + batch.offsets[sequence] * h, attention: attention,
        example: firsts.examples[sequence],
        purpose: RandomPurpose.attentionDropout.word(layer: number), mask: scratch(of: thread))
    }
  }

  /// The context of queries `range`: each head's values of its mixture.
  func mixContext(
    _ first: FirstTokenAttention, _ layer: Layer, _ number: Int, _ range: Range<Int>
  ) {
    let h = hidden, d = configuration.headWidth, n = first.heads, o = offsets.layers[number]
    for head in 0..<n {
      MicroProduct.multiplyTransposed(
        range.count, d, h, first.mixture + (range.lowerBound * n + head) * h, n * h,
        parameters + o.projectionWeight + (2 * h + head * d) * h, h,
        layer.context + range.lowerBound * h + head * d, h)
    }
    let bias = parameters + o.projectionBias + 2 * h
    for row in range {
      for head in 0..<n {
        let mass = Lanes(repeating: first.mass[row * n + head]), context = layer.context + row * h
        forLanes(d) { i, count in
          let at = head * d + i
          context.store(
            context.lanes(at, count).addingProduct(mass, bias.lanes(at, count)), at: at, count)
        }
      }
    }
  }

  /// From the gradient of the context to those of queries, scores and what stands for keys and values.
  func throughAttention(
    _ first: FirstTokenAttention, _ layer: Layer, _ number: Int, _ g: Gradients
  ) {
    let own = first.gradients, h = hidden, d = configuration.headWidth, n = first.heads,
      o = offsets.layers[number]
    let weight = parameters + o.projectionWeight, valueBias = parameters + o.projectionBias + 2 * h
    pool.run(firsts.tiles.count) { tile, _ in
      let range = firsts.tiles[tile], start = range.lowerBound
      for head in 0..<n {
        MicroProduct.multiply(
          range.count, h, d, g.context + start * h + head * d, h, 1,
          weight + (2 * h + head * d) * h, h, accumulate: false,
          own.mixture + (start * n + head) * h, n * h)
      }
      for row in range {
        for head in 0..<n {
          let mass = first.mass[row * n + head]
          let (share, context) = (own.valueBias + row * h, g.context + row * h)
          forLanes(d) { i, count in
            share.store(context.lanes(head * d + i, count) * mass, at: head * d + i, count)
          }
        }
      }
    }
    pool.run(batch.sequences.count) { sequence, _ in
      first.backward(
        sequence, inputs: layer.input + batch.offsets[sequence] * h, attention: attention,
        dContext: g.context + sequence * h, context: layer.context + sequence * h,
        valueBias: valueBias)
    }
    pool.run(firsts.tiles.count) { tile, _ in
      let range = firsts.tiles[tile], start = range.lowerBound
      for head in 0..<n {
        MicroProduct.multiplyTransposed(
          range.count, d, h, own.absorbed + (start * n + head) * h, n * h,
          weight + (h + head * d) * h, h, own.query + start * h + head * d, h)
      }
    }
  }

  /// From attention to the layer's input; `g.output` holds its gradient afterwards.
  func intoInput(_ first: FirstTokenAttention, _ layer: Layer, _ number: Int, _ g: Gradients) {
    let own = first.gradients, h = hidden,
      weight = parameters + offsets.layers[number].projectionWeight
    // The residual's and the query's share exist for [CLS] rows only; `g.output` is free now.
    let whole = g.output, part = g.input
    pool.run(firsts.tiles.count) { tile, _ in
      let range = firsts.tiles[tile], start = range.lowerBound
      RowProduct.backward(
        range.count, h, h, own.query + start * h, h, weight, accumulate: true, part + start * h, h)
    }
    pool.run(batch.sequences.count) { sequence, _ in
      let row = whole + batch.offsets[sequence] * h, share = part + sequence * h
      first.backward(sequence, intoInputs: row)
      forLanes(h) { i, count in
        row.store(row.lanes(i, count) + share.lanes(i, count), at: i, count)
      }
    }
  }

  /// The weights' and biases' gradients of queries, keys and values; that of the keys' bias, which is zero, is written.
  func projectionGradients(
    _ first: FirstTokenAttention, _ layer: Layer, _ number: Int, _ g: Gradients,
    _ target: GradientTarget
  ) -> [WeightGradient] {
    let own = first.gradients, h = hidden, d = configuration.headWidth, n = first.heads,
      o = offsets.layers[number]
    let leafStarts = firsts.leafStarts
    let keys = target.place(o.projectionWeight + h * h)
    let values = target.place(o.projectionWeight + 2 * h * h)
    target.place(o.projectionBias + h)?.update(repeating: 0, count: h)
    func gradient(
      _ head: Int, _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>,
      _ weight: UnsafeMutablePointer<Float>?
    ) -> WeightGradient {
      WeightGradient(
        dy: dy + head * d, ldy: h, x: x + head * h, ldx: n * h, outputs: d, inputs: h,
        weight: weight.map { $0 + head * d * h }, bias: nil, leafStarts: leafStarts,
        isSmall: true)
    }
    return [
      WeightGradient(
        dy: own.query, ldy: h, x: layer.queryInput, ldx: h, outputs: h, inputs: h,
        weight: target.place(o.projectionWeight), bias: target.place(o.projectionBias),
        leafStarts: leafStarts),
      WeightGradient(
        dy: own.valueBias, ldy: h, x: layer.queryInput, ldx: h, outputs: h, inputs: h,
        weight: nil, bias: target.place(o.projectionBias + 2 * h), leafStarts: leafStarts),
    ]
      + (0..<n).flatMap { head in
        [
          gradient(head, layer.projection, own.absorbed, keys),
          gradient(head, g.context, first.mixture, values),
        ]
      }
  }
}
