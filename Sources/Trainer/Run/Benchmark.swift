import Collective
import Foundation
import Model

/// What a benchmark computes.
package struct BenchmarkShape: Sendable {
  package var configuration: BertConfiguration
  /// Sequences of a step.
  package var batch: Int
  /// Tokens of a sequence, or of the longest.
  package var length: Int
  /// Whether lengths are spread evenly from an eighth of `length`.
  package var spreads: Bool
  package var leaves: Int
  package var leavesAtOnce: Int?
  package var recomputes = false
  package var dropout: Float

  package init(
    configuration: BertConfiguration, batch: Int, length: Int, spreads: Bool, leaves: Int,
    leavesAtOnce: Int?, dropout: Float
  ) {
    self.configuration = configuration
    self.batch = batch
    self.length = length
    self.spreads = spreads
    self.leaves = leaves
    self.leavesAtOnce = leavesAtOnce
    self.dropout = dropout
    self.configuration.hiddenDropout = dropout
    self.configuration.attentionDropout = dropout
  }

  /// The sequences' lengths `[B]`, always the same.
  package var lengths: [Int] {
    guard spreads else { return Array(repeating: length, count: batch) }
    let least = max(2, length / 8)
    // No generator, so that another program can be given the same batch (scripts/peers/shapes.py).
    return (0..<batch).map { batch == 1 ? length : least + (length - least) * $0 / (batch - 1) }
  }

  /// Operations of the encoder's products in a step: `6·W·T + 12·L·H·Σ S²`, `W = L (4H² + 2HF)`.
  package var operations: Double {
    let c = configuration
    let (h, f, l) = (Double(c.hiddenSize), Double(c.intermediateSize), Double(c.layerCount))
    let weights = l * (4 * h * h + 2 * h * f)
    let tokens = Double(lengths.reduce(0, +))
    let squares = lengths.reduce(0.0) { $0 + Double($1 * $1) }
    return 6 * weights * tokens + 12 * l * h * squares
  }
}

