/// The head that points at the first and the last token of a span: a softmax over the sequence for each.
///
/// `event-subject`: two dense layers without bias, and a true end is searched from the true start on, as the recipe of 2019
/// has it. Reading: one dense layer of two outputs (Google, transformers' BertForQuestionAnswering).
struct PointerPass: HeadPass {
  private let dense: HeadDense
  private let endsAfterStart: Bool

  init(
    _ setting: HeadSetting, _ name: String, hasBias: Bool, endsAfterStart: Bool,
    plan: inout Workspace.Plan
  ) {
    dense = HeadDense(setting, name, outputs: 2, hasBias: hasBias, plan: &plan)
    self.endsAfterStart = endsAfterStart
  }

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    dense.forward(encoder, tokens: rows)
  }

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let first = batch.offsets[example], count = batch.offsets[example + 1] - first
    let target = batch.target(example)
    precondition(target.count == 2, "a span has a start and an end, not \(target.count) numbers")
    let start = Int(target[0]), end = Int(target[1])
    precondition(start >= 0 && start <= end && end < count, "\(start)...\(end) of \(count) tokens")
    return loss(pointer: 0, first, 0..<count, label: start)
      + loss(pointer: 1, first, (endsAfterStart ? start : 0)..<count, label: end)
  }

  /// Cross-entropy of a softmax over the tokens `range` of the sequence that begins at row `first`.
  private func loss(pointer: Int, _ first: Int, _ range: Range<Int>, label: Int) -> Double {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * range.count) { memory in
      guard let z = memory.baseAddress else { preconditionFailure("no memory") }
      let d = z + range.count
      for (i, token) in range.enumerated() { z[i] = dense.values[(first + token) * 2 + pointer] }
      let loss = HeadLoss.softmax(
        z, range.count, label: label - range.lowerBound, dense.gradient == nil ? nil : d)
      if let gradient = dense.gradient {
        for token in 0..<range.upperBound { gradient[(first + token) * 2 + pointer] = 0 }
        for (i, token) in range.enumerated() { gradient[(first + token) * 2 + pointer] = d[i] }
      }
      return loss
    }
  }

  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    dense.backward(encoder, tokens: d)
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    encoder.compute([dense.weightGradient(encoder, tokens: rows, into: target)])
  }

  /// The logits of the start `[S]`, then those of the end `[S]`.
  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    let range = batch.offsets[example]..<batch.offsets[example + 1]
    return [0, 1].flatMap { pointer in range.map { dense.values[$0 * 2 + pointer] } }
  }
}
