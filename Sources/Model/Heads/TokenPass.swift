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
    classifier.forward(encoder, tokens: rows)
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
    classifier.backward(encoder, tokens: d)
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    encoder.compute([classifier.weightGradient(encoder, tokens: rows, into: target)])
  }

  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    classifier.values(ofExample: example, batch)
  }
}
