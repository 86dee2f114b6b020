import Crypto
import Foundation
import Model

/// One training run: the loop over steps, with its log, its evaluations and its checkpoints.
///
/// Weights depend on recipe, rows, seed and the CPU's kernel family; not on threads, on how many
/// leaves are computed together, or on where the run was interrupted.
package final class TrainingRun {
  package enum Outcome: Sendable, Equatable {
    /// Trained to the end, or stopped early; with the SHA-256 of the final `model.safetensors`.
    case finished(weights: String)
    /// Stopped on request, with a checkpoint of so many steps.
    case interrupted(step: Int)
  }

  package let prepared: PreparedRun
  let directory: RunDirectory
  let store: CheckpointStore
  let engine: Engine
  let parameters: Arena
  private let gradient: Arena
  let optimizer: Optimizer
  let memory: MemoryPlan
  private let requests: RunRequests
  /// Where messages and progress go, and whether that is a terminal.
  let output: Output
  var best: RunState.Best?
  private var log: MetricsLog?
  private let clock = ContinuousClock()

  /// Where a run talks to a person.
  package struct Output {
    package var isTerminal: Bool
    package var write: (String) -> Void

    package init(isTerminal: Bool, write: @escaping (String) -> Void) {
      self.isTerminal = isTerminal
      self.write = write
    }
  }

  /// Sets up the memory of a run; nothing is read or written but the run's directory.
  package init(
    _ prepared: PreparedRun, directory: RunDirectory, engine: Engine, memory: MemoryPlan,
    requests: RunRequests, output: Output
  ) throws {
    self.prepared = prepared
    self.directory = directory
    self.engine = engine
    self.memory = memory
    self.requests = requests
    self.output = output
    store = try CheckpointStore(run: directory.url, keep: prepared.recipe.checkpoint.keep)
    parameters = Arena(count: prepared.table.count)
    gradient = Arena(count: prepared.table.count)
    optimizer = Optimizer(
      prepared.optimizer, table: prepared.table, trainable: prepared.trainable, pool: engine.pool)
  }

  /// Trains from the last checkpoint, or from the beginning, to the end or to a request to stop.
  package func run() throws -> Outcome {
    let start = try begin()
    let log = try MetricsLog(directory.metrics, keepingThrough: start)
    self.log = log
    let progress = Progress(
      firstStep: start, totalSteps: prepared.totalSteps, isTerminal: output.isTerminal,
      write: output.write)
    var rows = BatchRows(prepared.batches)
    var saved = clock.now
    var step = start
    var isOver = step >= prepared.totalSteps || hasStoppedEarly(at: step)
    while !isOver {
      let place = prepared.batches.place(ofStep: step)
      try train(step: step, epoch: place.epoch, rows: rows.rows(ofStep: step), log, progress)
      step += 1
      if isEvaluationDue(after: step) {
        try progress.pausing { try evaluate(step: step, epoch: place.epoch, log, progress) }
        if hasStoppedEarly(at: step) {
          progress.message(
            "stopped early after step \(step): \(prepared.recipe.evaluation.patience ?? 0) evaluations without a better \(prepared.recipe.evaluation.metric)"
          )
          isOver = true
        }
      }
      isOver = isOver || step == prepared.totalSteps
      if !isOver, isCheckpointDue(after: step, since: saved) {
        try progress.pausing { _ = try checkpoint(step: step) }
        saved = clock.now
        if requests.isStopping {
          progress.message("stopped on request; checkpoint of step \(step) written")
          return .interrupted(step: step)
        }
      }
    }
    return try .finished(weights: finish(step: step, isResumed: step == start, progress))
  }

  // MARK: One step

  private func train(
    step: Int, epoch: Int, rows: [Int], _ log: MetricsLog, _ progress: Progress
  ) throws {
    let begun = clock.now
    let batch = prepared.packed(rows.map { prepared.train.sequences[$0] })
    let head = prepared.definition.head
    let denominator = Double(rows.count * head.termsPerSequence)
    let loss =
      engine.gradient(
        of: batch, parameters: parameters, into: gradient,
        randomness: Engine.Randomness(seed: prepared.recipe.seed, step: step),
        trainable: prepared.trainable, leavesAtOnce: memory.leavesAtOnce
      ).numerator / denominator
    guard loss.isFinite else {
      throw RunError(.notFinite, notFinite(step: step, "the loss is \(loss)", rows: rows))
    }
    let rate = prepared.schedule.rate(at: step)
    let norm: Double
    do {
      norm = try optimizer.update(
        parameters: parameters, gradient: gradient, denominator: denominator, learningRate: rate,
        step: step)
    } catch {
      let shape = error.shape.map(String.init).joined(separator: " × ")
      throw RunError(
        .notFinite,
        notFinite(
          step: step,
          "the gradient of \(error.tensor) [\(shape)] is \(error.value) at element \(error.index)",
          rows: rows))
    }
    try log.write([
      ("step", .integer(step + 1)), ("epoch", .integer(epoch + 1)), ("loss", .number(loss)),
      ("learningRate", .number(rate)), ("gradientNorm", .number(norm)),
      ("tokens", .integer(batch.tokenCount)), ("seconds", .number((clock.now - begun).seconds)),
    ])
    progress.step(
      step + 1, loss: loss, learningRate: rate, norm: norm, tokens: batch.tokenCount,
      isLast: step + 1 == prepared.totalSteps)
  }

  private func notFinite(step: Int, _ finding: String, rows: [Int]) -> String {
    let shown = rows.prefix(8).map { "\($0 + 1)" }.joined(separator: ", ")
    let more = rows.count > 8 ? " and \(rows.count - 8) more" : ""
    return
      "step \(step + 1): \(finding); the step's rows of \(prepared.train.file) are \(shown)\(more). "
      + "The last checkpoint is from before. Lower optimizer.learningRate, set optimizer.clipNorm, or look at these rows."
  }

  // MARK: Borders

  private func isEvaluationDue(after step: Int) -> Bool {
    guard prepared.dev != nil else { return false }
    if step == prepared.totalSteps { return true }
    let every = prepared.recipe.evaluation.everySteps ?? prepared.batches.stepsPerEpoch
    return step.isMultiple(of: every)
  }

  /// Whether so many evaluations as the recipe's patience have gone by since the best.
  private func hasStoppedEarly(at step: Int) -> Bool {
    guard let patience = prepared.recipe.evaluation.patience, let best, step > best.step,
      isEvaluationDue(after: step)
    else { return false }
    return (best.step + 1...step).count(where: isEvaluationDue) >= patience
  }

  private func isCheckpointDue(after step: Int, since saved: ContinuousClock.Instant) -> Bool {
    let plan = prepared.recipe.checkpoint
    // Asked first, so that the request does not stay for the next border.
    if requests.takeSave() || requests.isStopping { return true }
    if let every = plan.everySteps, step.isMultiple(of: every) { return true }
    if let minutes = plan.everyMinutes, (clock.now - saved).seconds >= 60 * minutes { return true }
    return false
  }

  private func evaluate(
    step: Int, epoch: Int, _ log: MetricsLog, _ progress: Progress
  ) throws {
    guard let dev = prepared.dev else { return }
    let evaluation = try score(dev, "dev", step: step, epoch: epoch, log, progress)
    let metric = prepared.recipe.evaluation.metric
    guard let value = evaluation[metric], value.isFinite else {
      if best == nil { try saveBest() }
      return
    }
    if let best, !Evaluation.isBetter(value, than: best.value, metric: metric) { return }
    best = RunState.Best(metric: metric, value: value, step: step)
    try saveBest()
  }

  @discardableResult
  func score(
    _ set: ExampleSet, _ split: String, step: Int, epoch: Int, _ log: MetricsLog,
    _ progress: Progress, parameters: Arena? = nil
  ) throws -> Evaluation {
    let begun = clock.now
    let outputs = engine.outputs(of: set.sequences, parameters: parameters ?? self.parameters)
    let evaluation = Evaluation(
      outputs: outputs, sequences: set.sequences, definition: prepared.definition)
    let fields = evaluation.metrics.map { ($0.name, MetricsLog.Value.number($0.value)) }
    try log.write(
      [("step", .integer(step)), ("epoch", .integer(epoch + 1)), ("split", .text(split))] + fields
        + [("rows", .integer(evaluation.rows)), ("seconds", .number((clock.now - begun).seconds))])
    let scores = evaluation.metrics.map { "\($0.name) \(Progress.fixed($0.value, 4))" }
    progress.message("\(split) after step \(step):  \(scores.joined(separator: "  "))")
    return evaluation
  }

  // MARK: The end

  /// Writes what is left to write, and says where everything is.
  private func finish(step: Int, isResumed: Bool, _ progress: Progress) throws -> String {
    let digest: String
    if isResumed, let loaded = finalDigest {
      digest = loaded
      progress.message("this run is complete: \(step) steps were trained before")
    } else {
      // Without rows to choose by, the last model is the best.
      if best == nil { try saveBest() }
      if let log { try testBest(step: step, log, progress) }
      digest = try checkpoint(step: step).weightsDigest
    }
    var lines: [String] = []
    if let best {
      lines.append(
        "best \(best.metric) \(Progress.fixed(best.value, 4)) after step \(best.step)")
    }
    lines += [
      "model        \(directory.best.path)", "metrics      \(directory.metrics.path)",
      "checkpoint   \(store.url(ofStep: step).path)",
    ]
    progress.message(lines.joined(separator: "\n"))
    return digest
  }

  /// Scores the test rows once, with the best model.
  private func testBest(step: Int, _ log: MetricsLog, _ progress: Progress) throws {
    guard let test = prepared.test else { return }
    let folder = try ModelFolder.open(directory.best, dialect: .huggingface)
    let arena = Arena(count: prepared.table.count)
    try folder.load(into: arena, table: prepared.table)
    let epoch = prepared.batches.place(ofStep: max(step - 1, 0)).epoch
    try score(test, "test", step: step, epoch: epoch, log, progress, parameters: arena)
  }

  /// The digest of the checkpoint that this run was resumed from.
  var finalDigest: String?
}
