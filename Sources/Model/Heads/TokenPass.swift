/// The head that labels every token by itself: dropout, classifier, softmax.
///
/// As transformers' BertForTokenClassification; tokens without a label (−1) have no loss and no gradient.
struct TokenPass: HeadPass {
  private let classifier: HeadDense
  private let head: Head

  init(_ setting: HeadSetting, plan: inout Workspace.Plan) {
    head = setting.head
    classifier = HeadDense(setting, "classifier", outputs: head.outputs, plan: &plan)
  }

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    encoder.forEachTile(of: encoder.tokens) { range, mask in
      classifier.forward(encoder, encoder.tokens, range, x: rows, mask: mask)
    }
  }

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let c = head.outputs, first = batch.offsets[example], target = batch.target(example)
    let count = batch.offsets[example + 1] - first
    precondition(target.count == count, "\(target.count) labels of \(count) tokens")
    var loss = 0.0
    for (token, label) in target.enumerated() {
      let place = (first + token) * c
      let d = classifier.gradient.map { $0 + place }
      if label < 0 {
        d?.update(repeating: 0, count: c)
      } else {
        loss += HeadLoss.softmax(
          classifier.values + place, c, label: Int(label), d, head.regularization)
      }
    }
    return loss
  }

  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    encoder.forEachTile(of: encoder.tokens) { range, mask in
      classifier.backward(encoder, encoder.tokens, range, into: d, mask: mask)
    }
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    encoder.compute([
      classifier.weightGradient(x: rows, leafStarts: encoder.tokens.leafStarts, into: target)
    ])
  }

  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    let c = head.outputs, range = batch.offsets[example]..<batch.offsets[example + 1]
    return Array(
      UnsafeBufferPointer(start: classifier.values + range.lowerBound * c, count: range.count * c))
  }
}
