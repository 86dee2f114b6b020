import Foundation
import Model

/// One step's line of `metrics.jsonl`, as far as two runs can be compared by it.
struct LoggedStep: Decodable, Equatable {
  /// Steps made, from 1.
  var step: Int
  var loss: Double?
  var learningRate: Double?
  var gradientNorm: Double?
  /// By group, from the inputs to the outputs.
  var gradientNorms: [Double]?
  /// Loss sums by leaf, undivided; absent in logs of older versions.
  var leafLosses: [Double]?
  var tokens: Int?
  /// `ParameterDigest` after the step.
  var digest: String?
  /// `ExchangeSettings.limit`; absent where the step has the bits of any number of ranks.
  var exchange: String?

  /// What a step without an `exchange` was made with.
  static let noLimit = "an exchange whose bits are those of any number of ranks"

  /// The exchanges of `steps` that are not, each once.
  static func limits(of steps: [LoggedStep]) -> [String] {
    var limits: [String] = []
    for step in steps {
      if let limit = step.exchange, !limits.contains(limit) { limits.append(limit) }
    }
    return limits
  }

  /// The steps in the log at `url`, ascending; lines of evaluations and a last line that was cut off are left out.
  static func read(_ url: URL) throws -> [LoggedStep] {
    var steps: [LoggedStep] = []
    try forEach(url) { steps.append($0) }
    return steps
  }

  /// Calls `body` with each step in the log at `url`, as `read` has them; a log of any length takes little memory.
  static func forEach(
    _ url: URL, progress: () -> Void = {}, _ body: (LoggedStep) -> Void
  ) throws {
    let decoder = JSONDecoder()
    try InputFile(url).lines(progress: progress) { line in
      if let step = try? decoder.decode(LoggedStep.self, from: line), step.digest != nil {
        body(step)
      }
      return true
    }
  }

  /// The first leaf, from 1, whose loss differs from that of `other`; nil where none does or one of the logs has none.
  func differingLeaf(from other: LoggedStep) -> Int? {
    guard let own = leafLosses, let others = other.leafLosses, own.count == others.count else {
      return nil
    }
    return zip(own, others).enumerated().first { $0.element.0 != $0.element.1 }.map {
      $0.offset + 1
    }
  }

  /// What the collapse detector reads of it.
  var observation: CollapseDetector.Observation? {
    guard let loss, let learningRate else { return nil }
    return CollapseDetector.Observation(
      step: step, loss: loss, learningRate: learningRate, norms: gradientNorms ?? [])
  }

  /// The first field in which this step differs from `other`, with both values.
  func difference(from other: LoggedStep) -> (field: String, here: String, there: String)? {
    func text<T>(_ value: T?) -> String { value.map { "\($0)" } ?? "absent" }
    let fields = [
      ("tokens", text(tokens), text(other.tokens)),
      ("learning rate", text(learningRate), text(other.learningRate)),
      ("loss", text(loss), text(other.loss)),
      ("gradient norm", text(gradientNorm), text(other.gradientNorm)),
      ("digest of the parameters", text(digest), text(other.digest)),
    ]
    return fields.first { $0.1 != $0.2 }
  }
}

