/// Forward and backward passes of one model over packed batches.
///
/// An engine is used by one thread at a time; it spreads the work over its pool.
package final class Engine {
  package let configuration: BertConfiguration
  package let head: Head?
  package let table: ParameterTable
  package let pool: ThreadPool
  /// What was measured of the BLAS kernels for this model's shapes.
  package let contract: BLASContract

  let offsets: ParameterOffsets
  private let workspace = Workspace()
  /// Subtree sums of earlier chunks, by level, when a step is computed in several chunks.
  private var pending: [Arena] = []

  package init(configuration: BertConfiguration, head: Head?, pool: ThreadPool) {
    self.configuration = configuration
    self.head = head
    table = ParameterTable(configuration, head: head)
    self.pool = pool
    offsets = ParameterOffsets(table, layerCount: configuration.layerCount)
    contract = BLASContract(
      hidden: configuration.hiddenSize, intermediate: configuration.intermediateSize)
  }

  /// The sum of a step's losses, undivided.
  package struct StepLoss: Sendable, Equatable {
    /// Sum over the batch's sequences of each one's loss, folded by the canonical tree over leaves.
    package var numerator: Double
  }

  /// What makes a step's dropout: nil switches it off.
  package struct Randomness: Sendable {
    package var seed: UInt64
    /// The global step.
    package var step: Int

    package init(seed: UInt64, step: Int) {
      self.seed = seed
      self.step = step
    }
  }

  /// Writes the gradient of the *summed* loss of `batch` (undivided) into `gradient`.
  ///
  /// The result is the canonical binary tree over the batch's leaves; it does not depend on the
  /// number of threads or on `leavesAtOnce`.
  ///
  /// `trainable` holds one flag for each of `table.parameters`: the gradient of a frozen tensor is left
  /// as it is and costs nothing. `leavesAtOnce` (a power of two) leaves are computed together: fewer
  /// need less memory. `closed` is called with an offset when all of `gradient` from there on is final.
  package func gradient(
    of batch: PackedBatch, parameters: Arena, into gradient: Arena, randomness: Randomness?,
    trainable: [Bool]? = nil, leavesAtOnce: Int? = nil, closed: (Int) -> Void = { _ in }
  ) -> StepLoss {
    precondition(
      parameters.count == table.count && gradient.count == table.count,
      "arenas of \(parameters.count) and \(gradient.count) elements for a table of \(table.count)")
    let trained = trainedOffsets(trainable)
    let leaves = batch.leaves.count
    let size = min(leavesAtOnce ?? leaves, leaves)
    precondition(size > 0 && size & (size - 1) == 0, "\(size) leaves at once: no power of two")
    let chunks = (leaves + size - 1) / size
    var losses = [Double](repeating: 0, count: LeafFold.slots(leaves: chunks) + 2)
    LeafFold.run(leaves: chunks) { _ in
      false
    } produce: { chunk, slot, _ in
      let part = batch.leaves(chunk * size..<min((chunk + 1) * size, leaves))
      let target = GradientTarget(arena: partial(slot, gradient), trained: trained)
      losses[slot] = pass(
        part, parameters: parameters, randomness: randomness, target: target,
        closed: chunks == 1 ? closed : { _ in })
    } merge: { from, into in
      losses[into] += losses[from]
      add(partial(from, gradient), onto: partial(into, gradient), trained: trained)
    }
    if chunks > 1 { closed(0) }
    return StepLoss(numerator: losses[0])
  }

  private func trainedOffsets(_ trainable: [Bool]?) -> Set<Int> {
    let flags = trainable ?? [Bool](repeating: true, count: table.parameters.count)
    precondition(
      flags.count == table.parameters.count,
      "\(flags.count) trainable flags for \(table.parameters.count) tensors")
    return Set(zip(table.parameters, flags).lazy.filter(\.1).map(\.0.range.lowerBound))
  }

  private func partial(_ slot: Int, _ gradient: Arena) -> Arena {
    if slot == 0 { return gradient }
    while pending.count < slot { pending.append(Arena(count: table.count)) }
    return pending[slot - 1]
  }

  private func add(_ source: Arena, onto sum: Arena, trained: Set<Int>) {
    if let ours = sum.touchedRows, let theirs = source.touchedRows {
      sum.touchedRows = Set(ours).union(theirs).sorted()
    } else {
      sum.touchedRows = nil
    }
    let tile = 1 << 16
    for parameter in table.parameters where trained.contains(parameter.range.lowerBound) {
      let x = sum.base + parameter.range.lowerBound, y = source.base + parameter.range.lowerBound
      let count = parameter.range.count
      pool.run((count + tile - 1) / tile) { part, _ in
        let start = part * tile
        forLanes(min(tile, count - start)) { i, n in
          x.store(x.lanes(start + i, n) + y.lanes(start + i, n), at: start + i, n)
        }
      }
    }
  }

  /// Forward and backward of one chunk.
  private func pass(
    _ batch: PackedBatch, parameters: Arena, randomness: Randomness?, target: GradientTarget,
    closed: (Int) -> Void
  ) -> Double {
    guard let head else { preconditionFailure("a gradient needs a head") }
    func dropout(_ rate: Float) -> Dropout? {
      randomness.flatMap { Dropout(rate: rate, seed: $0.seed, step: $0.step) }
    }
    let settings = EncoderPass.Settings(
      trains: true, readsFirstTokensOnly: true, depth: configuration.layerCount,
      dropout: (dropout(configuration.hiddenDropout), dropout(configuration.attentionDropout)))
    let (encoder, headPass) = workspace.lay { plan in
      let encoder = EncoderPass(
        self, batch, parameters: parameters.base, settings: settings, plan: &plan)
      let headPass = HeadPass(
        self, head: head, rows: batch.sequences.count, parameters: parameters.base,
        dropout: dropout(head.dropout), plan: &plan)
      return (encoder, headPass)
    }
    guard let gradients = encoder.gradients, let last = encoder.layers.last else {
      preconditionFailure("a model without layers cannot be trained")
    }
    encoder.forward()
    let tiles = encoder.firsts.tiles
    pool.run(tiles.count) { tile, thread in
      headPass.forward(encoder, last.output, tiles[tile], mask: encoder.scratch(of: thread))
    }
    let loss = headPass.loss(batch)
    pool.run(tiles.count) { tile, thread in
      headPass.backward(
        encoder, into: gradients.output, tiles[tile], mask: encoder.scratch(of: thread))
    }
    let weights = headPass.weightGradients(
      last.output, target, leafStarts: encoder.firsts.leafStarts)
    for gradient in weights {
      let blocks = gradient.blocks
      pool.run(blocks.count) { block, thread in
        gradient.compute(
          blocks[block], contract: contract, scratch: encoder.scratch(of: thread))
      }
    }
    let headStart = offsets.poolerWeight ?? offsets.classifierWeight ?? table.count
    closed(headStart)
    if target.trainsAny(in: 0..<headStart) { encoder.backward(into: target, closed: closed) }
    return loss
  }

  /// Bytes of workspace that a training step over `batch` takes, the arenas of partial sums included.
  package func workspaceBytes(for batch: PackedBatch, leavesAtOnce: Int? = nil) -> Int {
    let leaves = batch.leaves.count, size = min(leavesAtOnce ?? leaves, leaves)
    var largest = 0
    for start in stride(from: 0, to: leaves, by: size) {
      let part = batch.leaves(start..<min(start + size, leaves))
      var plan = Workspace.Plan.measuring
      let settings = EncoderPass.Settings(
        trains: true, readsFirstTokensOnly: true, depth: configuration.layerCount,
        dropout: (nil, nil))
      let nowhere = UnsafePointer<Float>(bitPattern: 64).unsafelyUnwrapped
      _ = EncoderPass(self, part, parameters: nowhere, settings: settings, plan: &plan)
      if let head {
        _ = HeadPass(
          self, head: head, rows: part.sequences.count, parameters: nowhere, dropout: nil,
          plan: &plan)
      }
      largest = max(largest, plan.used)
    }
    let partials = LeafFold.slots(leaves: (leaves + size - 1) / size)
    return (largest + partials * table.count) * MemoryLayout<Float>.stride
  }

  /// Runs a pass without backward and hands it to `read`.
  func infer<Result>(
    _ batch: PackedBatch, parameters: Arena, depth: Int, readsFirstTokensOnly: Bool,
    _ read: (EncoderPass, HeadPass?, UnsafeMutablePointer<Float>) -> Result
  ) -> Result {
    let settings = EncoderPass.Settings(
      trains: false, readsFirstTokensOnly: readsFirstTokensOnly, depth: depth,
      dropout: (nil, nil))
    let (encoder, headPass) = workspace.lay { plan in
      let encoder = EncoderPass(
        self, batch, parameters: parameters.base, settings: settings, plan: &plan)
      let headPass = head.map {
        HeadPass(
          self, head: $0, rows: batch.sequences.count, parameters: parameters.base, dropout: nil,
          plan: &plan)
      }
      return (encoder, headPass)
    }
    encoder.forward()
    return read(encoder, headPass, encoder.layers.last?.output ?? encoder.embedded)
  }
}

extension PackedBatch {
  /// The batch of some of its leaves.
  func leaves(_ range: Range<Int>) -> PackedBatch {
    range.count == leaves.count
      ? self : PackedBatch(leaves: range.map { Array(sequences[leaves[$0]]) })
  }
}
