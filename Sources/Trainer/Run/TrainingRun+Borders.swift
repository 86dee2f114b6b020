import Collective
import Foundation
import Model

/// What happens between two steps: which evaluations and checkpoints are due, and the evaluations themselves.
extension TrainingRun {
  func isEvaluationDue(after step: Int) -> Bool {
    guard prepared.dev != nil else { return false }
    if step == prepared.totalSteps { return true }
    let every = prepared.recipe.evaluation.everySteps ?? prepared.batches.stepsPerEpoch
    return step.isMultiple(of: every)
  }

  /// Whether so many evaluations as the recipe's patience have gone by since the best.
  func hasStoppedEarly(at step: Int) -> Bool {
    guard let patience = prepared.recipe.evaluation.patience, let best, step > best.step,
      isEvaluationDue(after: step)
    else { return false }
    return (best.step + 1...step).count(where: isEvaluationDue) >= patience
  }

  /// The last step's comes with the end of the run.
  private func isCheckpointDue(after step: Int) -> Bool {
    step < prepared.totalSteps
      && prepared.recipe.checkpoint.everySteps.map { step.isMultiple(of: $0) } ?? false
  }

  /// Whether a checkpoint is due at rank 0: by the recipe's steps or minutes, or sooner before an evaluation, during which nobody can ask for
  /// one.
  ///
  /// Ranks may hold recipes that differ in that, so rank 0 says it for all.
  func isSaveDue(since saved: ContinuousClock.Instant, after step: Int) -> Bool {
    if isCheckpointDue(after: step) { return true }
    let seconds = (clock.now - saved).seconds
    let isLast = step == prepared.totalSteps && prepared.test != nil
    return seconds >= 60 * (prepared.recipe.checkpoint.everyMinutes ?? .infinity)
      || seconds >= Self.evaluatedSeconds && (isLast || isEvaluationDue(after: step))
  }

  /// Work of more than so many seconds is saved before an evaluation.
  private static let evaluatedSeconds = 60.0

  /// Evaluates the dev rows if that is due after `step` steps.
  func evaluateIfDue(after step: Int, _ progress: Progress) throws {
    guard isEvaluationDue(after: step) else { return }
    group.collective.enter(phase: "evaluating", step: step)
    let epoch = prepared.batches.place(ofStep: step - 1).epoch
    try progress.pausing { try evaluate(step: step, epoch: epoch, progress) }
    if hasStoppedEarly(at: step) {
      progress.message(
        "stopped early after step \(step): \(prepared.recipe.evaluation.patience ?? 0) evaluations without a better \(prepared.recipe.evaluation.metric)"
      )
    }
  }

  private func evaluate(step: Int, epoch: Int, _ progress: Progress) throws {
    guard let dev = prepared.dev else { return }
    let weights = try evaluated(step: step)
    let evaluation = try score(
      dev, "dev", step: step, epoch: epoch, progress, parameters: weights)
    let metric = prepared.recipe.evaluation.metric
    guard let value = evaluation[metric], value.isFinite else {
      if best == nil { try saveBest(weights) }
      return
    }
    if let best, !Evaluation.isBetter(value, than: best.value, metric: metric) { return }
    best = RunState.Best(metric: metric, value: value, step: step)
    try saveBest(weights)
  }

  @discardableResult
  func score(
    _ set: ExampleSet, _ split: String, step: Int, epoch: Int, _ progress: Progress,
    parameters: Arena
  ) throws -> Evaluation {
    let begun = clock.now
    let outputs = try group.outputs(
      of: set.sequences, engine: engine, parameters: parameters)
    let evaluation = Evaluation(
      outputs: outputs, examples: set, definition: prepared.definition)
    let fields = evaluation.metrics.map { ($0.name, MetricsLog.Value.number($0.value)) }
    try log?.write(
      [("step", .integer(step)), ("epoch", .integer(epoch + 1)), ("split", .text(split))] + fields
        + [("rows", .integer(evaluation.rows)), ("seconds", .number((clock.now - begun).seconds))])
    let scores = evaluation.metrics.map { "\($0.name) \(Progress.fixed($0.value, 4))" }
    progress.message("\(split) after step \(step):  \(scores.joined(separator: "  "))")
    let finding = set.decoder.warning(outputs)
    if split == "dev" { alikeEvaluations = finding == nil ? 0 : alikeEvaluations + 1 }
    if let finding {
      let remedy =
        split == "dev"
        ? CollapseDetector.remedy(
          afterEvaluations: alikeEvaluations, peakRate: prepared.recipe.optimizer.learningRate) : ""
      progress.message("warning: \(split) after step \(step): \(finding)\(remedy)")
    }
    return evaluation
  }
}
