/// The head that labels tokens together: dropout, classifier, linear-chain conditional random field.
///
/// The chain runs over the tokens that have a label (not −1), as if they were neighbours.
struct ChainPass: HeadPass {
  private let classifier: HeadDense
  private let crf: LinearChainCRF
  private let transitions: Int
  /// Each example's share of the transitions' gradient `[examples, C²]`.
  private let dTransitions: UnsafeMutablePointer<Float>?

  init(_ setting: HeadSetting, multiplier: Float, plan: inout Workspace.Plan) {
    let c = setting.head.outputs
    classifier = HeadDense(setting, "classifier", outputs: c, plan: &plan)
    transitions = setting.offset("crf.transitions")
    crf = LinearChainCRF(
      labels: c, transitions: setting.parameters + transitions, multiplier: multiplier)
    dTransitions = setting.trains ? plan.take(setting.batch.exampleCount * c * c) : nil
  }

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    classifier.forward(encoder, tokens: rows)
  }

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let c = crf.labels, first = batch.offsets[example], target = batch.target(example)
    let count = batch.offsets[example + 1] - first
    precondition(target.count == count, "\(target.count) labels of \(count) tokens")
    let chain = target.indices.filter { target[$0] >= 0 }
    let gold = chain.map { Int(target[$0]) }
    precondition(gold.allSatisfy { $0 < c }, "a label past \(c)")
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * chain.count * c + 1) {
      memory in
      guard let emissions = memory.baseAddress else { preconditionFailure("no memory") }
      let d = emissions + chain.count * c
      for (place, token) in chain.enumerated() {
        (emissions + place * c).initialize(
          from: classifier.values + (first + token) * c, count: c)
      }
      let loss = crf.loss(
        emissions, gold: gold, dEmissions: classifier.gradient == nil ? nil : d,
        dTransitions: dTransitions.map { $0 + example * c * c })
      if let gradient = classifier.gradient {
        (gradient + first * c).update(repeating: 0, count: count * c)
        for (place, token) in chain.enumerated() {
          (gradient + (first + token) * c).update(from: d + place * c, count: c)
        }
      }
      return loss
    }
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
    guard let place = target.place(transitions), let dTransitions else { return }
    let count = crf.labels * crf.labels
    ColumnSums.fold(
      place, dTransitions, count, columns: count, leafStarts: encoder.batch.exampleStarts)
  }

  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    classifier.values(ofExample: example, batch)
      + (0..<crf.labels * crf.labels).map { crf.transitions[$0] * crf.multiplier }
  }
}
