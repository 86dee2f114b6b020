import ArgumentParser
import Collective
import Foundation
import Model
import Trainer

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Recompute steps of a run and compare them with its log, or compare two runs.",
    discussion: """
      With one run, in one process: the steps from the last checkpoint before --step (by default the last step) are computed again, and \
      loss, norm and the digest of the parameters of each are compared with metrics.jsonl. With two runs: their logs, step by \
      step; at the first that differs the keys of their recipes that do, or else that step is computed again for both, each from its last \
      checkpoint before, and the first leaf and tensor that differ are named. Nothing is written, and a run may be training \
      meanwhile. Exit code 77 says that something differs.

      Examples:
        lockstep verify runs/movies
        lockstep verify runs/movies --step 40
        lockstep verify runs/movies runs/movies-on-four-ranks
      """)

  @Argument(help: ArgumentHelp("The run's directory.", valueName: "run"))
  var directory: String

  @Argument(help: "Another run, to be compared with it.")
  var other: String?

  @Option(help: "The step to confirm, counted from 1.")
  var step: Int?

  @OptionGroup var threads: ThreadOptions

  func validate() throws {
    if let step, step < 1 { throw ValidationError("--step \(step): steps are counted from 1.") }
    if other != nil, step != nil {
      throw ValidationError("--step is for one run: two runs are compared step by step.")
    }
  }

  func run() throws {
    let url = URL(argument: directory)
    if let other {
      let comparison = RunComparison(
        threads: threads.count, memoryLimit: Machine.availableMemory, write: Console.write)
      try Console.print(comparison.compare(url, URL(argument: other)))
      return
    }
    let files = try RunDirectory(url, resumes: true)
    let recipe = try Recipe(contentsOf: files.recipe, overrides: [])
    let prepared = try PreparedRun(recipe, threads: threads.count)
    let engine = Engine(
      configuration: prepared.configuration, head: prepared.definition.head,
      pool: ThreadPool(threads: threads.count))
    defer { engine.pool.stop() }
    let memory = try MemoryPlan(
      prepared, engine: engine, limit: recipe.memoryLimit ?? Machine.availableMemory)
    let training = try TrainingRun(
      prepared, group: RankGroup.alone(leaves: recipe.batch.leaves), directory: files,
      access: .reading, engine: engine, memory: memory, requests: RunRequests(),
      output: TrainingRun.Output(isTerminal: false, write: Console.write))
    try Console.print(training.verify(step: step))
  }
}
