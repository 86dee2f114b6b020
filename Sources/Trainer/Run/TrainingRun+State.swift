import Collective
import Crypto
import Foundation
import Model
import Text

extension TrainingRun {
  /// What rank 0 found, and the others need to know.
  private struct Start: Codable {
    var step: Int
    var best: RunState.Best?
    var digest: String?
    var awaitsEvaluation: Bool
  }

  /// Where a run goes on.
  struct Beginning {
    /// Steps made.
    var step: Int
    /// Whether the evaluations after them are still to be made.
    var awaitsEvaluation: Bool
  }

  /// Puts the weights in place on every rank, from the last checkpoint or the model.
  func begin() throws -> Beginning {
    group.collective.enter(phase: "agreeing on the run", step: 0)
    try group.agree(on: agreement())
    group.collective.enter(phase: "loading weights", step: 0)
    var found: Start?
    if let files {
      let beginning = try begin(files)
      found = Start(
        step: beginning.step, best: best, digest: finalDigest,
        awaitsEvaluation: beginning.awaitsEvaluation)
    }
    let start = try group.shared(found, as: "where the run starts")
    (best, finalDigest) = (start.best, start.digest)
    try group.broadcast(parameters, what: "the parameters at the start", pool: engine.pool)
    if start.step > 0 {
      for (name, state) in optimizer.stateArenas {
        try group.broadcast(
          state, what: "the optimizer's state \(name) at the start",
          keeping: trainingStep.isSharded ? trainingStep.chunksByRank[group.rank] : nil,
          pool: engine.pool)
        if trainingStep.isSharded { group.discardOthers(of: state) }
      }
      optimizer.momentsWereReplaced()
    }
    return Beginning(step: start.step, awaitsEvaluation: start.awaitsEvaluation)
  }

  /// What enters the bits and must be the same on every rank.
  private func agreement() -> [(name: String, value: String)] {
    var items: [(name: String, value: String)] = [
      ("the recipe", String(prepared.recipe.resultDigest.prefix(16))),
      ("the rows", String(dataFingerprint.prefix(16))),
      ("the vocabulary", String(prepared.inputs.vocabulary.prefix(16))),
    ]
    items += numerics.items
    items += [
      ("the number of steps", "\(prepared.totalSteps)"),
      ("the model", "\(prepared.configuration)"),
      ("the optimizer's sharding", trainingStep.isSharded ? "sharded" : "whole"),
      ("the exchange of gradients", trainingStep.settings.summary),
    ]
    return items
  }

  /// Rank 0's part: reads the last checkpoint, or makes the first weights.
  private func begin(_ files: Files) throws -> Beginning {
    let (directory, store) = (files.directory, files.store)
    for notice in files.notices { output.write(notice + "\n") }
    let loaded = try store.load(
      into: parameters, optimizer: optimizer, progress: group.collective.noteProgress)
    if let loaded {
      for notice in loaded.notices { output.write(notice + "\n") }
      try check(loaded.state, directory)
      best = loaded.state.best
      if best != nil, !FileManager.default.fileExists(atPath: directory.best.path) {
        output.write(
          "note: \(directory.best.path) is gone: the best model is chosen among the evaluations to come\n"
        )
        best = nil
      }
      finalDigest = loaded.weightsDigest
      output.write("resuming after step \(loaded.state.step) from \(loaded.url.path)\n")
      return Beginning(
        step: loaded.state.step, awaitsEvaluation: loaded.state.awaitsEvaluation ?? false)
    }
    if directory.holdsRun {
      output.write("note: \(directory.url.path) has no checkpoint: the run begins anew\n")
    }
    try initialize()
    for (url, bytes) in [
      (directory.dataReport, [UInt8](try prepared.report.json())),
      (directory.recipe, [UInt8](prepared.recipe.yaml.utf8)),
    ] {
      let file = try DurableFile(url)
      try file.write(bytes)
      try file.commit()
    }
    return Beginning(step: 0, awaitsEvaluation: false)
  }

