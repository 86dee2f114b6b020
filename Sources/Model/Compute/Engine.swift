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

  /// Whether backward computes each layer's inner values anew from its input instead of keeping them: a third more time, a
  /// fraction of the memory, the same bits.
  package var recomputes = false

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
      hidden: configuration.hiddenSize, intermediate: configuration.intermediateSize,
      words: head?.readsWordTable == true ? configuration.vocabularySize : nil)
  }

  /// The sum of a step's losses, undivided.
  package struct StepLoss: Sendable, Equatable {
    /// Sum over the batch's sequences of each one's loss, folded by the canonical tree over leaves.
    package var numerator: Double
    /// The sum of each leaf, in order.
    package var leaves: [Double]
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
  /// need less memory. `closed` is called with an offset when all of `gradient` from there on is final, while backward of the last
  /// leaves goes on; `reading` with one before parameters in front of it are read, so that later ones may still be on their way.
  package func gradient(
    of batch: PackedBatch, parameters: Arena, into gradient: Arena, randomness: Randomness?,
    trainable: [Bool]? = nil, leavesAtOnce: Int? = nil,
    reading: (Int) -> Void = { _ in }, closed: (Int) -> Void = { _ in }
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
    var leafLosses: [Double] = []
    LeafFold.run(leaves: chunks) { _ in
      false
    } produce: { chunk, slot, _ in
      let part = batch.leaves(chunk * size..<min((chunk + 1) * size, leaves))
      let target = GradientTarget(arena: partial(slot, gradient), trained: trained)
      // The last chunk's sum goes down through all pending ones, whatever their number: each range as soon as it is there.
      let sums = chunk == chunks - 1 ? (0...slot).map { partial($0, gradient) } : []
      var open = table.count
      let loss = pass(
        part, parameters: parameters, randomness: randomness, target: target, reading: reading
      ) { offset in
        guard !sums.isEmpty else { return }
        fold(sums, in: offset..<open, trained: trained)
        open = offset
        closed(offset)
      }
      if sums.count > 1 {
        // Backward ends early above frozen layers.
        fold(sums, in: 0..<open, trained: trained)
        uniteTouchedRows(of: sums)
      }
      losses[slot] = loss.numerator
      leafLosses += loss.leaves
    } merge: { from, into in
      losses[into] += losses[from]
      guard leafLosses.count < leaves else { return }
      let sums = [partial(into, gradient), partial(from, gradient)]
      fold(sums, in: 0..<table.count, trained: trained)
      uniteTouchedRows(of: sums)
    }
    return StepLoss(numerator: losses[0], leaves: leafLosses)
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
    while pending.count < slot { pending.append(Arena(gradientOf: table)) }
    return pending[slot - 1]
  }

  /// Adds the last of `sums` onto the one before it, that onto the one before, down to the first, in the trained tensors that
  /// start in `range`.
  private func fold(_ sums: [Arena], in range: Range<Int>, trained: Set<Int>) {
    guard sums.count > 1 else { return }
    let tile = 1 << 14
    for parameter in table.parameters
    where range.contains(parameter.range.lowerBound)
      && trained.contains(parameter.range.lowerBound)
    {
      if parameter.name == ParameterTable.wordTable, foldTouchedRows(of: sums, parameter) {
        continue
      }
      let first = parameter.range.lowerBound, count = parameter.range.count
      pool.run((count + tile - 1) / tile) { part, _ in
        let start = first + part * tile, length = min(tile, count - part * tile)
        for into in (0..<sums.count - 1).reversed() {
          let x = sums[into].base + start, y = sums[into + 1].base + start
          forLanes(length) { i, n in x.store(x.lanes(i, n) + y.lanes(i, n), at: i, n) }
        }
      }
    }
  }

  /// `fold` in the rows of the word table that any of `sums` touches; false if one of them does not know its own.
  ///
  /// All other rows are zeros in all of them, whose sums are zeros again: they take no memory, and are not to.
  private func foldTouchedRows(of sums: [Arena], _ words: Parameter) -> Bool {
    let touched = sums.compactMap(\.touchedRows)
    guard touched.count == sums.count else { return false }
    let width = words.shape[1], block = 32
    var rows = Set(touched[sums.count - 1])
    for into in (0..<sums.count - 1).reversed() {
      rows.formUnion(touched[into])
      let all = Array(rows)
      let x = sums[into].base + words.range.lowerBound
      let y = sums[into + 1].base + words.range.lowerBound
      pool.run((all.count + block - 1) / block) { part, _ in
        for row in all[part * block..<min((part + 1) * block, all.count)] {
          let x = x + Int(row) * width, y = y + Int(row) * width
          forLanes(width) { i, n in x.store(x.lanes(i, n) + y.lanes(i, n), at: i, n) }
        }
      }
    }
    return true
  }

  /// Gives each of `sums` the touched rows of those behind it as well, as `fold` did with their values; nil if one of them does
  /// not know its own.
  private func uniteTouchedRows(of sums: [Arena]) {
    for into in (0..<sums.count - 1).reversed() {
      if let ours = sums[into].touchedRows, let theirs = sums[into + 1].touchedRows {
        sums[into].touchedRows = Set(ours).union(theirs).sorted()
      } else {
        sums[into].touchedRows = nil
      }
    }
  }

  /// Forward and backward of one chunk.
  private func pass(
    _ batch: PackedBatch, parameters: Arena, randomness: Randomness?, target: GradientTarget,
    reading: (Int) -> Void, closed: (Int) -> Void
  ) -> StepLoss {
    guard let head else { preconditionFailure("a gradient needs a head") }
    func dropout(_ rate: Float) -> Dropout? {
      randomness.flatMap { Dropout(rate: rate, seed: $0.seed, step: $0.step) }
    }
    let settings = EncoderPass.Settings(
      trains: true, readsFirstTokensOnly: head.readsFirstTokensOnly,
      keepsLastSums: head.readsLastSums,
      depth: configuration.layerCount,
      recomputes: recomputes,
      dropout: (dropout(configuration.hiddenDropout), dropout(configuration.attentionDropout)))
    let (encoder, headPass) = workspace.lay { plan in
      let encoder = EncoderPass(
        self, batch, parameters: parameters.base, settings: settings, plan: &plan)
      let headPass = makeHeadPass(
        head, batch, parameters: parameters.base, dropout: dropout(head.dropout), trains: true,
        encoder: encoder, plan: &plan)
      return (encoder, headPass)
    }
    guard let gradients = encoder.gradients, let last = encoder.layers.last else {
      preconditionFailure("a model without layers cannot be trained")
    }
    encoder.forward(reading: reading)
    reading(table.count)
    headPass.forward(encoder, last.output)
    let loss = headPass.loss(batch, pool: pool)
    headPass.backward(encoder, last.output, into: gradients.output)
    headPass.weightGradients(encoder, last.output, into: target)
    closed(offsets.head)
    if target.trainsAny(in: 0..<offsets.head) { encoder.backward(into: target, closed: closed) }
    return loss
  }

  /// Runs a pass without backward and hands it to `read`, with the last layer's rows.
  func infer<Result>(
    _ batch: PackedBatch, parameters: Arena, depth: Int, readsFirstTokensOnly: Bool,
    _ read: (EncoderPass, (any HeadPass)?, UnsafeMutablePointer<Float>) -> Result
  ) -> Result {
    // A head reads the rows that it is made for, or is not there.
    let head = head.flatMap { $0.readsFirstTokensOnly == readsFirstTokensOnly ? $0 : nil }
    let settings = EncoderPass.Settings(
      trains: false, readsFirstTokensOnly: readsFirstTokensOnly,
      keepsLastSums: head?.readsLastSums ?? false, depth: depth, dropout: (nil, nil))
    let (encoder, headPass) = workspace.lay { plan in
      let encoder = EncoderPass(
        self, batch, parameters: parameters.base, settings: settings, plan: &plan)
      let headPass = head.map {
        makeHeadPass(
          $0, batch, parameters: parameters.base, dropout: nil, trains: false, encoder: encoder,
          plan: &plan)
      }
      return (encoder, headPass)
    }
    encoder.forward()
    return read(encoder, headPass, encoder.layers.last?.output ?? encoder.embedded)
  }
}
