/// A head's work on one packed batch, in the order of the calls: outputs, loss, gradients.
///
/// `rows` are the last layer's: the [CLS] row of every sequence `[B, H]` where the head reads first tokens only,
/// every token `[T, H]` otherwise.
protocol HeadPass {
  /// Fills the outputs.
  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>)

  /// The loss of one example, undivided; fills the gradient of its outputs where the pass trains.
  ///
  /// Examples are computed side by side: a call touches what is its own.
  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double

  /// Writes the gradient of `rows` into `d`, after `loss` of every example.
  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>)

  /// Writes the gradients of the head's own tensors, after `backward`.
  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget)

  /// What the outputs of one example hold for whoever decodes them.
  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float]

  /// What is averaged over several models before it is decoded; `values` where those can be averaged themselves.
  ///
  /// `given`: the subjects that a relation head is asked for objects of; for GPLinker the objects as well, whose pairs are scored.
  func scores(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>,
    given spans: [HeadSpan]?
  ) -> [Float]
}

extension HeadPass {
  func scores(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>,
    given spans: [HeadSpan]?
  ) -> [Float] {
    values(ofExample: example, batch, rows: rows)
  }

  /// The loss of each leaf, its examples in order, and their sum by the canonical tree.
  func loss(_ batch: PackedBatch, pool: ThreadPool) -> Engine.StepLoss {
    let losses = exampleLosses(batch, pool: pool)
    let leaves = batch.leaves.indices.map {
      losses[batch.examples(ofLeaf: $0)].reduce(0, +)
    }
    var slots = [Double](repeating: 0, count: LeafFold.slots(leaves: batch.leaves.count) + 2)
    LeafFold.run(leaves: batch.leaves.count) { _ in
      false
    } produce: { leaf, slot, _ in
      slots[slot] = leaves[leaf]
    } merge: { from, into in
      slots[into] += slots[from]
    }
    return Engine.StepLoss(numerator: slots[0], leaves: leaves)
  }

  private func exampleLosses(_ batch: PackedBatch, pool: ThreadPool) -> [Double] {
    [Double](unsafeUninitializedCapacity: batch.exampleCount) { losses, count in
      let base = losses.baseAddress
      pool.run(batch.exampleCount) { example, _ in
        base?.advanced(by: example).initialize(to: loss(ofExample: example, batch))
      }
      count = batch.exampleCount
    }
  }
}

extension Engine {
  /// The pass of this engine's head over `batch`, laid out in `plan`.
  func makeHeadPass(
    _ head: Head, _ batch: PackedBatch, parameters: UnsafePointer<Float>, dropout: Dropout?,
    trains: Bool, encoder: EncoderPass, plan: inout Workspace.Plan
  ) -> any HeadPass {
    let setting = HeadSetting(
      engine: self, head: trains ? head : head.evaluated, batch: batch, parameters: parameters,
      dropout: dropout,
      trains: trains, lastSums: encoder.layers.last?.sum, dLastSums: encoder.gradients?.sum)
    switch head.kind {
    case .sentence: return SentencePass(setting, plan: &plan)
    case .tokens: return TokenPass(setting, plan: &plan)
    case .chain(let multiplier):
      return ChainPass(setting, multiplier: multiplier, plan: &plan)
    case .globalPointer: return GlobalPointerPass(setting, plan: &plan)
    case .subjectPointer:
      return PointerPass(
        setting, "pointer", hasBias: false, endsAfterStart: true, plan: &plan)
    case .span:
      return PointerPass(
        setting, "qa_outputs", hasBias: true, endsAfterStart: false, plan: &plan)
    case .relation(let relation): return RelationPass(setting, relation, plan: &plan)
    case .gplinker: return GPLinkerPass(setting, plan: &plan)
    case .maskedLanguageModel: return MaskedPass(setting, plan: &plan)
    case .siamese(let comparison): return SiamesePass(setting, comparison, plan: &plan)
    }
  }
}

/// What every head is made from.
struct HeadSetting {
  var engine: Engine
  var head: Head
  var batch: PackedBatch
  var parameters: UnsafePointer<Float>
  /// Of the vectors that the head reads; nil outside training.
  var dropout: Dropout?
  /// Whether gradients are wanted.
  var trains: Bool
  /// What the last layer's norm reads `[T, H]`, and where the head's gradient of it goes: for a head that `readsLastSums`.
  var lastSums: UnsafeMutablePointer<Float>?, dLastSums: UnsafeMutablePointer<Float>?

  var hidden: Int { engine.configuration.hiddenSize }
  /// Rows that the head reads.
  var rows: Int { head.readsFirstTokensOnly ? batch.sequences.count : batch.tokenCount }

  /// Where the tensor `name` of the head lies in the flat arenas.
  func offset(_ name: String) -> Int {
    guard let parameter = engine.table[name] else {
      preconditionFailure("this model has no \(name)")
    }
    return parameter.range.lowerBound
  }
}

extension EncoderPass {
  /// Runs `body` over the tiles of `rows`, each with a thread's scratch.
  func forEachTile(
    of rows: RowSet, _ body: (Range<Int>, UnsafeMutablePointer<Float>) -> Void
  ) {
    pool.run(rows.tiles.count) { tile, thread in body(rows.tiles[tile], scratch(of: thread)) }
  }

  /// Computes `gradients` as one job of many blocks.
  func compute(_ gradients: [WeightGradient]) {
    let blocks = gradients.enumerated().flatMap { i, d in
      d.blocks(rows: gradientBlockRows).map { (i, $0) }
    }
    pool.run(blocks.count) { task, thread in
      let (i, block) = blocks[task]
      gradients[i].compute(block, contract: contract, scratch: scratch(of: thread))
    }
  }
}