  /// Opens the log at rank 0, and learns from it what happened before.
  func openLog(_ beginning: Beginning) throws {
    let start = beginning.step
    guard let files else { return }
    let metrics = files.directory.metrics, progress = group.collective.noteProgress
    group.collective.enter(phase: "reading the log", step: start)
    log = try MetricsLog(
      metrics, keepingThrough: start, withEvaluations: !beginning.awaitsEvaluation,
      progress: progress)
    guard start > 0 else { return }
    var count = 0
    var before: String?
    try LoggedStep.forEach(metrics, progress: progress) { step in
      count += 1
      _ = step.observation.flatMap { collapse.observe($0) }
      if let limit = step.exchange, !limits.contains(limit) { limits.append(limit) }
      before = step.exchange
    }
    if count != start {
      output.write(
        "note: \(metrics.path) has \(count) of the \(start) steps made: the host went down before the others were on its disk, or the file was changed. The weights are not touched by it; warnings of a collapse, and what steps were exchanged with, go by what is there\n"
      )
    }
    if start < prepared.totalSteps, before != limit {
      output.write(
        "note: step \(start) was made with \(before ?? LoggedStep.noLimit), this run goes on with \(limit ?? LoggedStep.noLimit): the weights will be those of no undisturbed run\n"
      )
    }
  }

  /// Loads the model, and draws what it lacks.
  func initialize() throws {
    let table = prepared.table
    let draws = ParameterInitialization(seed: prepared.recipe.seed)
    let range = prepared.configuration.initializerRange
    let head = prepared.recipe.head.initialization
    guard let model = prepared.model else {
      // Encoders are drawn as their makers do; Keras' uniform is for its heads only.
      let kind = head == .glorotUniform ? .truncatedNormal : head
      let isHead = { (name: String) in !name.hasPrefix("bert.") }
      draws.fill(
        Set(table.parameters.map(\.name)), of: table, in: parameters, purpose: .modelInitialisation
      ) {
        ParameterInitialization.distribution(
          isHead($0.name) ? head : kind, shape: $0.shape, range: range)
      }
      output.write("all weights drawn from seed \(prepared.recipe.seed)\n")
      return
    }
    let report = try model.load(
      into: parameters, table: table, progress: group.collective.noteProgress)
    let missing = Set(report.missing.map(\.name))
    draws.fill(missing, of: table, in: parameters, purpose: .headInitialisation) {
      ParameterInitialization.distribution(head, shape: $0.shape, range: range)
    }
    output.write("\(model.location): \(report)\n")
    if !missing.isEmpty {
      output.write(
        "drawn from seed \(prepared.recipe.seed): \(report.missing.map(\.name).joined(separator: ", "))\n"
      )
    }
  }

  // MARK: Identity

  var dataFingerprint: String {
    Self.digest([prepared.train.fingerprint, prepared.dev?.fingerprint ?? "-"])
  }

  static func digest(_ parts: [String]) -> String {
    SHA256.hash(data: Data(parts.joined(separator: "\n").utf8)).hex
  }

  /// Refuses to go on with another recipe, other rows or another model's vocabulary or configuration; says if another CPU changes the bits.
  func check(_ state: RunState, _ directory: RunDirectory) throws {
    if state.recipeHash != prepared.recipe.resultDigest {
      let before = (try? String(contentsOf: directory.recipe, encoding: .utf8)) ?? ""
      let changes = prepared.recipe.differences(from: before)
      // Who resumes with the run's own recipe and has edited that compares it with itself.
      let found =
        changes.isEmpty
        ? "and \(directory.recipe.lastPathComponent) in there has been edited since"
        : changes.joined(separator: "; ")
      throw RunError(
        .usage,
        "The recipe is not the one that \(directory.url.path) was started with: \(found). "
          + "Resume with the old values, or start another run with --run.")
    }
    if state.dataFingerprint != dataFingerprint {
      throw RunError(
        .data,
        "The rows of \(prepared.train.file)\(prepared.dev.map { " or \($0.file)" } ?? "") are not those that \(directory.url.path) was started with. "
          + "Restore them, or start another run with --run.")
    }
    let changes = state.inputs.map(prepared.inputs.differences) ?? []
    guard changes.isEmpty else {
      throw RunError(
        .data,
        "The model's folder \(prepared.recipe.model.path.path) is not as it was when \(directory.url.path) was started: \(changes.joined(separator: "; ")). "
          + "Restore it, or start another run with --run.")
    }
    if !numerics.continues(state.numericsFingerprint) {
      output.write(
        "note: the run was started with \(state.numericsFingerprint), this machine has \(numerics.fingerprint): the last bits of the weights may differ from an undisturbed run's\n"
      )
    }
  }

