/// The head over [CLS] rows: pooler, dropout, classifier, loss.
struct SentencePass: HeadPass {
  let head: Head
  let hidden: Int
  let parameters: UnsafePointer<Float>
  /// Where the pooler's weight and bias lie.
  private let pooler: (weight: Int, bias: Int)?
  /// Pooler output `[B, H]` and the gradient of what the pooler computed before its tanh.
  private let pooled: UnsafeMutablePointer<Float>?, dPooled: UnsafeMutablePointer<Float>?
  private let classifier: HeadDense

  init(_ setting: HeadSetting, plan: inout Workspace.Plan) {
    head = setting.head
    hidden = setting.hidden
    parameters = setting.parameters
    let count = setting.rows * hidden
    if head.usesPooler {
      pooler = (
        setting.offset("bert.pooler.dense.weight"), setting.offset("bert.pooler.dense.bias")
      )
      pooled = plan.take(count)
      dPooled = setting.trains ? plan.take(count) : nil
    } else {
      (pooler, pooled, dPooled) = (nil, nil, nil)
    }
    classifier = HeadDense(setting, "classifier", outputs: head.outputs, plan: &plan)
  }

  /// `pooled = tanh(W [CLS] + b)` of all rows `[B, H]`; needs a head with a pooler.
  func pool(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) -> UnsafePointer<Float> {
    guard let pooler, let pooled else { preconditionFailure("this model has no pooler") }
    let h = hidden
    encoder.forEachTile(of: encoder.firsts) { range, _ in
      let out = pooled + range.lowerBound * h
      encoder.dense(
        out, rows + range.lowerBound * h, h, rows: range.count, outputs: h,
        weight: parameters + pooler.weight, bias: parameters + pooler.bias)
      forLanes(range.count * h) { i, n in out.store(VectorMath.tanh(out.lanes(i, n)), at: i, n) }
    }
    return UnsafePointer(pooled)
  }

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    let read = pooler == nil ? rows : pool(encoder, rows)
    encoder.forEachTile(of: encoder.firsts) { range, mask in
      classifier.forward(encoder, encoder.firsts, range, x: read, mask: mask)
    }
  }

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let c = head.outputs, target = batch.target(example)
    precondition(
      target.count == (head.loss == .softmax ? 1 : c),
      "example \(example) has \(target.count) target values, the head \(c) outputs")
    if let weight = head.regularization.rDrop {
      return twice(example, target, divergence: weight)
    }
    return target.withUnsafeBufferPointer {
      HeadLoss.compute(
        classifier.values + example * c, target: $0.baseAddress.unsafelyUnwrapped, head: head,
        gradient: classifier.gradient.map { $0 + example * c })
    }
  }

  /// R-Drop: the mean loss of two passes with dropout of their own, and their divergence.
  ///
  /// `(L₁ + L₂)/2 + α (KL(p‖q) + KL(q‖p))/2`; sigmoid outputs are two-valued distributions each.
  /// Source: Liang and others, "R-Drop: regularized dropout for neural networks" (NeurIPS 2021), as its authors' program has it. Equation 4 of the
  /// paper adds the two losses instead of averaging them, and Keras programs halve the whole of it: an α of theirs is α/2 here.
  private func twice(_ example: Int, _ target: [Float], divergence weight: Float) -> Double {
    let c = head.outputs, z1 = classifier.values + 2 * example * c, z2 = z1 + c
    let d1 = classifier.gradient.map { $0 + 2 * example * c }, d2 = d1.map { $0 + c }
    var loss = 0.0
    target.withUnsafeBufferPointer {
      for (z, d) in [(z1, d1), (z2, d2)] {
        loss +=
          HeadLoss.compute(
            z, target: $0.baseAddress.unsafelyUnwrapped, head: head, gradient: d) / 2
      }
    }
    if let d1 { for i in 0..<2 * c { d1[i] *= 0.5 } }
    return loss + Divergence.add(z1, z2, c, head.loss, weight: weight, d1, d2)
  }

  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    let h = hidden
    encoder.forEachTile(of: encoder.firsts) { range, mask in
      guard let pooler, let pooled, let dPooled else {
        classifier.backward(encoder, encoder.firsts, range, into: d, mask: mask)
        return
      }
      classifier.backward(encoder, encoder.firsts, range, into: dPooled, mask: mask)
      for row in range {
        let out = dPooled + row * h, y = pooled + row * h
        forLanes(h) { i, n in
          let v = y.lanes(i, n)
          out.store(out.lanes(i, n) * (1 - v * v), at: i, n)
        }
      }
      RowProduct.backward(
        range.count, h, h, dPooled + range.lowerBound * h, h, parameters + pooler.weight,
        accumulate: false, d + range.lowerBound * h, h)
    }
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    let h = hidden, starts = encoder.firsts.leafStarts
    var gradients = [
      classifier.weightGradient(
        x: pooled.map { UnsafePointer($0) } ?? rows, leafStarts: starts, into: target)
    ]
    if let pooler, let dPooled {
      gradients.append(
        WeightGradient(
          dy: dPooled, ldy: h, x: rows, ldx: h, outputs: h, inputs: h,
          weight: target.place(pooler.weight), bias: target.place(pooler.bias),
          leafStarts: starts))
    }
    encoder.compute(gradients)
  }

  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    let c = head.outputs
    return Array(UnsafeBufferPointer(start: classifier.values + example * c, count: c))
  }
}
