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

  /// Operations of the encoder's products in a step: `6·P·T + 12·L·H·Σ S²`, `P = L (4H² + 2HF)`.
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
  }

  /// Runs `warmup` and then `steps` steps; `progress` hears each one's number and seconds.
  package static func run(
    _ shape: BenchmarkShape, threads: Int, warmup: Int, steps: Int,
    progress: (Int, Double) -> Void
  ) -> Result {
    let head = Head(outputs: 2, loss: .softmax, usesPooler: true, dropout: shape.dropout)
    let pool = ThreadPool(threads: threads)
    defer { pool.stop() }
    let engine = Engine(configuration: shape.configuration, head: head, pool: pool)
    engine.recomputes = shape.recomputes
    let table = engine.table
    let parameters = Arena(count: table.count)
    let gradient = Arena(count: table.count)
    ParameterInitialization(seed: 1).fill(
      Set(table.parameters.map(\.name)), of: table, in: parameters, purpose: .modelInitialisation
    ) { _ in .uniform(limit: 0.035) }
    let optimizer = Optimizer(
      OptimizerSettings(.adamW, weightDecay: 0.01, clipping: .torch(1)), table: table,
      trainable: Array(repeating: true, count: table.parameters.count), pool: pool)
    let batch = batch(shape)
    let products = ProductSpeed(
      hidden: shape.configuration.hiddenSize, intermediate: shape.configuration.intermediateSize,
      pool: pool)
    // About a tenth of a step, so that a change of the machine's speed hits both alike.
    let product = Double(
      512 * shape.configuration.intermediateSize * shape.configuration.hiddenSize)
    let repetitions = max(1, Int(shape.operations / 20 / product / Double(threads)))
    var rates: [Double] = []
    let clock = ContinuousClock()
    var seconds: [Double] = []
    for step in 0..<warmup + steps {
      let start = clock.now
      _ = engine.gradient(
        of: batch, parameters: parameters, into: gradient,
        randomness: Engine.Randomness(seed: 1, step: step), leavesAtOnce: shape.leavesAtOnce)
      do {
        try optimizer.update(
          parameters: parameters, gradient: gradient, denominator: Double(shape.batch),
          learningRate: 1e-5, step: step)
      } catch {
        preconditionFailure("random weights gave a gradient that is not finite: \(error)")
      }
      let time = (clock.now - start).seconds
      progress(step + 1, time)
      if step >= warmup {
        seconds.append(time)
        rates.append(products.measure(repetitions: repetitions))
      }
    }
    return Result(
      medianSeconds: median(seconds), bestSeconds: seconds.min() ?? 0, tokens: batch.tokenCount,
      operations: shape.operations, productRate: median(rates))
  }

  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted(), middle = values.count / 2
    return values.count.isMultiple(of: 2)
      ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
  }

  /// Rows of random ids, dealt to the leaves.
  private static func batch(_ shape: BenchmarkShape) -> PackedBatch {
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
    return PackedBatch(leaves: dealt.map { $0.map { sequences[$0] } })
  }
}