  // MARK: The best model

  /// The weights that are evaluated after `step` steps: the moving average where one is kept, on every rank; else the parameters.
  func evaluated(step: Int) throws -> Arena {
    try trainingStep.settle()
    guard let average = optimizer.average, step > 0 else { return parameters }
    if trainingStep.isSharded {
      try group.gatherChunks(of: average)
    }
    let weights = optimizer.averaged(parameters, steps: step)
    try group.broadcast(weights, what: "the averaged weights", pool: engine.pool)
    return weights
  }

  /// Writes `best/` with the weights `parameters`: all that prediction needs.
  func saveBest(_ parameters: Arena) throws {
    guard let directory = files?.directory else { return }
    let definition = prepared.definition
    try ModelFolder.export(
      huggingFaceTo: directory.best, configuration: prepared.configuration, arena: parameters,
      table: prepared.table,
      task: ModelFolder.TaskDescription(
        labels: definition.labels.count == definition.head.outputs ? definition.labels : nil,
        head: definition.head),
      vocabulary: prepared.vocabulary, lowercase: definition.lowercase,
      extra: [TaskDefinition.fileName: [UInt8](definition.encoded())],
      progress: group.collective.noteProgress)
  }
}

extension Recipe {
  /// Keys that a resume may change: none of them enters the weights, or the rows are compared themselves.
  static let freeKeys: Set = [
    "threads", "memoryLimit", "batch.leavesAtOnce", "batch.recompute", "checkpoint.everySteps",
    "checkpoint.everyMinutes", "checkpoint.keep", "model.path", "data.train", "data.dev",
    "data.test", "data.format", "data.header", "data.columns.text", "data.columns.text2",
    "data.columns.label", "data.columns.type", "data.columns.id",
  ]

  /// SHA-256 of all that enters the weights, but for the rows.
  package var resultDigest: String {
    TrainingRun.digest(
      Self.flattened(yaml).filter { !Self.freeKeys.contains($0.key) }.map {
        "\($0.key)=\($0.value)"
      }
    )
  }

  /// What differs from the recipe written as `before`, in words.
  func differences(from before: String) -> [String] {
    let old = Dictionary(Self.flattened(before).map { ($0.key, $0.value) }) { $1 }
    let new = Self.flattened(yaml)
    let names = Set(new.map(\.key))
    var changes = new.filter { !Self.freeKeys.contains($0.key) && old[$0.key] != $0.value }.map {
      "\($0.key) is \($0.value), was \(old[$0.key] ?? "absent")"
    }
    for key in old.keys.sorted() where !names.contains(key) && !Self.freeKeys.contains(key) {
      changes.append("\(key) is absent, was \(old[key] ?? "")")
    }
    return changes
  }

  /// Full key and written value of each line of a recipe that `yaml` wrote.
  static func flattened(_ yaml: String) -> [(key: String, value: String)] {
    var path: [String] = []
    var result: [(key: String, value: String)] = []
    for line in yaml.split(separator: "\n") {
      let depth = line.prefix { $0 == " " }.count / 2
      guard let colon = line.firstIndex(of: ":"), depth <= path.count else { continue }
      path.removeLast(path.count - depth)
      path.append(String(line[..<colon].drop { $0 == " " }))
      let value = line[line.index(after: colon)...].drop { $0 == " " }
      if !value.isEmpty { result.append((path.joined(separator: "."), String(value))) }
    }
    return result
  }
}
