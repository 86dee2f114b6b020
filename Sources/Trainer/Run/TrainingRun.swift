import Collective
import Crypto
import Foundation
import Model

/// One training run: the loop over steps, with its log, its evaluations and its checkpoints.
///
/// Weights depend on recipe, rows, seed and the CPU's kernel family; not on ranks, threads, on how many
/// leaves are computed together, or on where the run was interrupted. Every rank runs the same loop; rank 0 alone
/// reads and writes the run's directory.
package final class TrainingRun {
  package enum Outcome: Sendable, Equatable {
    /// Trained to the end, or stopped early; with the SHA-256 of the final `model.safetensors`.
    case finished(weights: String)
    /// Stopped on request, with a checkpoint of so many steps.
    case interrupted(step: Int)
  }

  package let prepared: PreparedRun
  let group: RankGroup
  /// Rank 0's files.
  let files: Files?
  let engine: Engine
  let parameters: Arena
  let optimizer: Optimizer
  let trainingStep: DistributedStep
  let memory: MemoryPlan
  let numerics: Numerics
  private let requests: RunRequests
  /// Where messages and progress go, and whether that is a terminal.
  let output: Output
  var best: RunState.Best?
  /// The checkpoint that is being written.
  var checkpoint: CheckpointUnderWay?
  var log: MetricsLog?
  var collapse: CollapseDetector
  private var slowRanks: SlowRankDetector
  private let gradientGroups: GradientGroups
  /// Evaluations on the dev rows in a row that warned of their predictions.
  var alikeEvaluations = 0
  let clock = ContinuousClock()

  /// What rank 0 reads and writes.
  struct Files {
    let directory: RunDirectory
    let store: CheckpointStore
    /// What killed writers had left; each is worth printing once.
    let notices: [String]

    init(
      _ directory: RunDirectory, _ access: Access, keep: Int, _ operations: FileOperations
    ) throws {
      self.directory = directory
      switch access {
      case .writing:
        store = try CheckpointStore(run: directory.url, keep: keep, operations: operations)
        notices = store.notices + (try directory.clearLeftovers())
      case .reading:
        store = CheckpointStore(reading: directory.url)
        notices = []
      }
    }
  }

  /// What a run does with its directory.
  package enum Access: Sendable {
    /// Holds its lock, and trains.
    case writing
    /// Leaves everything as it is, whoever holds the lock: for `verify`.
    case reading
  }

  /// Where a run talks to a person.
  package struct Output {
    package var isTerminal: Bool
    package var write: (String) -> Void

    package init(isTerminal: Bool, write: @escaping (String) -> Void) {
      self.isTerminal = isTerminal
      self.write = write
    }
  }

  /// Sets up the memory of a run; nothing is read or written but, with `access` for writing, the run's directory.
  ///
  /// `directory` is rank 0's; the other ranks have none. `numerics` are those of this process and `operations` the
  /// file system's, but for tests.
  package init(
    _ prepared: PreparedRun, group: RankGroup, directory: RunDirectory?,
    access: Access = .writing, engine: Engine, memory: MemoryPlan,
    exchange: ExchangeSettings = ExchangeSettings(), requests: RunRequests,
    numerics: Numerics? = nil, operations: FileOperations = FileOperations(), output: Output
  ) throws {
    precondition(group.isRoot == (directory != nil), "rank \(group.rank) and a run's directory")
    self.prepared = prepared
    self.group = group
    self.engine = engine
    self.memory = memory
    self.numerics = try numerics ?? Numerics(engine.contract)
    engine.recomputes = memory.recomputes
    self.requests = requests
    self.output = output
    files = try directory.map {
      try Files($0, access, keep: prepared.recipe.checkpoint.keep, operations)
    }
    parameters = Arena(count: prepared.table.count)
    optimizer = Optimizer(
      prepared.optimizer, table: prepared.table, trainable: prepared.trainable,
      multipliers: prepared.rateFactors, averageDecay: prepared.recipe.training.ema,
      pool: engine.pool)
    gradientGroups = GradientGroups(prepared.table)
    collapse = CollapseDetector(prepared.circumstances(gradientGroups))
    slowRanks = SlowRankDetector(ranks: group.size)
    trainingStep = try DistributedStep(
      group, engine: engine, optimizer: optimizer, parameters: parameters, settings: exchange,
      adversary: prepared.recipe.training.adversary)
    trainingStep.examplePlaces = prepared.train.places
    trainingStep.willChange = { [unowned self] in try awaitReader(beforeStep: $0) }
  }

  /// What keeps this run from having the bits of any number of ranks, by what its steps were made with.
  var limits: [String] = []

  /// Trains from the last checkpoint, or from the beginning, to the end or to a request to stop.
  package func run() throws -> Outcome {
    precondition(files?.store.isWritable != false, "a run that is only read cannot be trained")
    let beginning = try begin()
    let start = beginning.step
    // Whatever ends the run, a checkpoint that is being written is written.
    defer { _ = try? awaitCheckpoint() }
    try openLog(beginning)
    if start < prepared.totalSteps, let limit, !limits.contains(limit) { limits.append(limit) }
    let progress = Progress(
      firstStep: start, totalSteps: prepared.totalSteps, isTerminal: output.isTerminal,
      write: output.write)
    var rows = BatchRows(prepared.batches)
    let sentBefore = group.collective.traffic.sentBytes
    var saved = clock.now
    var step = start
    if beginning.awaitsEvaluation { try evaluateIfDue(after: step, progress) }
    var isOver = step >= prepared.totalSteps || hasStoppedEarly(at: step)
    while !isOver {
      let place = prepared.batches.place(ofStep: step)
      let border = try train(
        step: step, epoch: place.epoch, rows: rows.rows(ofStep: step), saved: saved, progress)
      step += 1
      try checkCheckpoint()
      let isLast = step == prepared.totalSteps
      // Before the evaluation, which may take longer than whoever stops the run waits; the two go on side by side.
      if border.saves || border.stops {
        try progress.pausing {
          try startCheckpoint(step: step, awaitsEvaluation: isLast || isEvaluationDue(after: step))
        }
        saved = clock.now
        if border.stops {
          // Only what rank 0 has on its disk is worth coming back to.
          _ = try group.shared(awaitCheckpoint()?.weightsDigest, as: "the digest of a checkpoint")
          progress.message("stopped on request; checkpoint of step \(step) written")
          return .interrupted(step: step)
        }
      }
      try evaluateIfDue(after: step, progress)
      isOver = isLast || hasStoppedEarly(at: step)
    }
    if group.size > 1, step > start {
      try trainingStep.settle()
      let bytes = Double(group.collective.traffic.sentBytes - sentBefore) / Double(step - start)
      progress.message(
        "exchange     rank 0 sent \(Progress.fixed(bytes / 1e6, 1)) MB a step, checkpoints and evaluations included"
      )
    }
    let isResumed = step == start && !beginning.awaitsEvaluation
    return try .finished(weights: finish(step: step, isResumed: isResumed, progress))
  }

  var limit: String? { trainingStep.settings.limit(ranks: group.size) }

  // MARK: One step

  /// What a step gave, as the log says it.
  struct StepOutcome {
    let result: DistributedStep.Result
    /// By rank the cost of its sequences, as they are dealt to leaves.
    let work: [Double]
    /// The mean loss.
    let loss: Double
    let rate: Double
    let tokens: Int
  }

  /// Makes step `step`, from 0, with `rows` of the training set.
  func advance(
    step: Int, rows: [Int], requests: () -> (stops: Bool, saves: Bool)
  ) throws -> StepOutcome {
    let head = prepared.definition.head
    let leaves = prepared.leaves(of: prepared.inputs(ofRows: rows, step: step))
    let terms = leaves.reduce(0.0) { $1.reduce($0) { $0 + head.terms(of: $1) } }
    // A step of tokens without labels has nothing to learn: its loss is 0, not 0 / 0.
    let denominator = terms > 0 ? terms : 1
    let rate = prepared.schedule.rate(at: step)
    do {
      let result = try trainingStep.run(
        leaves: leaves, randomness: Engine.Randomness(seed: prepared.recipe.seed, step: step),
        leavesAtOnce: memory.leavesAtOnce, denominator: denominator, learningRate: rate, step: step,
        requests: requests)
      return StepOutcome(
        result: result, work: prepared.work(of: leaves, in: group), loss: result.loss / denominator,
        rate: rate,
        tokens: leaves.reduce(0) { $1.reduce($0) { $0 + $1.tokenCount } })
    } catch let error as StepNotFinite {
      throw RunError(
        .notFinite,
        notFinite(step: step, error.finding, error.origin(prepared.train.places)))
    } catch let error as OptimizerError {
      // Finite gradients of the ranks whose sum is not.
      let shape = error.shape.map(String.init).joined(separator: " × ")
      let all = StepNotFinite(
        finding:
          "the gradient of \(error.tensor) [\(shape)] is \(error.value) at element \(error.index)",
        rows: rows.map { prepared.train.sequences[$0].exampleID }, namesCulprits: false)
      throw RunError(
        .notFinite, notFinite(step: step, all.finding, all.origin(prepared.train.places)))
    }
  }

  /// Makes a step and logs it; returns what the ranks want to happen at its end.
  private func train(
    step: Int, epoch: Int, rows: [Int], saved: ContinuousClock.Instant, _ progress: Progress
  ) throws -> (saves: Bool, stops: Bool) {
    let begun = clock.now
    let made = try advance(step: step, rows: rows) {
      // Rank 0's clock alone says when time is up.
      (
        requests.isStopping,
        requests.takeSave() || group.isRoot && isSaveDue(since: saved, after: step + 1)
      )
    }
    let result = made.result, norms = gradientGroups.norms(made.result.parameterNorms)
    try log?.write(
      [
        ("step", .integer(step + 1)), ("epoch", .integer(epoch + 1)), ("loss", .number(made.loss)),
        ("learningRate", .number(made.rate)), ("gradientNorm", .number(result.norm)),
        ("gradientNorms", .numbers(norms)), ("leafLosses", .numbers(result.leafLosses)),
        ("tokens", .integer(made.tokens)),
        ("digest", .text(ParameterDigest.text(result.digest))),
        ("seconds", .number((clock.now - begun).seconds)),
      ] + (limit.map { [("exchange", .text($0))] } ?? []))
    progress.step(
      step + 1, loss: made.loss, learningRate: made.rate, norm: result.norm, tokens: made.tokens,
      isLast: step + 1 == prepared.totalSteps)
    let observation = CollapseDetector.Observation(
      step: step + 1, loss: made.loss, learningRate: made.rate, norms: norms)
    if let finding = collapse.observe(observation) { progress.message("warning: \(finding)") }
    if let slow = slowRanks.observe(result.computeSeconds, work: made.work) {
      progress.message(
        "warning: step \(step + 1): \(group.collective.name(of: slow.rank)) is slow in computing: \(Progress.fixed(slow.seconds, 3)) s a step "
          + "where the others would take \(Progress.fixed(slow.expected, 3)) s (medians of \(SlowRankDetector.window) steps); every rank waits for it. "
          + "Look for other programs, fewer or hotter cores on its host.")
    }
    return (result.saves, result.stops)
  }

  private func notFinite(step: Int, _ finding: String, _ origin: String) -> String {
    "step \(step + 1): \(finding); \(origin). \(StepNotFinite.remedy)"
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
      if best == nil {
        let weights = try evaluated(step: step)
        try saveBest(weights)
      }
      try testBest(step: step, progress)
      try startCheckpoint(step: step, awaitsEvaluation: false)
      digest = try group.shared(awaitCheckpoint()?.weightsDigest, as: "the digest of a checkpoint")
    }
    var lines = limits.map {
      "exchange     \($0): other ranks or another exchange give other weights"
    }
    if let best {
      lines.append(
        "best \(best.metric) \(Progress.fixed(best.value, 4)) after step \(best.step)")
    }
    if let files {
      if FileManager.default.fileExists(atPath: files.directory.best.path) {
        lines.append("model        \(files.directory.best.path)")
      }
      lines += [
        "metrics      \(files.directory.metrics.path)",
        "checkpoint   \(files.store.url(ofStep: step).path)",
      ]
    }
    progress.message(lines.joined(separator: "\n"))
    return digest
  }

  /// Scores the test rows once, with the best model.
  private func testBest(step: Int, _ progress: Progress) throws {
    guard let test = prepared.test else { return }
    let arena = try trainingStep.lendGradient()
    if let files {
      let folder = try ModelFolder.open(files.directory.best, dialect: .huggingface)
      try folder.load(
        into: arena, table: prepared.table, progress: group.collective.noteProgress)
    }
    try group.broadcast(arena, what: "the best model", pool: engine.pool)
    let epoch = prepared.batches.place(ofStep: max(step - 1, 0)).epoch
    try score(test, "test", step: step, epoch: epoch, progress, parameters: arena)
  }

  /// The digest of the checkpoint that this run was resumed from.
  var finalDigest: String?
}
