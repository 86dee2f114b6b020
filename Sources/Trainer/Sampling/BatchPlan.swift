/// Which rows each global step sees: a function of the step alone, so that a run resumes anywhere.
///
/// Step `s` of an epoch takes positions `[s·G, (s+1)·G)` of the epoch's order, `G = batchSize`. Every row
/// is seen exactly once an epoch; the last step is short, or left out with `dropsLast`.
package struct BatchPlan: Sendable, Equatable {
  /// Rows of the training split.
  package let count: Int
  /// Rows of a step `G`.
  package let batchSize: Int
  /// Leaves out an epoch's short last step.
  package let dropsLast: Bool
  /// Whether each epoch has an order of its own; else rows come in the order of the file.
  package let shuffles: Bool
  package let seed: UInt64

  package init(
    count: Int, batchSize: Int, dropsLast: Bool = false, shuffles: Bool = true, seed: UInt64
  ) {
    precondition(count >= 1 && batchSize >= 1, "\(count) rows in batches of \(batchSize)")
    self.count = count
    self.batchSize = batchSize
    self.dropsLast = dropsLast
    self.shuffles = shuffles
    self.seed = seed
  }

  /// Steps of an epoch; 0 if the only step would be short and short steps are dropped.
  package var stepsPerEpoch: Int {
    dropsLast ? count / batchSize : (count + batchSize - 1) / batchSize
  }

  /// Where a global step lies.
  package struct Place: Sendable, Equatable {
    package let epoch: Int
    package let stepInEpoch: Int
    /// Positions of the epoch's order.
    package let positions: Range<Int>

    package init(epoch: Int, stepInEpoch: Int, positions: Range<Int>) {
      self.epoch = epoch
      self.stepInEpoch = stepInEpoch
      self.positions = positions
    }
  }

  /// The place of global step `step`, counted from 0.
  package func place(ofStep step: Int) -> Place {
    precondition(step >= 0 && stepsPerEpoch > 0, "step \(step) with \(stepsPerEpoch) an epoch")
    let (epoch, stepInEpoch) = step.quotientAndRemainder(dividingBy: stepsPerEpoch)
    let start = stepInEpoch * batchSize
    return Place(
      epoch: epoch, stepInEpoch: stepInEpoch, positions: start..<min(start + batchSize, count))
  }

  /// The rows of `epoch` in the order in which they are seen.
  package func order(ofEpoch epoch: Int) -> [Int] {
    shuffles
      ? EpochOrder.permutation(count: count, seed: seed, epoch: epoch) : Array(0..<count)
  }
}

/// Reads a plan's rows step by step; keeps the current epoch's order and nothing that needs saving.
package struct BatchRows: Sendable {
  package let plan: BatchPlan
  private var epoch: Int?
  private var order: [Int] = []

  package init(_ plan: BatchPlan) { self.plan = plan }

  /// The rows of global step `step`, in the order of their positions.
  package mutating func rows(ofStep step: Int) -> [Int] {
    let place = plan.place(ofStep: step)
    if epoch != place.epoch {
      order = plan.order(ofEpoch: place.epoch)
      epoch = place.epoch
    }
    return Array(order[place.positions])
  }
}
