extension Engine {
  /// Bytes that `gradient(of:)` takes beside parameters and gradient when `leavesAtOnce` leaves of
  /// `batch` are computed together: activations, partial sums of `gradientBytes` each if there are several chunks, and what threads multiply in.
  package func workingBytes(
    of batch: PackedBatch, leavesAtOnce: Int, recomputes: Bool = false, gradientBytes: Int,
    inferenceBytes: Int = 0
  ) -> Int {
    guard let head else { preconditionFailure("a gradient needs a head") }
    let leaves = batch.leaves.count
    let size = min(leavesAtOnce, leaves)
    let nowhere = Arena(count: 0)
    let settings = EncoderPass.Settings(
      trains: true, readsFirstTokensOnly: head.readsFirstTokensOnly,
      keepsLastSums: head.readsLastSums,
      depth: configuration.layerCount,
      recomputes: recomputes,
      dropout: (nil, Dropout(rate: configuration.attentionDropout, seed: 0, step: 0)))
    var most = 0
    for start in stride(from: 0, to: leaves, by: size) {
      let part = batch.leaves(start..<min(start + size, leaves))
      var plan = Workspace.Plan.measuring
      let encoder = EncoderPass(
        self, part, parameters: nowhere.base, settings: settings, plan: &plan)
      _ = makeHeadPass(
        head, part, parameters: nowhere.base,
        dropout: Dropout(rate: head.dropout, seed: 0, step: 0),
        trains: true, encoder: encoder, plan: &plan)
      most = max(most, plan.used)
    }
    let partials = LeafFold.slots(leaves: (leaves + size - 1) / size)
    let products = MatrixProduct.packedDepth == nil ? 0 : pool.threads * PackedProduct.threadBytes
    return max(most * MemoryLayout<Float>.stride, inferenceBytes) + partials * gradientBytes
      + products
  }

  /// The workspace of the outputs of `sequences`: that of the largest of the batches in which they are computed.
  package func inferenceBytes(of sequences: [SequenceInput]) -> Int {
    guard let head else { preconditionFailure("outputs need a head") }
    let batches = Self.inferenceBatches(sequences).map { numbers in
      (tokens: numbers.reduce(0) { $0 + sequences[$1].tokenCount }, numbers: numbers)
    }
    let settings = EncoderPass.Settings(
      trains: false, readsFirstTokensOnly: head.readsFirstTokensOnly,
      keepsLastSums: head.readsLastSums,
      depth: configuration.layerCount, dropout: (nil, nil))
    let nowhere = Arena(count: 0)
    // Most tokens, or the longest sequences, which are in the last one.
    let candidates = batches.sorted { $0.tokens > $1.tokens }.prefix(4) + batches.suffix(1)
    return candidates.map { candidate in
      let batch = Self.inferenceBatch(sequences, candidate.numbers)
      var plan = Workspace.Plan.measuring
      let encoder = EncoderPass(
        self, batch, parameters: nowhere.base, settings: settings, plan: &plan)
      _ = makeHeadPass(
        head, batch, parameters: nowhere.base, dropout: nil, trains: false, encoder: encoder,
        plan: &plan)
      return plan.used * MemoryLayout<Float>.stride
    }.max() ?? 0
  }
}
