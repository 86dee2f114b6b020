import Foundation
import Model

/// Comparing two runs with one another, by their logs and by computing the step again at which they part.
///
/// Nothing is written in either run's directory.
package struct RunComparison {
  private let threads: Int
  private let memoryLimit: Int
  private let write: (String) -> Void
  private let observe: ((_ run: URL) -> LeafGradientObserver?)?

  /// A comparison that computes with `threads` threads in at most `memoryLimit` bytes where a recipe has no `memoryLimit`.
  ///
  /// Messages go to `write`; `observe` gives for a run who sees the gradients of its leaves first.
  package init(
    threads: Int, memoryLimit: Int, observe: ((_ run: URL) -> LeafGradientObserver?)? = nil,
    write: @escaping (String) -> Void
  ) {
    self.threads = threads
    self.memoryLimit = memoryLimit
    self.observe = observe
    self.write = write
  }

  /// What was found, in lines, where all steps that both logged are the same.
  ///
  /// Throws `RunError` with exit code 77 at the first step that differs, or where one run has steps that the other has not. It names the recipe's keys that differ; where none does, the step is computed
  /// again in both runs, and the first leaf and tensor that differ are named. Where that cannot be done the reason is said,
  /// with what the logs tell.
  package func compare(_ first: URL, _ second: URL) throws -> String {
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
      let limits = LoggedStep.limits(of: [a, b])
      let exchange =
        limits.isEmpty
        ? ""
        : " The step was made with \(limits.joined(separator: ", and with ")): other ranks or another exchange give other bits."
      throw RunError(
        .disagreement,
        "step \(a.step): the \(field) is \(here) in \(first.path) and \(there) in \(second.path); the steps before are the same. "
          + reason(first, second, a, b) + exchange)
    }
    let finding =
      "\(common.count == 1 ? "1 step is" : "\(common.count) steps are") the same, the last (\(last.0.step)) with digest \(last.0.digest ?? "")"
    let lengths = runs.map(\.count)
    guard lengths.allSatisfy({ $0 == common.count }) else {
      throw RunError(
        .disagreement,
        "\(first.path) has logged \(lengths[0]) steps and \(second.path) \(lengths[1]): \(finding); the others are in one of the two alone. "
          + "Compare again when both have the same steps.")
    }
    return finding
  }

  /// Why the runs part at the step that they logged as `a` and `b`.
  private func reason(_ first: URL, _ second: URL, _ a: LoggedStep, _ b: LoggedStep) -> String {
    let logs = "By the logs alone: \(a.evidence(against: b))"
    do {
      let keys = try Self.recipeDifferences(first, second)
      guard keys.isEmpty else {
        return "Their recipes differ: \(keys.joined(separator: "; ")). \(logs)"
      }
    } catch {
      return "Their recipes cannot be compared (\(error)). \(logs)"
    }
    var found: [StepFingerprint] = []
    for run in [first, second] {
      do {
        found.append(try fingerprint(run, step: a.step))
      } catch {
        return "The step cannot be computed again in \(run.path): \(error) \(logs)"
      }
    }
    let places = zip([first, second], found).map { run, fingerprint in
      "\(run.path) from \(fingerprint.start == 0 ? "its beginning" : "its checkpoint of step \(fingerprint.start)")"
    }
    let intro = "Computed again here, \(places.joined(separator: " and ")): "
    // What a machine did wrong once is not found by doing it right.
    let unconfirmed = zip(zip([first, second], [a, b]), found).compactMap { run, fingerprint in
      fingerprint.logged.difference(from: run.1).map {
        "The log of \(run.0.path) is not confirmed: the \($0.field) is \($0.here) here and \($0.there) there."
      }
    }
    let doubts = unconfirmed.map { " " + $0 }.joined()
    guard let difference = found[0].difference(from: found[1], names: (first.path, second.path))
    else {
      return
        "\(intro)the step is the same in both, leaf by leaf and tensor by tensor.\(doubts) "
        + "The machine that wrote it computed otherwise, so its tensor cannot be named. \(logs)"
    }
    return intro + difference + doubts
  }

  /// Prepares `run` as it was trained and computes its step `step`, from 1.
  private func fingerprint(_ run: URL, step: Int) throws -> StepFingerprint {
    let directory = try RunDirectory(run, resumes: true)
    let recipe = try Recipe(contentsOf: directory.recipe, overrides: [])
    let prepared = try PreparedRun(recipe, threads: threads)
    let pool = ThreadPool(threads: threads)
    defer { pool.stop() }
    let engine = Engine(
      configuration: prepared.configuration, head: prepared.definition.head, pool: pool)
    let memory = try MemoryPlan(
      prepared, engine: engine, limit: recipe.memoryLimit ?? memoryLimit)
    return try TrainingRun(
      prepared, group: .alone(leaves: recipe.batch.leaves), directory: directory, access: .reading,
      engine: engine, memory: memory, requests: RunRequests(),
      output: TrainingRun.Output(isTerminal: false, write: write)
    ).fingerprint(ofStep: step, observe: observe?(run))
  }

  /// The keys that enter the weights and differ, with both values.
  private static func recipeDifferences(_ first: URL, _ second: URL) throws -> [String] {
    let recipes = try [first, second].map { run in
      let url = try RunDirectory(run, resumes: true).recipe
      let text = String(decoding: try InputFile.contents(of: url), as: UTF8.self)
      return Recipe.flattened(text).filter { !Recipe.freeKeys.contains($0.key) }
    }
    let values = recipes.map { Dictionary($0.map { ($0.key, $0.value) }) { $1 } }
    var keys = recipes[0].map(\.key)
    keys += recipes[1].map(\.key).filter { values[0][$0] == nil }
    return keys.filter { values[0][$0] != values[1][$0] }.map {
      "\($0) is \(values[0][$0] ?? "absent") in \(first.path) and \(values[1][$0] ?? "absent") in \(second.path)"
    }
  }
}

extension LoggedStep {
  /// What two logs of the same step tell beside the first field that differs: leaves and groups of tensors.
  func evidence(against other: LoggedStep) -> String {
    var text: [String] = []
    if let leaf = differingLeaf(from: other) {
      text.append(
        "of \(leafLosses?.count ?? 0) leaves the first whose loss differs is leaf \(leaf)")
    } else if let own = leafLosses, own == other.leafLosses {
      text.append("the losses of all \(own.count) leaves are the same")
    } else {
      text.append("the losses of leaves cannot be compared")
    }
    if let own = gradientNorms, let others = other.gradientNorms, own.count == others.count {
      let group = own.indices.first { own[$0] != others[$0] }
      text.append(
        group.map {
          "the first group of tensors whose gradient's norm differs is \(GradientGroups.name(ofGroup: $0, of: own.count))"
        } ?? "the gradient's norms of all groups of tensors are the same")
    } else {
      text.append("the norms of the gradient by groups of tensors cannot be compared")
    }
    return text.joined(separator: "; ") + "."
  }
}

extension GradientGroups {
  /// The name of a group by its place among `count`: embeddings, the layers, and the head.
  static func name(ofGroup place: Int, of count: Int) -> String {
    place == 0 ? "embeddings" : place == count - 1 ? "head" : "layer \(place - 1)"
  }
}
