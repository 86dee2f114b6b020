/// A dense layer of a head over encoder rows, with the head's dropout of what it reads.
struct HeadDense {
  let inputs: Int, outputs: Int
  /// Where weight `[outputs, inputs]` and bias `[outputs]` lie; some heads have no bias.
  let weight: Int, bias: Int?
  let parameters: UnsafePointer<Float>
  let dropout: Dropout?
  /// What the layer reads `[R, inputs]` after dropout; nil without.
  let features: UnsafeMutablePointer<Float>?
  /// Outputs `[R, outputs]`, and their gradient where the pass trains.
  let values: UnsafeMutablePointer<Float>, gradient: UnsafeMutablePointer<Float>?

  /// The layer whose tensors are `name.weight` and, unless `hasBias` is false, `name.bias`.
  init(
    _ setting: HeadSetting, _ name: String, inputs: Int? = nil, outputs: Int, rows: Int? = nil,
    hasBias: Bool = true, hasDropout: Bool = true, plan: inout Workspace.Plan
  ) {
    let rows = rows ?? setting.rows
    self.inputs = inputs ?? setting.hidden
    self.outputs = outputs
    weight = setting.offset("\(name).weight")
    bias = hasBias ? setting.offset("\(name).bias") : nil
    parameters = setting.parameters
    dropout = hasDropout ? setting.dropout : nil
    features = dropout == nil ? nil : plan.take(rows * self.inputs)
    values = plan.take(rows * outputs)
    gradient = setting.trains ? plan.take(rows * outputs) : nil
  }

  /// Outputs of rows `range` from `x [R, inputs]`.
  func forward(
    _ encoder: EncoderPass, _ rows: RowSet, _ range: Range<Int>, x: UnsafePointer<Float>,
    mask: UnsafeMutablePointer<Float>
  ) {
    if let dropout, let features {
      for row in range {
        let source = x + row * inputs, out = features + row * inputs
        encoder.fillMask(mask, dropout, rows, row, .headDropout, 0)
        forLanes(inputs) { i, n in
          out.store(source.lanes(i, n) * mask.lanes(i, n), at: i, n)
        }
      }
    }
    let read = features.map { UnsafePointer($0) } ?? x
    let out = values + range.lowerBound * outputs
    RowProduct.forward(
      range.count, outputs, inputs, read + range.lowerBound * inputs, inputs, parameters + weight,
      out, outputs)
    guard let bias else { return }
    for row in 0..<range.count {
      let y = out + row * outputs
      forLanes(outputs) { i, n in
        y.store(y.lanes(i, n) + (parameters + bias).lanes(i, n), at: i, n)
      }
    }
  }

  /// The gradient of rows `range` of `x`, written to `d`, or added to it where `accumulate` says so.
  ///
  /// Layers with dropout of their own cannot add: their mask would fall on what is there.
  func backward(
    _ encoder: EncoderPass, _ rows: RowSet, _ range: Range<Int>,
    into d: UnsafeMutablePointer<Float>, accumulate: Bool = false,
    mask: UnsafeMutablePointer<Float>
  ) {
    guard let gradient else { preconditionFailure("this head was planned without backward") }
    precondition(!accumulate || dropout == nil, "a layer with dropout adds to a gradient")
    RowProduct.backward(
      range.count, inputs, outputs, gradient + range.lowerBound * outputs, outputs,
      parameters + weight, accumulate: accumulate, d + range.lowerBound * inputs, inputs)
    guard let dropout else { return }
    for row in range {
      let out = d + row * inputs
      encoder.fillMask(mask, dropout, rows, row, .headDropout, 0)
      forLanes(inputs) { i, n in out.store(out.lanes(i, n) * mask.lanes(i, n), at: i, n) }
    }
  }

  /// The gradient of weight and bias, where the layer read `x`.
  func weightGradient(
    x: UnsafePointer<Float>, leafStarts: [Int], into target: GradientTarget
  ) -> WeightGradient {
    guard let gradient else { preconditionFailure("this head was planned without backward") }
    return WeightGradient(
      dy: gradient, ldy: outputs, x: features.map { UnsafePointer($0) } ?? x, ldx: inputs,
      outputs: outputs, inputs: inputs, weight: target.place(weight),
      bias: bias.flatMap(target.place), leafStarts: leafStarts)
  }
}

/// A layer over all tokens, as the heads that label or point at them have one.
extension HeadDense {
  /// Outputs of every token from `rows [T, inputs]`.
  func forward(_ encoder: EncoderPass, tokens rows: UnsafePointer<Float>) {
    encoder.forEachTile(of: encoder.tokens) { range, mask in
      forward(encoder, encoder.tokens, range, x: rows, mask: mask)
    }
  }

  /// The gradient of every token, written to `d`.
  func backward(_ encoder: EncoderPass, tokens d: UnsafeMutablePointer<Float>) {
    encoder.forEachTile(of: encoder.tokens) { range, mask in
      backward(encoder, encoder.tokens, range, into: d, mask: mask)
    }
  }

  /// The gradient of weight and bias, where the layer read the tokens `rows`.
  func weightGradient(
    _ encoder: EncoderPass, tokens rows: UnsafePointer<Float>, into target: GradientTarget
  ) -> WeightGradient {
    weightGradient(x: rows, leafStarts: encoder.tokens.leafStarts, into: target)
  }

  /// The outputs of the tokens of example `example`, row after row.
  func values(ofExample example: Int, _ batch: PackedBatch) -> [Float] {
    let range = batch.offsets[example]..<batch.offsets[example + 1]
    return Array(
      UnsafeBufferPointer(
        start: values + range.lowerBound * outputs, count: range.count * outputs))
  }
}
