/// Notices when a training no longer reads its inputs, says since when, and what to try.
///
/// BERT fine-tunes fail quietly: a step that is too large throws the weights to where every input gives the class
/// frequencies, and the loss stays at their entropy from then on. Nothing here changes a run; a resumed run is shown its log
/// first and says the same.
package struct CollapseDetector: Sendable {
  /// What a step's line of the log holds.
  package struct Observation: Sendable {
    /// Steps made, from 1.
    package var step: Int
    package var loss: Double
    package var learningRate: Double
    /// The gradient's norm by group; empty in logs that do not have it.
    package var norms: [Double]

    package init(step: Int, loss: Double, learningRate: Double, norms: [Double]) {
      self.step = step
      self.loss = loss
      self.learningRate = learningRate
      self.norms = norms
    }
  }

  /// What of the recipe a remedy speaks of.
  package struct Circumstances: Sendable {
    /// `Head.priorLoss`; nil where there is none.
    package var priorLoss: Double?
    /// `Head.leastLoss`.
    package var leastLoss: Double
    /// Whether the loss is that of disturbed inputs, or holds a divergence: a model that reads its inputs may then have more than the
    /// prior's, one that does not has just that.
    package var isRaised: Bool
    package var groups: [String]
    package var peakRate: Double
    package var clips: Bool
    package var totalSteps: Int

    package init(
      priorLoss: Double?, leastLoss: Double = 0, isRaised: Bool = false, groups: [String],
      peakRate: Double, clips: Bool, totalSteps: Int
    ) {
      self.priorLoss = priorLoss
      self.leastLoss = leastLoss
      self.isRaised = isRaised
      self.groups = groups
      self.peakRate = peakRate
      self.clips = clips
      self.totalSteps = totalSteps
    }
  }

  /// Steps whose median is taken for "the loss".
  package static let window = 50
  /// From this share of the way from the least loss to the prior's on nothing is learnt; below the second, something is.
  private static let nothing = 0.97, something = 0.9
  /// A gradient that many times the window's median is a spike.
  private static let spikeRatio = 20.0

  private let circumstances: Circumstances
  private var recent: [Observation] = []
  /// The best window, by the median of its losses.
  private var best: (loss: Double, step: Int)?
  private var first: Double?
  private var peakStep: Int?
  private var spike: (step: Int, ratio: Double, group: Int)?
  private var isCollapsed = false
  private var saidNothingLearnt = false

  package init(_ circumstances: Circumstances) { self.circumstances = circumstances }

  /// Takes in a step; returns a sentence when there is something to say.
  package mutating func observe(_ observation: Observation) -> String? {
    noteSpike(observation)
    if peakStep == nil, observation.learningRate >= circumstances.peakRate * 0.999 {
      peakStep = observation.step
    }
    recent.append(observation)
    if recent.count > Self.window { recent.removeFirst() }
    guard recent.count == Self.window else { return nil }
    let loss = Self.median(recent.map(\.loss))
    if first == nil { first = loss }
    defer { if loss < best?.loss ?? .infinity { best = (loss, observation.step) } }
    // Without a prior, the loss of the first steps stands in for it.
    let least = circumstances.leastLoss
    guard let idle = circumstances.priorLoss ?? first, idle > least, let best else { return nil }
    func share(_ loss: Double) -> Double { (loss - least) / (idle - least) }
    if isCollapsed {
      guard share(loss) < Self.something else { return nil }
      isCollapsed = false
      return "step \(observation.step): the loss has come down again, to \(Self.text(loss))"
    }
    if share(best.loss) < Self.something, share(loss) > Self.nothing {
      isCollapsed = true
      return
        "step \(observation.step): the model has collapsed: the loss of the last \(Self.window) steps is \(Self.text(loss)), "
        + "\(idleDescription(idle)); it was \(Self.text(best.loss)) around step \(best.step). "
        + explanation(observation)
    }
    let patience = max(4 * Self.window, (peakStep ?? 0) + 2 * Self.window)
    if !saidNothingLearnt, circumstances.priorLoss != nil, observation.step >= patience,
      share(best.loss) > Self.nothing, !circumstances.isRaised || share(loss) < 2 - Self.nothing
    {
      saidNothingLearnt = true
      return
        "step \(observation.step): nothing is learnt yet: the loss of the last \(Self.window) steps is \(Self.text(loss)), "
        + "\(idleDescription(idle)). " + explanation(observation)
    }
    return nil
  }

  private func idleDescription(_ idle: Double) -> String {
    circumstances.priorLoss == nil
      ? "that of the first \(Self.window) steps (\(Self.text(idle)))"
      : "that of always predicting how frequent each answer is (\(Self.text(idle)))"
  }

  // MARK: Gradients

  private mutating func noteSpike(_ observation: Observation) {
    let past = recent.filter { $0.norms.count == observation.norms.count }
    guard past.count >= 10, !observation.norms.isEmpty else { return }
    for group in observation.norms.indices {
      let usual = Self.median(past.map { $0.norms[group] })
      let ratio = usual > 0 ? observation.norms[group] / usual : 0
      if ratio > Self.spikeRatio, ratio > spike?.ratio ?? 0 {
        spike = (observation.step, ratio, group)
      }
    }
  }

  /// Groups that the gradient hardly reaches, by name.
  private func starved() -> [String] {
    let last = recent.map(\.norms)
    guard let groups = last.first?.count, groups > 1, last.allSatisfy({ $0.count == groups })
    else { return [] }
    let medians = (0..<groups).map { group in Self.median(last.map { $0[group] }) }
    let most = medians.max() ?? 0
    return medians.indices.filter { medians[$0] > 0 && medians[$0] < 1e-4 * most }.map {
      circumstances.groups[$0]
    }
  }

  // MARK: Words

  private func explanation(_ now: Observation) -> String {
    var parts: [String] = []
    if let spike {
      parts.append(
        "At step \(spike.step) the gradient of \(circumstances.groups[spike.group]) was \(Int(spike.ratio.rounded())) times its usual size."
      )
    }
    let starved = starved()
    if !starved.isEmpty {
      parts.append("The gradient hardly reaches \(starved.joined(separator: ", ")).")
    }
    if let peakStep {
      parts.append(
        "The learning rate reached \(Progress.scientific(circumstances.peakRate)) after \(peakStep) \(peakStep == 1 ? "step" : "steps")."
      )
    }
    var remedies = [
      "optimizer.learningRate: \(Progress.scientific(circumstances.peakRate / 2))"
    ]
    if let peakStep, peakStep < circumstances.totalSteps / 20 {
      remedies.append("schedule.warmupFraction: 0.1")
    }
    if !circumstances.clips { remedies.append("optimizer.clipNorm: 1") }
    remedies.append("another seed")
    parts.append(
      "Try \(remedies.joined(separator: ", or ")); where it has not been learning from the start, look at the rows with lockstep check."
    )
    return parts.joined(separator: " ")
  }

  /// Evaluations without a usable prediction after which that is no longer the usual start of a training.
  package static let evaluationPatience = 3

  /// What to add to a warning that `count` evaluations in a row have given; empty while they are few.
  package static func remedy(afterEvaluations count: Int, peakRate: Double) -> String {
    guard count >= evaluationPatience else { return "" }
    return
      " \(count) evaluations in a row have said so. Try optimizer.learningRate: \(Progress.scientific(peakRate / 2)), or more epochs, or another seed; "
      + "where it has never been otherwise, look at the rows with lockstep check."
  }

  private static func text(_ loss: Double) -> String { Progress.fixed(loss, 4) }

  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return (sorted[sorted.count / 2] + sorted[(sorted.count - 1) / 2]) / 2
  }
}
