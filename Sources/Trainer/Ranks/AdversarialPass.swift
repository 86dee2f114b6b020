import Collective
import Model

/// How FGM is done.
package struct AdversarialSettings: Sendable, Equatable {
  /// The length ε of the step.
  package var epsilon: Double
  /// Whether the pass that finds the direction has dropout.
  package var hasDropout: Bool

  package init(epsilon: Double, hasDropout: Bool) {
    self.epsilon = epsilon
    self.hasDropout = hasDropout
  }
}

/// FGM: the step in the word table that raises the loss of the whole batch most, made before the gradient that is followed.
///
/// `Δ = ε g / (‖g‖ + 1e-8)` with the gradient `g` of the mean loss of the *global* batch in the word table, so that every rank disturbs alike.
/// Sources: Miyato, Dai, Goodfellow, "Adversarial training methods for semi-supervised text classification" (ICLR
/// 2017); bert4keras, `adversarial_training` (only the disturbed gradient updates).
final class AdversarialPass {
  private let settings: AdversarialSettings
  private let exchange: GradientExchange
  private let gradient: Arena
  private let table: GradientBuckets.WordTable
  /// The rows that were disturbed, and what they held.
  private var rows: [Int32] = []
  private var kept: [Float] = []

  /// - Throws: `CommunicationError` if the exchange's settings do not fit the ranks.
  init(
    _ settings: AdversarialSettings, group: RankGroup, engine: Engine, exchange: ExchangeSettings
  ) throws(CommunicationError) {
    self.settings = settings
    gradient = Arena(count: engine.table.count)
    // Only the word table's gradient is wanted, all of it on every rank, and apart from the other tensors.
    var exchange = exchange
    exchange.sendsTouchedRows = true
    let name = "bert.embeddings.word_embeddings.weight"
    self.exchange = try GradientExchange(
      group, engine: engine, gradient: gradient,
      trainable: engine.table.parameters.map { $0.name == name }, isSharded: false,
      settings: exchange)
    guard let table = self.exchange.buckets.wordTable else {
      preconditionFailure("a model without a word table")
    }
    self.table = table
  }

  /// Disturbs the word table of `parameters`; collective.
  func disturb(
    _ parameters: Arena, leaves: [[SequenceInput]], randomness: Engine.Randomness?,
    leavesAtOnce: Int?, denominator: Double, step: Int
  ) throws {
    _ = try exchange.sum(
      leaves: leaves, parameters: parameters,
      randomness: settings.hasDropout ? randomness : nil, leavesAtOnce: leavesAtOnce, step: step)
    rows = gradient.touchedRows ?? (0..<Int32(table.rows)).map { $0 }
    let width = table.width
    var total = 0.0
    for row in rows {
      total += OptimizerKernels.squareSum(
        gradient.base + table.range.lowerBound + Int(row) * width, count: width)
    }
    let scale = Float(
      settings.epsilon / (total.squareRoot() / denominator + 1e-8) / denominator)
    kept.removeAll(keepingCapacity: true)
    for row in rows {
      let start = table.range.lowerBound + Int(row) * width
      for i in start..<start + width {
        kept.append(parameters.base[i])
        parameters.base[i] += scale * gradient.base[i]
      }
    }
  }

  /// Puts back what `disturb` changed, bit for bit.
  func restore(_ parameters: Arena) {
    for (number, row) in rows.enumerated() {
      let start = table.range.lowerBound + Int(row) * table.width
      for i in 0..<table.width { parameters.base[start + i] = kept[number * table.width + i] }
    }
    rows = []
  }
}
