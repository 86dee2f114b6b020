import Collective
import Model

import Trainer

/// A small training from drawn weights: unequal lengths, dropout, clipping, two epochs with short last steps.
struct TinyRun: Sendable {
  var leaves = 8
  var rows = 31
  var batchSize = 13
  var method = OptimizerSettings.Method.adamW
  /// Names of frozen tensors begin with one of these.
  var frozen: [String] = []
  var configuration = BertConfiguration(
    vocabularySize: 8209, hiddenSize: 64, layerCount: 2, headCount: 4, intermediateSize: 96,
    maximumPositions: 32)
  let head = Head(outputs: 3, loss: .softmax, usesPooler: true, dropout: 0.1)

  var plan: BatchPlan { BatchPlan(count: rows, batchSize: batchSize, seed: 5) }
  var steps: Int { 2 * plan.stepsPerEpoch }

  /// Row `number`: its length and its words differ from all others'.
  func sequence(_ number: Int) -> SequenceInput {
    let philox = Philox(seed: 77)
    let words = (0..<8).flatMap { block in
      let block = philox.block(SIMD4(UInt32(number), UInt32(block), 0, 0))
      return (0..<4).map { block[$0] }
    }
    let length = 2 + Int(words[31] % 22)
    return SequenceInput(
      ids: words.prefix(length).map { Int32($0 % 100 == 0 ? 7 : $0 % 8209) },
      segments: (0..<length).map { $0 > length / 2 ? 1 : 0 }, exampleID: UInt64(number),
      target: [Float(words[30] % 3)])
  }

  /// By step and leaf.
  var leavesByStep: [[[SequenceInput]]] {
    var reader = BatchRows(plan)
    return (0..<steps).map { step in
      let sequences = reader.rows(ofStep: step).map(sequence)
      let dealt = LeafPlan.deal(lengths: sequences.map(\.ids.count), leaves: leaves)
      return dealt.map { $0.map { sequences[$0] } }
    }
  }

  var settings: OptimizerSettings {
    OptimizerSettings(method, weightDecay: 0.01, clipping: .torch(0.05))
  }

  func trainable(_ table: ParameterTable) -> [Bool] {
    table.parameters.map { parameter in !frozen.contains { parameter.name.hasPrefix($0) } }
  }

  func initialise(_ arena: Arena, _ table: ParameterTable) {
    let philox = Philox(seed: 3)
    for block in 0..<(arena.count + 3) / 4 {
      let words = philox.block(SIMD4(UInt32(block), 1, 0, 0))
      for lane in 0..<min(4, arena.count - 4 * block) {
        arena.base[4 * block + lane] = (Philox.unit(words[lane]) - 0.5) * 0.1
      }
    }
    for parameter in table.parameters where parameter.name.hasSuffix("LayerNorm.weight") {
      for i in parameter.range { arena.base[i] += 1 }
    }
  }

  /// What a run ends with: every bit of it.
  struct Outcome: Sendable, Equatable {
    var parameters: [UInt32]
    var losses: [Double]
    var norms: [Double]
    var digests: [UInt64]
  }

  /// Trains by the engine and the optimizer alone, without any of the code for ranks.
  func plainly() throws -> Outcome {
    let pool = ThreadPool(threads: 1)
    defer { pool.stop() }
    let engine = Engine(configuration: configuration, head: head, pool: pool)
    let parameters = Arena(count: engine.table.count), gradient = Arena(count: engine.table.count)
    initialise(parameters, engine.table)
    let trainable = trainable(engine.table)
    let optimizer = Optimizer(settings, table: engine.table, trainable: trainable, pool: pool)
    var outcome = Outcome(parameters: [], losses: [], norms: [], digests: [])
    for (step, leaves) in leavesByStep.enumerated() {
      let batch = PackedBatch(leaves: leaves)
      let loss = engine.gradient(
        of: batch, parameters: parameters, into: gradient,
        randomness: .init(seed: 9, step: step), trainable: trainable)
      outcome.losses.append(loss.numerator)
      outcome.norms.append(
        try optimizer.update(
          parameters: parameters, gradient: gradient,
          denominator: Double(batch.sequences.count), learningRate: 1e-3, step: step))
      outcome.digests.append(
        ParameterDigest.of(parameters, chunks: 0..<optimizer.chunkCount, pool: pool))
    }
    outcome.parameters = parameters.elements.map(\.bitPattern)
    return outcome
  }

  /// Trains as one rank of `collective`.
  ///
  /// Before step `resumed` the optimizer is told that its moments were replaced, as a resume does.
  func run(
    on collective: CollectiveEngine, threads: Int = 1, leavesAtOnce: Int? = nil,
    exchange: ExchangeSettings, resumesAt resumed: Int? = nil,
    spoil: ((_ step: Int, _ parameters: Arena, ParameterTable) -> Void)? = nil
  ) throws -> Outcome {
    let pool = ThreadPool(threads: threads)
    defer { pool.stop() }
    let group = try RankGroup(collective, leaves: leaves)
    let engine = Engine(configuration: configuration, head: head, pool: pool)
    let parameters = Arena(count: engine.table.count)
    initialise(parameters, engine.table)
    let optimizer = Optimizer(
      settings, table: engine.table, trainable: trainable(engine.table), pool: pool)
    let step = try DistributedStep(
      group, engine: engine, optimizer: optimizer, parameters: parameters, settings: exchange)
    var outcome = Outcome(parameters: [], losses: [], norms: [], digests: [])
    for (number, leaves) in leavesByStep.enumerated() {
      if number == resumed { optimizer.momentsWereReplaced() }
      if let spoil {
        try step.settle()
        spoil(number, parameters, engine.table)
      }
      let result = try step.run(
        leaves: leaves, randomness: .init(seed: 9, step: number), leavesAtOnce: leavesAtOnce,
        denominator: Double(leaves.reduce(0) { $0 + $1.count }), learningRate: 1e-3, step: number)
      outcome.losses.append(result.loss)
      outcome.norms.append(result.norm)
      outcome.digests.append(result.digest)
    }
    try step.settle()
    outcome.parameters = parameters.elements.map(\.bitPattern)
    return outcome
  }
}
