import Collective
import Foundation
import Model
import Synchronization
import Trainer

/// One rank's part of training `recipe` into `run`, with numerics that `change` may make other ones.
func trainedPart(
  _ recipe: URL, into run: URL, _ overrides: [String] = [], on collective: CollectiveEngine,
  exchange: ExchangeSettings = ExchangeSettings(), resumes: Bool = false,
  requests: RunRequests = RunRequests(), change: (inout Numerics) -> Void = { _ in },
  operations: FileOperations = FileOperations(),
  write: @escaping (String) -> Void = { _ in }
) throws -> TrainingRun.Outcome {
  let recipe = try Recipe(contentsOf: recipe, overrides: overrides)
  let group = try RankGroup(collective, leaves: recipe.batch.leaves)
  let prepared = try PreparedRun(recipe, threads: 1, group: group)
  let pool = ThreadPool(threads: 1)
  defer { pool.stop() }
  let engine = Engine(
    configuration: prepared.configuration, head: prepared.definition.head, pool: pool)
  var numerics = try Numerics(engine.contract)
  change(&numerics)
  return try TrainingRun(
    prepared, group: group,
    directory: collective.isRoot ? RunDirectory(run, resumes: resumes) : nil, engine: engine,
    memory: MemoryPlan(prepared, engine: engine, limit: 1 << 30), exchange: exchange,
    requests: requests, numerics: numerics, operations: operations,
    output: TrainingRun.Output(isTerminal: false) { if collective.isRoot { write($0) } }
  ).run()
}

/// Trains `recipe` into `run` on ranks in memory; returns the hash of the weights (empty if it was stopped) and what rank 0 said.
@discardableResult
func trained(
  _ recipe: URL, into run: URL, _ overrides: [String] = [], ranks: Int = 1, resumes: Bool = false,
  stops: Bool = false
) throws -> (weights: String, messages: String) {
  let messages = Mutex("")
  let outcomes = try onRanks(ranks) { collective in
    let requests = RunRequests()
    if stops { requests.stop() }
    return try trainedPart(
      recipe, into: run, overrides, on: collective, resumes: resumes, requests: requests,
      write: { text in messages.withLock { $0 += text } })
  }
  let said = messages.withLock { $0 }
  guard case .finished(let weights)? = outcomes.first else { return ("", said) }
  return (weights, said)
}

/// What `lockstep verify RUN` says of step `step`, or of the last.
func verified(_ run: URL, step: Int? = nil) throws -> String {
  let directory = try RunDirectory(run, resumes: true)
  let prepared = try PreparedRun(
    Recipe(contentsOf: directory.recipe, overrides: []), threads: 1)
  let pool = ThreadPool(threads: 1)
  defer { pool.stop() }
  let engine = Engine(
    configuration: prepared.configuration, head: prepared.definition.head, pool: pool)
  return try TrainingRun(
    prepared, group: .alone(leaves: prepared.recipe.batch.leaves), directory: directory,
    access: .reading, engine: engine,
    memory: MemoryPlan(prepared, engine: engine, limit: 1 << 30), requests: RunRequests(),
    output: TrainingRun.Output(isTerminal: false) { _ in }
  ).verify(step: step)
}

/// A comparison of two runs with one thread.
func comparison(
  observe: ((URL) -> LeafGradientObserver?)? = nil
) -> RunComparison {
  RunComparison(threads: 1, memoryLimit: 1 << 30, observe: observe) { _ in }
}

/// Replaces the line of step `step` in the log of `run` by what `change` makes of it.
func changeLog(_ run: URL, step: Int, _ change: (String) -> String) throws {
  let url = run.appending(path: "metrics.jsonl")
  let lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n").map { line in
    // Evaluations have a step, too.
    line.hasPrefix("{\"step\":\(step),") && line.contains("\"digest\"")
      ? change(String(line)) : String(line)
  }
  try (lines.joined(separator: "\n") + "\n").write(to: url, atomically: true, encoding: .utf8)
}
