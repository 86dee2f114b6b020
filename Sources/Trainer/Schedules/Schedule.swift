/// A learning rate as a pure function of the global step: nothing is counted, so a resumed run, and
/// every rank, reads the same value.
///
/// Steps count optimizer updates from 0; `warmup`, `total` and the like are numbers of updates.
/// Sources: google-research/bert `optimization.py`; transformers `optimization.py`; keras-bert
/// `AdamWarmup`; bert4keras `extend_with_piecewise_linear_lr`; the 2019 recipes' `on_batch_begin`.
package enum Schedule: Sendable, Equatable {
  case constant(rate: Double)
  /// The 2019 recipes: up over the first epoch, down to `low` over the second, `low` from then on.
  case twoEpoch(stepsPerEpoch: Int, peak: Double = 5e-5, low: Double = 1e-5)
  /// Google: decay is counted from step 0, so the rate jumps down where warm-up ends.
  case google(peak: Double, warmup: Int, total: Int)
  /// Hugging Face `linear`.
  case linear(peak: Double, warmup: Int, total: Int)
  /// Hugging Face `cosine`, and `cosine_with_min_lr` when `minimumRatio` is not 0.
  case cosine(peak: Double, warmup: Int, total: Int, minimumRatio: Double = 0)
  /// Hugging Face `cosine_with_restarts`.
  case cosineWithRestarts(peak: Double, warmup: Int, total: Int, cycles: Int)
  /// Hugging Face `polynomial`.
  case polynomial(peak: Double, warmup: Int, total: Int, power: Double = 1, end: Double = 1e-7)
  /// Hugging Face `inverse_sqrt` with its default time scale: `warmup` steps, or 10,000 without warm-up.
  case inverseSquareRoot(peak: Double, warmup: Int)
  /// Hugging Face `warmup_stable_decay`: linear up, level, cosine down to 0.
  case warmupStableDecay(peak: Double, warmup: Int, stable: Int, decay: Int)
  /// Hugging Face `constant_with_warmup`.
  case constantWithWarmup(peak: Double, warmup: Int)
  /// keras-bert `AdamWarmup`, whose steps count from 1 and whose decay from the first of them.
  case adamWarmup(peak: Double, warmup: Int, total: Int, low: Double = 0)
  /// bert4keras: `peak` times a multiplier, linear between the points, constant after the last.
  ///
  /// Points need rising steps. Unless one stands at step 0 the multiplier rises from 0 there: the
  /// first update then moves nothing.
  case piecewiseLinear(peak: Double, points: [Point])

  /// A multiplier that holds at a step.
  package struct Point: Sendable, Equatable {
    package var step: Int
    package var multiplier: Double

    package init(step: Int, multiplier: Double) {
      self.step = step
      self.multiplier = multiplier
    }
  }

  /// The learning rate of the update that takes global step `step` (from 0) to `step + 1`.
  package func rate(at step: Int) -> Double {
    precondition(step >= 0, "learning rate of step \(step)")
    let t = Double(step)
    switch self {
    case .constant(let rate):
      return rate
    case .twoEpoch(let stepsPerEpoch, let peak, let low):
      let s = Double(stepsPerEpoch)
      if step < stepsPerEpoch { return (t + 1) / s * peak }
      if step >= 2 * stepsPerEpoch { return low }
      return (2 - (t + 1) / s) * (peak - low) + low
    case .google(let peak, let warmup, let total):
      if step < warmup { return peak * t / Double(warmup) }
      return peak * (1 - Double(min(step, total)) / Double(max(1, total)))
    case .adamWarmup(let peak, let warmup, let total, let low):
      if step < warmup { return peak * (t + 1) / Double(warmup) }
      return low + (peak - low) * (1 - Double(min(step + 1, total)) / Double(max(1, total)))
    case .piecewiseLinear(let peak, let points):
      return peak * Self.multiplier(at: step, points: points)
    case .linear(let peak, let warmup, _), .cosine(let peak, let warmup, _, _),
      .cosineWithRestarts(let peak, let warmup, _, _), .polynomial(let peak, let warmup, _, _, _),
      .inverseSquareRoot(let peak, let warmup), .warmupStableDecay(let peak, let warmup, _, _),
      .constantWithWarmup(let peak, let warmup):
      if step < warmup { return peak * t / Double(max(1, warmup)) }
      return peak * huggingFaceFactor(at: step)
    }
  }
}

extension Schedule {
  /// What Hugging Face's schedules multiply the peak rate with once warm-up is over.
  private func huggingFaceFactor(at step: Int) -> Double {
    /// The share of the steps after warm-up that is over; past 1 after the last.
    func progress(_ warmup: Int, _ total: Int) -> Double {
      Double(step - warmup) / Double(max(1, total - warmup))
    }
    switch self {
    case .linear(_, let warmup, let total):
      return max(0, Double(total - step) / Double(max(1, total - warmup)))
    case .cosine(_, let warmup, let total, let minimumRatio):
      let factor = 0.5 * (1 + PortableMath.cosine(ofPiTimes: progress(warmup, total)))
      return max(0, factor * (1 - minimumRatio) + minimumRatio)
    case .cosineWithRestarts(_, let warmup, let total, let cycles):
      let done = progress(warmup, total)
      if done >= 1 { return 0 }
      let inCycle = (Double(cycles) * done).truncatingRemainder(dividingBy: 1)
      return max(0, 0.5 * (1 + PortableMath.cosine(ofPiTimes: inCycle)))
    case .polynomial(let peak, let warmup, let total, let power, let end):
      if step > total { return end / peak }
      let remaining = total > warmup ? 1 - progress(warmup, total) : 0
      return ((peak - end) * PortableMath.power(remaining, to: power) + end) / peak
    case .inverseSquareRoot(_, let warmup):
      let timescale = warmup == 0 ? 10_000 : warmup
      return 1 / (Double(step + timescale - warmup) / Double(timescale)).squareRoot()
    case .warmupStableDecay(_, let warmup, let stable, let decay):
      let falling = step - warmup - stable
      if falling < 0 { return 1 }
      if falling >= decay { return 0 }
      return max(
        0, 0.5 * (1 + PortableMath.cosine(ofPiTimes: Double(falling) / Double(max(1, decay)))))
    case .constantWithWarmup, .constant, .twoEpoch, .google, .adamWarmup, .piecewiseLinear:
      return 1
    }
  }

  private static func multiplier(at step: Int, points: [Point]) -> Double {
    precondition(!points.isEmpty, "a piecewise linear schedule of \(points.count) points")
    var previous = points[0].step == 0 ? points[0] : Point(step: 0, multiplier: 0)
    for point in points where point.step > 0 {
      precondition(
        point.step > previous.step, "point at step \(point.step) after step \(previous.step)")
      if step < point.step {
        let share = Double(step - previous.step) / Double(point.step - previous.step)
        return previous.multiplier + (point.multiplier - previous.multiplier) * share
      }
      previous = point
    }
    return previous.multiplier
  }
}
