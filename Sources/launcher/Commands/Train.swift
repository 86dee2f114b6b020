import ArgumentParser
import Collective
import Foundation
import Model
import Text
import Trainer

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a model as a recipe says.",
    discussion: """
      Everything is checked before the first step. SIGTERM, SIGINT and SIGUSR1 write a checkpoint at the next step border \
      and end with exit code 75; SIGUSR2 writes one and goes on. The last line of standard output is the SHA-256 of the final weights.

      Examples:
        lockstep train recipes/movies.yaml --run runs/movies
        lockstep train recipes/movies.yaml --run runs/movies --resume
        mpirun -n 4 lockstep train recipes/movies.yaml --run runs/movies
        lockstep train recipes/movies.yaml --run runs/movies5 --seeds 5
        lockstep train recipes/movies.yaml --drop-duplicates --skip-bad 10
        lockstep train recipes/movies.yaml --set optimizer.learningRate=2e-5 --set epochs=2 --dry-run
      """)

  @Argument(help: "The recipe, a YAML file.")
  var recipe: String

  @Option(
    name: .customLong("run"), help: "The run's directory; by default runs/ and the recipe's name.")
  var runDirectory: String?

  @Flag(help: "Continue the run from its last checkpoint, or begin if it has none.")
  var resume = false

  @OptionGroup var rows: RowOptions

  @Option(
    help: ArgumentHelp(
      "Train that many times with the recipe's seed and those after it, into seed-1, seed-2, … of the run's directory, and print mean and interval of each metric.",
      valueName: "count"))
  var seeds: Int?

  @Flag(
    help: "Check everything but the values of the weights, print the plan and train nothing.")
  var dryRun = false

  @OptionGroup var threads: ThreadOptions
  @OptionGroup(title: "Ranks") var exchange: ExchangeOptions

  func validate() throws {
    if let seeds, !(1...10_000).contains(seeds) {
      throw ValidationError("--seeds \(seeds): give a number from 1 to 10000.")
    }
  }

  func run() throws {
    let name = URL(argument: recipe).deletingPathExtension().lastPathComponent
    let run = URL(argument: runDirectory ?? "runs/\(name)")
    if !dryRun { Signals.install() }
    try Ranks.run(exchange, recorderFolder: run) { collective in
      guard let seeds else {
        if let digest = try train(collective, into: run, seed: nil) {
          try Console.print("weights sha256 \(digest)")
        }
        return
      }
      try trainSeeds(collective, into: run, count: seeds)
    }
  }

  /// Trains with several seeds, one after the other; those that are complete are not trained again.
  private func trainSeeds(_ collective: CollectiveEngine, into run: URL, count: Int) throws {
    let whole = try Recipe(contentsOf: URL(argument: recipe), overrides: rows.overrides)
    guard whole.seed <= UInt64(Int64.max) - UInt64(count) else {
      throw RunError(
        .usage,
        "--seeds \(count): the seeds after \(whole.seed) are more than the recipe's `seed` may be. Give a smaller seed."
      )
    }
    let seeds = (0..<UInt64(count)).map { whole.seed + $0 }
    let runs = (1...count).map { run.appending(path: "seed-\($0)") }
    for (seed, directory) in zip(seeds, runs) {
      if collective.isRoot { Console.message("== seed \(seed): \(directory.path)") }
      guard let digest = try train(collective, into: directory, seed: seed) else { continue }
      do {
        try Console.print("weights sha256 \(digest)")
      } catch is BrokenPipe {
        // Whoever read the first digests has enough of them; the other seeds are still to be trained.
      }
    }
    guard !dryRun, collective.isRoot else { return }
    let found = try runs.map {
      try SeedSummary.scores(ofRun: $0, metric: whole.evaluation.metric)
    }
    let summary = SeedSummary(seeds: seeds, split: found[0].split, scores: found.map(\.scores))
    try summary.write(to: run.appending(path: "seeds.json"))
    try Console.print(summary.text)
  }

  /// Trains once; returns the digest of the weights at rank 0, nil at the others and where nothing is trained.
  private func train(
    _ collective: CollectiveEngine, into url: URL, seed: UInt64?
  ) throws -> String? {
    let isRoot = collective.isRoot
    let recipe = try Recipe(
      contentsOf: URL(argument: recipe),
      overrides: rows.overrides + (seed.map { ["seed=\($0)"] } ?? []))
    let threadCount = threads.threads ?? recipe.threads ?? Ranks.threads
    let group = try RankGroup(
      collective, leaves: recipe.batch.leaves, processors: Ranks.processors)
    if isRoot { Console.message(KernelChoice.description) }
    let prepared = try PreparedRun(recipe, threads: threadCount, group: group)
    if isRoot {
      for note in prepared.notes { Console.message("note: \(note)") }
      for finding in prepared.report.findings where finding.kind != "truncation" {
        Console.message("rows: \(finding)")
      }
    }

    let engine = Engine(
      configuration: prepared.configuration, head: prepared.definition.head,
      pool: ThreadPool(threads: threadCount))
    defer { engine.pool.stop() }
    let memory = try MemoryPlan(
      prepared, engine: engine,
      limit: recipe.memoryLimit ?? Machine.availableMemory / Ranks.onThisHost,
      held: Machine.residentMemory, group: group,
      isSharded: exchange.settings.shards(prepared.optimizer.method, ranks: group.size))
    let summary =
      prepared.summary(memory, threads: threadCount) + "\nproducts   \(MatrixProduct.summary)"
    if dryRun {
      if isRoot {
        _ = try RunDirectory(url, resumes: resume || seed != nil)
        try Console.print(summary)
      }
      return nil
    }
    if isRoot { Console.message(summary) }

    // Of several seeds a part may be there already.
    let directory = isRoot ? try RunDirectory(url, resumes: resume || seed != nil) : nil
    Signals.installInterrupt()
    let training = try TrainingRun(
      prepared, group: group, directory: directory, engine: engine, memory: memory,
      exchange: exchange.settings, requests: Signals.requests,
      output: TrainingRun.Output(
        isTerminal: Console.isTerminal, write: { if isRoot { Console.write($0) } }))
    switch try training.run() {
    case .finished(let digest):
      if isRoot {
        Console.message(
          "memory       \(MemoryPlan.text(Machine.peakMemory)) at most, \(MemoryPlan.text(memory.peakBytes)) planned"
        )
      }
      return isRoot ? digest : nil
    case .interrupted:
      if let directory {
        Console.message(
          seed == nil
            ? "continue with: lockstep train \(directory.recipe.path) --run \(directory.url.path) --resume"
            : "continue with the same command: seeds that are complete are not trained again")
      }
      throw ExitStatus.tryAgain
    }
  }
}

/// The signals that a training listens to.
enum Signals {
  /// Made before any handler can run.
  static let requests = RunRequests()

  /// Listens from the beginning: what is asked for while rows are read is done at the first step border.
  static func install() {
    _ = requests
    for number in [SIGTERM, SIGUSR1] { signal(number) { _ in _ = Signals.requests.stop() } }
    signal(SIGUSR2) { _ in Signals.requests.save() }
    unblock([SIGTERM, SIGUSR1, SIGUSR2])
  }

  /// Listens to SIGINT, which ends the process at once as long as there is nothing to lose.
  static func installInterrupt() {
    signal(SIGINT) { _ in
      // Asked a second time by hand: whoever asks does not want to wait for the border.
      if Signals.requests.stop() { _exit(130) }
    }
    unblock([SIGINT])
  }

  private static func unblock(_ numbers: [Int32]) {
    // Whoever started this process may have blocked them, and a mask is inherited.
    var heard = sigset_t()
    sigemptyset(&heard)
    for number in numbers { sigaddset(&heard, number) }
    pthread_sigmask(SIG_UNBLOCK, &heard, nil)
  }
}