/// Timed training steps on random weights and rows.
package enum Benchmark {
  package struct Result: Sendable {
    package let medianSeconds: Double
    package let bestSeconds: Double
    /// Tokens of a step.
    package let tokens: Int
    /// Operations of a step.
    package let operations: Double
    /// Operations a second that plain single-threaded products reach on all threads, measured
    /// between the steps; the median.
    package let productRate: Double
    /// Seconds of a step in which the slowest rank waited for the exchange after its backward pass; the median.
    package let waitSeconds: Double
    /// The medians of this rank.
    package let trace: ExchangeTrace
    /// The share of what backward could hide of the exchange that it hid; the median.
    package let hiddenShare: Double
    /// Bytes that this rank sent in a step, all included, on average.
    package let sentBytes: Double
  }

  /// A model with all that makes its steps, as a run has them.
  private struct Trainee {
    let step: DistributedStep
    let leaves: [[SequenceInput]]
    let shape: BenchmarkShape

    init(
      _ shape: BenchmarkShape, group: RankGroup, exchange: ExchangeSettings, pool: ThreadPool
    ) throws {
      let head = Head(outputs: 2, loss: .softmax, usesPooler: true, dropout: shape.dropout)
      let engine = Engine(configuration: shape.configuration, head: head, pool: pool)
      engine.recomputes = shape.recomputes
      let table = engine.table
      let parameters = Arena(count: table.count)
      ParameterInitialization(seed: 1).fill(
        Set(table.parameters.map(\.name)), of: table, in: parameters,
        purpose: .modelInitialisation
      ) { _ in .uniform(limit: 0.035) }
      let optimizer = Optimizer(
        OptimizerSettings(.adamW, weightDecay: 0.01, clipping: .torch(1)), table: table,
        trainable: Array(repeating: true, count: table.parameters.count), pool: pool)
      step = try DistributedStep(
        group, engine: engine, optimizer: optimizer, parameters: parameters, settings: exchange)
      leaves = Benchmark.leaves(shape)
      self.shape = shape
    }

    /// Makes step `number`; returns its seconds.
    func run(_ number: Int) throws -> (seconds: Double, result: DistributedStep.Result) {
      let clock = ContinuousClock(), start = clock.now
      let result = try step.run(
        leaves: leaves, randomness: Engine.Randomness(seed: 1, step: number),
        leavesAtOnce: shape.leavesAtOnce, denominator: Double(shape.batch), learningRate: 1e-5,
        step: number)
      return ((clock.now - start).seconds, result)
    }
  }

  /// Runs `warmup` and then `steps` steps on the ranks of `group`; `progress` hears each one's number and seconds.
  ///
  /// Collective: all ranks measure, each for itself.
  package static func run(
    _ shape: BenchmarkShape, group: RankGroup, exchange: ExchangeSettings = ExchangeSettings(),
    threads: Int, warmup: Int, steps: Int, progress: (Int, Double) -> Void
  ) throws -> Result {
    try group.agree(on: [("the exchange of gradients", exchange.summary)])
    let pool = ThreadPool(threads: threads)
    defer { pool.stop() }
    let trainee = try Trainee(shape, group: group, exchange: exchange, pool: pool)
    let products = ProductSpeed(
      hidden: shape.configuration.hiddenSize, intermediate: shape.configuration.intermediateSize,
      pool: pool)
    // About a tenth of a step, so that a change of the machine's speed hits both alike.
    let product = Double(
      512 * shape.configuration.intermediateSize * shape.configuration.hiddenSize)
    let repetitions = max(
      1, Int(shape.operations / 20 / product / Double(threads * group.size)))
    var rates: [Double] = [], seconds: [Double] = [], waits: [Double] = []
    var traces: [ExchangeTrace] = [], sent = 0
    for step in 0..<warmup + steps {
      let before = group.collective.traffic.sentBytes
      let made = try trainee.run(step)
      progress(step + 1, made.seconds)
      // What is still on its way belongs to this step, and must not be measured with the products or the next one.
      try trainee.step.settle()
      guard step >= warmup else { continue }
      seconds.append(made.seconds)
      sent += group.collective.traffic.sentBytes - before
      traces.append(made.result.trace)
      waits.append(made.result.waitSeconds.max() ?? 0)
      rates.append(products.measure(repetitions: repetitions))
    }
    return Result(
      medianSeconds: median(seconds), bestSeconds: seconds.min() ?? 0,
      tokens: shape.lengths.reduce(0, +), operations: shape.operations,
      productRate: median(rates) * Double(group.size), waitSeconds: median(waits),
      trace: ExchangeTrace(
        busy: median(traces.map(\.busy)), hidden: median(traces.map(\.hidden)),
        hideable: median(traces.map(\.hideable))), hiddenShare: median(traces.map(\.share)),
      sentBytes: Double(sent) / Double(steps))
  }

  /// What leaves cost: steps with `shape.leaves` leaves and with one, in turns.
  ///
  /// Returns the ratio of each pair of neighbouring steps, after `warmup` pairs.
  package static func price(
    _ shape: BenchmarkShape, threads: Int, warmup: Int, pairs: Int,
    progress: (_ pair: Int, _ leaves: Double, _ one: Double) -> Void
  ) throws -> [Double] {
    let pool = ThreadPool(threads: threads)
    defer { pool.stop() }
    func trainee(_ leaves: Int) throws -> Trainee {
      var shape = shape
      shape.leaves = leaves
      return try Trainee(
        shape, group: .alone(leaves: leaves), exchange: ExchangeSettings(), pool: pool)
    }
    let (many, one) = (try trainee(shape.leaves), try trainee(1))
    var ratios: [Double] = []
    for pair in 0..<warmup + pairs {
      // In turns, so that neither is always the first.
      let times: (Double, Double)
      if pair.isMultiple(of: 2) {
        let first = try many.run(pair).seconds
        times = (first, try one.run(pair).seconds)
      } else {
        let first = try one.run(pair).seconds
        times = (try many.run(pair).seconds, first)
      }
      progress(pair + 1, times.0, times.1)
      if pair >= warmup { ratios.append(times.0 / times.1) }
    }
    return ratios
  }

  package static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted(), middle = values.count / 2
    return values.count.isMultiple(of: 2)
      ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
  }

  /// Rows of random ids, dealt to the leaves.
  private static func leaves(_ shape: BenchmarkShape) -> [[SequenceInput]] {
    let philox = Philox(seed: 2)
    let sequences = shape.lengths.enumerated().map { number, length in
      let ids = (0..<length).map { i in
        let word = philox.block(SIMD4(UInt32(i), UInt32(number), 0, 0))[0]
        return Int32((UInt64(word) * UInt64(shape.configuration.vocabularySize)) >> 32)
      }
      return SequenceInput(
        ids: ids, segments: Array(repeating: 0, count: length), exampleID: UInt64(number),
        target: [Float(number % 2)])
    }
    let dealt = LeafPlan.deal(
      lengths: shape.lengths, leaves: shape.leaves,
      cost: SequenceCost(
        hiddenSize: shape.configuration.hiddenSize,
        intermediateSize: shape.configuration.intermediateSize))
    return dealt.map { $0.map { sequences[$0] } }
  }
}
