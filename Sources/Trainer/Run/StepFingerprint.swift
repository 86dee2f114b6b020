import Foundation
import Model

/// All that one step of a run computes, leaf by leaf and tensor by tensor, as digests: two runs are compared with one model at a time
/// in memory.
///
/// Digests are by tensor, in the order of the forward pass.
struct StepFingerprint {
  /// Steps of the checkpoint it was recomputed from; 0: from the beginning.
  var start: Int
  var tensors: [String]
  /// The parameters before the step.
  var before: [UInt64]
  /// The optimizer's state before the step, by suffix.
  var state: [(suffix: String, digests: [UInt64])]
  /// `[M]`: the sequences of each leaf.
  var leaves: [[SequenceInput]]
  /// `[M]`: the loss of each leaf, undivided.
  var losses: [Double] = []
  /// `[M]`: the gradient of each leaf.
  var gradients: [[UInt64]] = []
  var learningRate = 0.0
  /// The parameters after the step.
  var after: [UInt64] = []
  /// What the log should say of the step.
  var logged = LoggedStep(step: 0)
}

/// The gradient of one leaf of one step, before it is looked at.
///
/// Tests change it, as a defective kernel would.
package typealias LeafGradientObserver = (
  _ step: Int, _ leaf: Int, _ gradient: Arena, ParameterTable
) -> Void

extension TrainingRun {
  /// Recomputes the run from the last checkpoint before step `target` (from 1), or from its beginning, and returns what that
  /// step computes.
  ///
  /// - Throws: `RunError` if a step on the way there does not give what the log says.
  func fingerprint(ofStep target: Int, observe: LeafGradientObserver?) throws -> StepFingerprint {
    guard let files else { preconditionFailure("a rank without the run's files cannot verify it") }
    let log = try LoggedStep.byStep(files.directory.metrics)
    let start = try restore(files, before: target, log)
    var rows = BatchRows(prepared.batches)
    for step in start..<target - 1 {
      let made = try advance(step: step, rows: rows.rows(ofStep: step)) { (false, false) }
      let here = LoggedStep(made, step: step)
      if let said = log[step + 1], let (field, computed, logged) = here.difference(from: said) {
        throw RunError(
          .disagreement,
          "Step \(step + 1) of it, before, is not reproduced here: the \(field) is \(computed) and \(logged) in its log."
        )
      }
    }
    let step = target - 1, batch = rows.rows(ofStep: step)
    let table = prepared.table
    func digests(_ arena: Arena) -> [UInt64] {
      ParameterDigest.byTensor(arena, table, pool: engine.pool)
    }
    try trainingStep.settle()
    var found = StepFingerprint(
      start: start, tensors: table.parameters.map(\.name), before: digests(parameters),
      state: optimizer.stateArenas.map { ($0.suffix, digests($0.arena)) },
      leaves: prepared.leaves(of: prepared.inputs(ofRows: batch, step: step)))
    trainingStep.leafGradients(
      found.leaves, randomness: Engine.Randomness(seed: prepared.recipe.seed, step: step)
    ) { leaf, loss, gradient in
      observe?(target, leaf, gradient, table)
      found.losses.append(loss)
      found.gradients.append(digests(gradient))
    }
    let made = try advance(step: step, rows: batch) { (false, false) }
    try trainingStep.settle()
    found.learningRate = made.rate
    found.after = digests(parameters)
    found.logged = LoggedStep(made, step: step)
    return found
  }
}

extension StepFingerprint {
  /// The first thing in which the step differs from `other`, in the order of computing, in sentences; nil where all is the same.
  ///
  /// `names`: of this run and of the other.
  func difference(from other: StepFingerprint, names: (String, String)) -> String? {
    guard tensors == other.tensors else {
      return "The models have other tensors (\(tensors.count) and \(other.tensors.count))."
    }
    guard leaves.count == other.leaves.count else {
      return "The steps have \(leaves.count) and \(other.leaves.count) leaves."
    }
    if let parameters = tensorSentence(before, other.before) {
      return "The parameters before the step differ already: \(parameters)."
    }
    let states = zip(state, other.state).compactMap { own, others in
      tensorSentence(own.digests, others.digests, suffix: ".\(own.suffix)")
    }
    let leaf = leafSentence(other, names)
    if let state = states.first {
      return "The optimizer's state before the step differs already: \(state). "
        + (leaf ?? "The gradients of all leaves are the same. ") + updateSentence(other)
    }
    if let leaf { return leaf + updateSentence(other) }
    guard after != other.after || learningRate != other.learningRate else { return nil }
    return "The gradients of all \(leaves.count) leaves are the same. " + updateSentence(other)
  }

  /// The first leaf that differs, by rows, loss and gradient.
  private func leafSentence(_ other: StepFingerprint, _ names: (String, String)) -> String? {
    let differing = leaves.indices.filter {
      leaves[$0] != other.leaves[$0] || losses[$0] != other.losses[$0]
        || gradients[$0] != other.gradients[$0]
    }
    guard let leaf = differing.first else { return nil }
    let more = differing.count > 1 ? "; \(differing.count) leaves differ" : ""
    var text = "Leaf \(leaf + 1) of \(leaves.count) is the first that differs\(more). "
    text += rowSentence(leaves[leaf], other.leaves[leaf], names)
    text +=
      losses[leaf] == other.losses[leaf]
      ? "Its loss is the same, \(losses[leaf]). "
      : "Its loss is \(losses[leaf]) in \(names.0) and \(other.losses[leaf]) in \(names.1). "
    text +=
      tensorSentence(gradients[leaf], other.gradients[leaf], isGradient: true).map {
        "In its gradient \($0). "
      } ?? "Its gradient is the same. "
    return text
  }

  private func rowSentence(
    _ own: [SequenceInput], _ others: [SequenceInput], _ names: (String, String)
  ) -> String {
    guard own != others else { return "Its rows are the same. " }
    guard let (a, b) = zip(own, others).first(where: { $0 != $1 }) else {
      return "It has \(own.count) rows in \(names.0) and \(others.count) in \(names.1). "
    }
    return a.exampleID == b.exampleID
      ? "Its row \(a.exampleID + 1) reads otherwise. "
      : "It has row \(a.exampleID + 1) in \(names.0) where \(names.1) has row \(b.exampleID + 1). "
  }

  private func updateSentence(_ other: StepFingerprint) -> String {
    let rates =
      learningRate == other.learningRate
      ? "" : "The learning rates are \(learningRate) and \(other.learningRate). "
    return rates
      + (tensorSentence(after, other.after).map { "After the update \($0)." }
        ?? "The parameters after the update are the same.")
  }

  /// Which tensors differ; nil where none does.
  private func tensorSentence(
    _ own: [UInt64], _ others: [UInt64], suffix: String = "", isGradient: Bool = false
  ) -> String? {
    let differing = own.indices.filter { own[$0] != others[$0] }
    guard let first = differing.first, let last = differing.last else { return nil }
    // Backward goes from the last tensor to the first, and a defect of one of its kernels spreads that way.
    let reached =
      isGradient && last != first
      ? "; the first that the backward pass reaches is \(tensors[last])" : ""
    return
      "\(differing.count) of \(tensors.count) tensors differ, the first in the order of the forward pass is \(tensors[first])\(suffix)\(reached)"
  }
}
