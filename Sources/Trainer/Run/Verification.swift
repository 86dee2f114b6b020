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

  /// The steps in the log at `url`, ascending; lines of evaluations and a last line that was cut off are left out.
  static func read(_ url: URL) throws -> [LoggedStep] {
    let bytes = try InputFile.contents(of: url)
    return bytes.split(separator: 0x0A).compactMap {
      try? JSONDecoder().decode(LoggedStep.self, from: Data($0))
    }.filter { $0.digest != nil }
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

/// Comparing runs with one another.
package enum RunComparison {
  /// What was found, in lines; throws with exit code 77 and the first difference where there is one.
  ///
  /// A leaf is named where its loss differs. The log has one digest for all parameters: tensors are named from the first checkpoint
  /// that both runs kept at or after the step.
  package static func compare(_ first: URL, _ second: URL) throws -> String {
    let runs = try [first, second].map {
      try LoggedStep.read(RunDirectory($0, resumes: true).metrics)
    }
    let other = Dictionary(runs[1].map { ($0.step, $0) }) { $1 }
    let common = runs[0].compactMap { step in other[step.step].map { (step, $0) } }
    guard let last = common.last else {
      throw RunError(
        .data,
        "\(first.path) and \(second.path) have no step in common. Give two runs of the same length."
      )
    }
    for (a, b) in common {
      guard let (field, here, there) = a.difference(from: b) else { continue }
      let tensors = try differingTensors(first, second, from: a.step)
      let leaf =
        a.differingLeaf(from: b).map {
          "Of its \(a.leafLosses?.count ?? 0) leaves the first whose loss differs is leaf \($0). "
        } ?? (field == "loss" ? "" : "The losses of all leaves of that step are the same. ")
      throw RunError(
        .disagreement,
        "step \(a.step): the \(field) is \(here) in \(first.path) and \(there) in \(second.path); the steps before are the same. "
          + leaf + tensors)
    }
    let lengths = runs.map(\.count)
    let rest =
      lengths[0] == lengths[1]
      ? "" : " (\(lengths[0]) and \(lengths[1]) steps are logged)"
    return "\(common.count) steps are the same, the last with digest \(last.0.digest ?? "")\(rest)"
  }

  private static func differingTensors(_ first: URL, _ second: URL, from step: Int) throws -> String
  {
    func checkpoints(_ run: URL) throws -> [Int: URL] {
      let folder = run.appending(path: CheckpointStore.folderName)
      let names = (try? FileOperations.entries(folder)) ?? []
      return Dictionary(
        names.compactMap { name in
          CheckpointStore.step(of: name).map { ($0, folder.appending(path: name)) }
        }
      ) { $1 }
    }
    let (ours, theirs) = (try checkpoints(first), try checkpoints(second))
    guard let at = ours.keys.filter({ $0 >= step && theirs[$0] != nil }).min(), let a = ours[at],
      let b = theirs[at]
    else { return "No checkpoint of both is from that step or later, so tensors cannot be named." }
    let files = try [a, b].map { try Safetensors($0.appending(path: CheckpointManifest.weights)) }
    var names: [String] = []
    for tensor in files[0].tensors {
      let count = tensor.shape.reduce(1, *)
      guard files[1].tensor(tensor.name)?.shape == tensor.shape else {
        names.append(tensor.name)
        continue
      }
      let values = try files.map { file in
        let arena = Arena(count: count)
        try file.read(tensor.name, into: arena.elements)
        return arena
      }
      if memcmp(values[0].base, values[1].base, 4 * count) != 0 { names.append(tensor.name) }
    }
    guard let name = names.first else {
      return "Their checkpoints of step \(at) hold the same weights."
    }
    return
      "In their checkpoints of step \(at), \(names.count) of \(files[0].tensors.count) tensors differ, the first is \(name)."
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
    let log = Dictionary(try LoggedStep.read(metrics).map { ($0.step, $0) }) { $1 }
    guard let target = target ?? log.keys.max(), log[target] != nil else {
      throw RunError(
        .usage,
        "\(metrics.path): there is no step \(target.map { "\($0)" } ?? "") with a digest. "
          + (log.isEmpty
            ? "Train it with this version of Lockstep first."
            : "Give a step from \(log.keys.min() ?? 0) to \(log.keys.max() ?? 0)."))
    }
    let start = try restore(files, before: target)
    if let logged = log[start], let digest = logged.digest {
      let found = ParameterDigest.text(
        ParameterDigest.of(parameters, chunks: 0..<optimizer.chunkCount, pool: engine.pool))
      guard found == digest else {
        throw RunError(
          .disagreement,
          "The checkpoint of step \(start) has the digest \(found), and \(metrics.path) says \(digest). They are not of the same run."
        )
      }
    }
    var rows = BatchRows(prepared.batches)
    for step in start..<target {
      let made = try advance(step: step, rows: rows.rows(ofStep: step)) { (false, false) }
      guard let logged = log[step + 1] else { continue }
      let here = LoggedStep(
        step: step + 1, loss: made.loss, learningRate: made.rate, gradientNorm: made.result.norm,
        leafLosses: made.result.leafLosses, tokens: made.tokens,
        digest: ParameterDigest.text(made.result.digest))
      if let (field, computed, said) = here.difference(from: logged) {
        throw RunError(
          .disagreement,
          "step \(step + 1): the \(field) is \(computed) when recomputed and \(said) in \(metrics.path); \(step - start) steps from step \(start) on are the same. "
            + (here.differingLeaf(from: logged).map {
              "The first leaf that differs is leaf \($0). "
            } ?? "")
            + "Look at the kernels and libraries of the machine that trained it.")
      }
    }
    return
      "step \(target) is confirmed: \(target - start) steps recomputed from \(start == 0 ? "the beginning" : "the checkpoint of step \(start)") give digest \(log[target]?.digest ?? "")"
  }

  /// Reads the last checkpoint before step `target`, or makes the first weights.
  private func restore(_ files: Files, before target: Int) throws -> Int {
    if let loaded = try files.store.load(into: parameters, optimizer: optimizer, before: target) {
      for notice in loaded.notices { output.write(notice + "\n") }
      try check(loaded.state, files.directory)
      return loaded.state.step
    }
    try initialize()
    return 0
  }
}
