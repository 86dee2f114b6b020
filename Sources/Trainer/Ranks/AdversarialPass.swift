import Collective
import Model

/// How FGM or PGD is done.
package struct AdversarialSettings: Sendable, Equatable {
  /// The length ε of FGM's step, and the radius of the ball that PGD stays in.
  package var epsilon: Double
  /// PGD's steps K; one: FGM.
  package var steps: Int
  /// The length α of each, at most ε.
  package var alpha: Double
  /// Whether the pass that finds the direction has dropout.
  package var hasDropout: Bool

  package init(epsilon: Double, steps: Int = 1, alpha: Double? = nil, hasDropout: Bool) {
    precondition(steps >= 1 && alpha ?? epsilon <= epsilon, "\(steps) steps of \(alpha ?? epsilon)")
    self.epsilon = epsilon
    self.steps = steps
    self.alpha = alpha ?? epsilon
    self.hasDropout = hasDropout
  }
}

/// FGM and PGD: the step or steps in the word table that raises the loss of the whole batch most, made before the gradient that is followed.
///
/// `Δ = ε g / (‖g‖ + 1e-8)` with the gradient `g` of the mean loss of the *global* batch in the word table, so that every rank disturbs alike.
/// PGD makes K such steps of length α, each along the gradient where the one before it led, and after each goes back to the ball of radius ε around
/// the table as it was: `Δ ← Δ · min(1, ε / ‖Δ‖)`. The norm is that of the whole table. With K = 1 and α = ε it is FGM, bit for bit.
/// Sources: Miyato, Dai, Goodfellow, "Adversarial training methods for semi-supervised text classification" (ICLR
/// 2017); bert4keras, `adversarial_training` (only the disturbed gradient updates); Madry and others, "Towards deep learning models
/// resistant to adversarial attacks" (ICLR 2018).
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
    gradient = Arena(gradientOf: engine.table)
    // Only the word table's gradient is wanted, all of it on every rank, and apart from the other tensors.
    var exchange = exchange
    exchange.sendsTouchedRows = true
    self.exchange = try GradientExchange(
      group, engine: engine, gradient: gradient,
      trainable: engine.table.parameters.map { $0.name == ParameterTable.wordTable },
      isSharded: false,
      settings: exchange)
    guard let table = self.exchange.buckets.wordTable else {
      preconditionFailure("a model without a word table")
    }
    self.table = table
  }

  /// Disturbs the word table of `parameters`, which is announced by `willChange`; collective.
  func disturb(
    _ parameters: Arena, leaves: [[SequenceInput]], randomness: Engine.Randomness?,
    leavesAtOnce: Int?, denominator: Double, step: Int, willChange: (_ step: Int) throws -> Void
  ) throws {
    for number in 0..<settings.steps {
      _ = try exchange.sum(
        leaves: leaves, parameters: parameters,
        randomness: settings.hasDropout ? randomness : nil, leavesAtOnce: leavesAtOnce, step: step)
      if number == 0 {
        try willChange(step)
        keep(parameters)
      }
      move(parameters, denominator: denominator)
      // A first step of at most the radius stays in the ball.
      if number > 0 { project(parameters) }
    }
  }

  /// Keeps the rows that the step's words touch.
  private func keep(_ parameters: Arena) {
    rows = gradient.touchedRows ?? (0..<Int32(table.rows)).map { $0 }
    kept.removeAll(keepingCapacity: true)
    for row in rows {
      let start = start(of: row)
      for i in start..<start + table.width { kept.append(parameters.base[i]) }
    }
  }

  private func start(of row: Int32) -> Int { table.range.lowerBound + Int(row) * table.width }

  /// Adds `α g / (‖g‖ + 1e-8)`.
  private func move(_ parameters: Arena, denominator: Double) {
    let width = table.width
    var total = 0.0
    for row in rows {
      total += OptimizerKernels.squareSum(gradient.base + start(of: row), count: width)
    }
    let scale = Float(
      settings.alpha / (total.squareRoot() / denominator + 1e-8) / denominator)
    for row in rows {
      let start = start(of: row)
      for i in start..<start + width { parameters.base[i] += scale * gradient.base[i] }
    }
  }

  /// Shortens what was added to the radius ε, if it is longer.
  private func project(_ parameters: Arena) {
    let width = table.width
    var total = 0.0
    for (number, row) in rows.enumerated() {
      let start = start(of: row)
      for i in 0..<width {
        let difference = Double(parameters.base[start + i] - kept[number * width + i])
        total += difference * difference
      }
    }
    let norm = total.squareRoot()
    guard norm > settings.epsilon else { return }
    let scale = Float(settings.epsilon / norm)
    for (number, row) in rows.enumerated() {
      let start = start(of: row)
      for i in 0..<width {
        let before = kept[number * width + i]
        parameters.base[start + i] = before + scale * (parameters.base[start + i] - before)
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
