extension Engine {
  /// Bytes that `gradient(of:)` takes beside parameters and gradient when `leavesAtOnce` leaves of
  /// `batch` are computed together: activations, and partial sums of `gradientBytes` each if there are several chunks.
  package func workingBytes(
    of batch: PackedBatch, leavesAtOnce: Int, recomputes: Bool = false, gradientBytes: Int
  ) -> Int {
    guard let head else { preconditionFailure("a gradient needs a head") }
    let leaves = batch.leaves.count
    let size = min(leavesAtOnce, leaves)
    let nowhere = Arena(count: 0)
    let settings = EncoderPass.Settings(
      trains: true, readsFirstTokensOnly: head.readsFirstTokensOnly,
      depth: configuration.layerCount,
      recomputes: recomputes, dropout: (nil, nil))
    var most = 0
    for start in stride(from: 0, to: leaves, by: size) {
      let part = batch.leaves(start..<min(start + size, leaves))
      var plan = Workspace.Plan.measuring
      _ = EncoderPass(self, part, parameters: nowhere.base, settings: settings, plan: &plan)
      _ = makeHeadPass(
        head, part, parameters: nowhere.base,
        dropout: Dropout(rate: head.dropout, seed: 0, step: 0),
        trains: true, plan: &plan)
      most = max(most, plan.used)
    }
    let partials = LeafFold.slots(leaves: (leaves + size - 1) / size)
    return most * MemoryLayout<Float>.stride + partials * gradientBytes
  }
}