extension TrainingRun {
  /// Recomputes the run up to step `target` (from 1; nil for the last one logged) from the checkpoint before it, and
  /// compares each step with the log.
  ///
  /// Without an earlier checkpoint the run is recomputed from its beginning. Nothing is written. Returns what was
  /// found; throws with exit code 77 at the first step that differs.
  package func verify(step target: Int?) throws -> String {
    guard let files else { preconditionFailure("a rank without the run's files cannot verify it") }
    let metrics = files.directory.metrics
    let log = try LoggedStep.byStep(metrics)
    guard let target = target ?? log.keys.max(), log[target] != nil else {
      throw RunError(
        .usage,
        "\(metrics.path): there is no step\(target.map { " \($0)" } ?? "") with a digest. "
          + (log.isEmpty
            ? "Train it with this version of Lockstep first."
            : "Give a step from \(log.keys.min() ?? 0) to \(log.keys.max() ?? 0)."))
    }
    let saved = try savedDigest(files, step: target)
    let start = try restore(files, before: target, log)
    let limits = LoggedStep.limits(of: (start + 1...target).compactMap { log[$0] })
    guard limits.isEmpty else {
      throw RunError(
        .usage,
        "\(metrics.path): steps after step \(start) were made with \(limits.joined(separator: ", and with ")): one process cannot recompute their bits. "
          + "Train again with the same number of ranks and the same options, and compare with lockstep verify RUN RUN."
      )
    }
    var rows = BatchRows(prepared.batches)
    var unlogged = 0
    for step in start..<target {
      let made = try advance(step: step, rows: rows.rows(ofStep: step)) { (false, false) }
      guard let logged = log[step + 1] else {
        unlogged += 1
        continue
      }
      let here = LoggedStep(made, step: step)
      if let (field, computed, said) = here.difference(from: logged) {
        throw RunError(
          .disagreement,
          "step \(step + 1): the \(field) is \(computed) when recomputed and \(said) in \(metrics.path); \(step - start) steps before it, from \(start == 0 ? "the beginning" : "the checkpoint of step \(start)") on, are the same. "
            + (here.differingLeaf(from: logged).map {
              "The first leaf whose loss differs is leaf \($0). "
            } ?? "")
            + "Look at the kernels and libraries of the machine that trained it, and at the version of Lockstep."
        )
      }
    }
    let confirmed = try saved.map {
      try confirm($0, of: files.store.url(ofStep: target), step: target)
    }
    return
      "step \(target) is confirmed: \(target - start) steps recomputed from \(start == 0 ? "the beginning" : "the checkpoint of step \(start)") give digest \(log[target]?.digest ?? "")"
      + (unlogged > 0 ? "; \(unlogged) of them are not in the log" : "") + (confirmed ?? "")
  }

  /// The SHA-256 of the weights in the checkpoint of step `step`, if there is one.
  ///
  /// - Throws: `CheckpointError` where it is damaged, `RunError` where it is of another recipe, other rows or another model.
  private func savedDigest(_ files: Files, step: Int) throws -> String? {
    let steps = try files.store.steps
    guard steps.contains(step) else {
      // Any checkpoint tells whether the run was made by what recomputes it.
      if let last = steps.last,
        let state = try? CheckpointStore.state(files.store.url(ofStep: last), step: last)
      {
        try check(state, files.directory)
      }
      return nil
    }
    let found = try CheckpointStore.verify(files.store.url(ofStep: step), step: step)
    try check(found.state, files.directory)
    return found.digest
  }

  /// Compares the weights that the checkpoint of step `step` holds with the parameters as recomputed; returns what to say of it.
  private func confirm(_ saved: String, of url: URL, step: Int) throws -> String {
    let computed = try WeightsDigest.hex(of: parameters, table: prepared.table)
    guard saved == computed else {
      throw RunError(
        .disagreement,
        "\(url.path) holds weights with the SHA-256 \(saved), and step \(step) gives \(computed) when recomputed, as its line in the log says. The checkpoint is not of this run."
      )
    }
    return "; its checkpoint holds these weights, sha256 \(saved)"
  }

  /// Reads the last checkpoint before step `target`, or makes the first weights; returns the steps made.
  ///
  /// - Throws: `RunError` if the checkpoint has another digest than `log` says.
  func restore(_ files: Files, before target: Int, _ log: [Int: LoggedStep]) throws -> Int {
    guard
      let loaded = try files.store.load(into: parameters, optimizer: optimizer, before: target)
    else {
      try initialize()
      return 0
    }
    for notice in loaded.notices { output.write(notice + "\n") }
    try check(loaded.state, files.directory)
    let start = loaded.state.step
    if let digest = log[start]?.digest {
      let found = ParameterDigest.text(
        ParameterDigest.of(parameters, chunks: 0..<optimizer.chunkCount, pool: engine.pool))
      guard found == digest else {
        throw RunError(
          .disagreement,
          "The checkpoint of step \(start) has the digest \(found), and \(files.directory.metrics.path) says \(digest). They are not of the same run."
        )
      }
    }
    return start
  }
}

extension LoggedStep {
  /// What step `step`, from 0, gave.
  init(_ made: TrainingRun.StepOutcome, step: Int) {
    self.init(
      step: step + 1, loss: made.loss, learningRate: made.rate, gradientNorm: made.result.norm,
      leafLosses: made.result.leafLosses, tokens: made.tokens,
      digest: ParameterDigest.text(made.result.digest))
  }

  /// The steps in the log at `url` by number.
  static func byStep(_ url: URL) throws -> [Int: LoggedStep] {
    Dictionary(try read(url).map { ($0.step, $0) }) { $1 }
  }
}
