/// The head over the [CLS] rows of one batch: pooler, dropout, classifier, loss.
struct HeadPass {
  let head: Head
  let configuration: BertConfiguration
  let offsets: ParameterOffsets
  let parameters: UnsafePointer<Float>
  let dropout: Dropout?
  let contract: BLASContract
  /// Pooler output `[B, H]`, what the classifier reads `[B, H]`, outputs `[B, C]` and their gradients.
  let pooled: UnsafeMutablePointer<Float>, features: UnsafeMutablePointer<Float>
  let outputs: UnsafeMutablePointer<Float>, dOutputs: UnsafeMutablePointer<Float>
  let dFeatures: UnsafeMutablePointer<Float>

  init(
    _ engine: Engine, head: Head, rows: Int, parameters: UnsafePointer<Float>, dropout: Dropout?,
    plan: inout Workspace.Plan
  ) {
    self.head = head
    configuration = engine.configuration
    offsets = engine.offsets
    self.parameters = parameters
    self.dropout = dropout
    contract = engine.contract
    let h = configuration.hiddenSize
    pooled = plan.take(rows * h)
    features = plan.take(rows * h)
    outputs = plan.take(rows * head.outputs)
    dOutputs = plan.take(rows * head.outputs)
    dFeatures = plan.take(rows * h)
  }

  private var poolerParameters: (weight: Int, bias: Int) {
    guard let weight = offsets.poolerWeight, let bias = offsets.poolerBias else {
      preconditionFailure("this model has no pooler")
    }
    return (weight, bias)
  }

  private var classifierParameters: (weight: Int, bias: Int) {
    guard let weight = offsets.classifierWeight, let bias = offsets.classifierBias else {
      preconditionFailure("this model has no classifier")
    }
    return (weight, bias)
  }

  /// `pooled = tanh(W [CLS] + b)` for rows `range` of `vectors [B, H]`.
  func pool(_ encoder: EncoderPass, _ vectors: UnsafePointer<Float>, _ range: Range<Int>) {
    let h = configuration.hiddenSize, (weight, bias) = poolerParameters
    let out = pooled + range.lowerBound * h
    encoder.dense(
      out, vectors + range.lowerBound * h, h, rows: range.count, outputs: h,
      weight: parameters + weight, bias: parameters + bias)
    forLanes(range.count * h) { i, n in out.store(VectorMath.tanh(out.lanes(i, n)), at: i, n) }
  }

  /// Outputs of rows `range` from the encoder's [CLS] vectors.
  func forward(
    _ encoder: EncoderPass, _ vectors: UnsafePointer<Float>, _ range: Range<Int>,
    mask: UnsafeMutablePointer<Float>
  ) {
    let h = configuration.hiddenSize, c = head.outputs, (weight, bias) = classifierParameters
    if head.usesPooler { pool(encoder, vectors, range) }
    for row in range {
      let source = (head.usesPooler ? UnsafePointer(pooled) : vectors) + row * h
      let out = features + row * h
      if let dropout {
        encoder.fillMask(mask, dropout, encoder.firsts, row, .headDropout, 0)
        forLanes(h) { i, n in out.store(source.lanes(i, n) * mask.lanes(i, n), at: i, n) }
      } else {
        out.update(from: source, count: h)
      }
    }
    encoder.dense(
      outputs + range.lowerBound * c, features + range.lowerBound * h, h, rows: range.count,
      outputs: c, weight: parameters + weight, bias: parameters + bias)
  }

  /// Loss of the batch, folded over leaves by the canonical tree; fills `dOutputs`.
  func loss(_ batch: PackedBatch) -> Double {
    let c = head.outputs
    var slots = [Double](repeating: 0, count: LeafFold.slots(leaves: batch.leaves.count) + 2)
    LeafFold.run(leaves: batch.leaves.count) { _ in
      false
    } produce: { leaf, slot, _ in
      slots[slot] = batch.leaves[leaf].reduce(0.0) { sum, row in
        let target = batch.sequences[row].target
        precondition(
          target.count == (head.loss == .softmax ? 1 : c),
          "sequence \(row) has \(target.count) target values, the head \(c) outputs")
        return sum
          + target.withUnsafeBufferPointer {
            HeadLoss.compute(
              outputs + row * c, target: $0.baseAddress.unsafelyUnwrapped, head: head,
              gradient: dOutputs + row * c)
          }
      }
    } merge: { from, into in
      slots[into] += slots[from]
    }
    return slots[0]
  }

  /// The gradient `d [B, H]` of the [CLS] vectors for rows `range`, from `dOutputs`.
  func backward(
    _ encoder: EncoderPass, into d: UnsafeMutablePointer<Float>, _ range: Range<Int>,
    mask: UnsafeMutablePointer<Float>
  ) {
    let h = configuration.hiddenSize, c = head.outputs, (weight, _) = classifierParameters
    let first = range.lowerBound
    let direct = head.usesPooler ? dFeatures : d
    RowProduct.backward(
      range.count, h, c, dOutputs + first * c, c, parameters + weight, accumulate: false,
      direct + first * h, h)
    for row in range {
      let out = direct + row * h
      if let dropout {
        encoder.fillMask(mask, dropout, encoder.firsts, row, .headDropout, 0)
        forLanes(h) { i, n in out.store(out.lanes(i, n) * mask.lanes(i, n), at: i, n) }
      }
      if head.usesPooler {
        let y = pooled + row * h
        forLanes(h) { i, n in
          let v = y.lanes(i, n)
          out.store(out.lanes(i, n) * (1 - v * v), at: i, n)
        }
      }
    }
    if head.usesPooler {
      RowProduct.backward(
        range.count, h, h, dFeatures + first * h, h, parameters + poolerParameters.weight,
        accumulate: false, d + first * h, h)
    }
  }

  /// The head's weight gradients.
  func weightGradients(
    _ vectors: UnsafePointer<Float>, _ target: GradientTarget, leafStarts: [Int]
  ) -> [WeightGradient] {
    let h = configuration.hiddenSize, c = head.outputs, classifier = classifierParameters
    var gradients = [
      WeightGradient(
        dy: dOutputs, ldy: c, x: features, ldx: h, outputs: c, inputs: h,
        weight: target.place(classifier.weight), bias: target.place(classifier.bias),
        leafStarts: leafStarts)
    ]
    if head.usesPooler {
      let pooler = poolerParameters
      gradients.append(
        WeightGradient(
          dy: dFeatures, ldy: h, x: vectors, ldx: h, outputs: h, inputs: h,
          weight: target.place(pooler.weight), bias: target.place(pooler.bias),
          leafStarts: leafStarts))
    }
    return gradients
  }
}
