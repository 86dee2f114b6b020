import ArgumentParser
import Collective
import Foundation
import Model
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
        lockstep train recipes/movies.yaml --set optimizer.learningRate=2e-5 --set epochs=2 --dry-run
      """)

  @Argument(help: "The recipe, a YAML file.")
  var recipe: String

  @Option(
    name: .customLong("run"), help: "The run's directory; by default runs/ and the recipe's name.")
  var runDirectory: String?

  @Flag(help: "Continue the run from its last checkpoint, or begin if it has none.")
  var resume = false

  @Option(
    name: .customLong("set"), parsing: .singleValue,
    help: ArgumentHelp("Override a key of the recipe; may be repeated.", valueName: "key=value"))
  var overrides: [String] = []

  @Flag(help: "Check everything, print the plan and train nothing.")
  var dryRun = false

  @OptionGroup var threads: ThreadOptions
  @OptionGroup(title: "Ranks") var exchange: ExchangeOptions

  func run() throws { try Ranks.run(stallSeconds: exchange.stallSeconds, train) }

  private func train(_ collective: CollectiveEngine) throws {
    let isRoot = collective.isRoot
    let recipeURL = URL(argument: recipe)
    let recipe = try Recipe(contentsOf: recipeURL, overrides: overrides)
    let threadCount = threads.threads ?? recipe.threads ?? Ranks.threads
    let group = try RankGroup(collective, leaves: recipe.batch.leaves)
    if isRoot { Console.message(KernelChoice.description) }
    let prepared = try PreparedRun(recipe, threads: threadCount)
    if isRoot { for note in prepared.notes { Console.message("note: \(note)") } }

    let engine = Engine(
      configuration: prepared.configuration, head: prepared.definition.head,
      pool: ThreadPool(threads: threadCount))
    defer { engine.pool.stop() }
    let memory = try MemoryPlan(
      prepared, engine: engine,
      limit: recipe.memoryLimit ?? Machine.availableMemory / Ranks.onThisHost, group: group,
      isSharded: exchange.settings.shards(prepared.optimizer.method, ranks: group.size))
    let summary = prepared.summary(memory, threads: threadCount)
    if dryRun {
      if isRoot { try Console.print(summary) }
      return
    }
    if isRoot { Console.message(summary) }

    let name = recipeURL.deletingPathExtension().lastPathComponent
    let url = URL(argument: runDirectory ?? "runs/\(name)")
    let directory = isRoot ? try RunDirectory(url, resumes: resume) : nil
    Signals.install()
    let training = try TrainingRun(
      prepared, group: group, directory: directory, engine: engine, memory: memory,
      exchange: exchange.settings, requests: Signals.requests,
      output: TrainingRun.Output(
        isTerminal: Console.isTerminal, write: { if isRoot { Console.write($0) } }))
    switch try training.run() {
    case .finished(let digest):
      if isRoot { try Console.print("weights sha256 \(digest)") }
    case .interrupted:
      if let directory {
        Console.message(
          "continue with: lockstep train \(directory.recipe.path) --run \(directory.url.path) --resume"
        )
      }
      throw ExitStatus.tryAgain
    }
  }
}

/// The signals that a training listens to.
enum Signals {
  /// Made before any handler can run.
  static let requests = RunRequests()

  static func install() {
    _ = requests
    for number in [SIGTERM, SIGINT, SIGUSR1] {
      signal(number) { number in
        // Asked a second time by hand: whoever asks does not want to wait for the border.
        if Signals.requests.stop(), number == SIGINT { _exit(130) }
      }
    }
    signal(SIGUSR2) { _ in Signals.requests.save() }
    // Whoever started this process may have blocked them, and a mask is inherited.
    var heard = sigset_t()
    sigemptyset(&heard)
    for number in [SIGTERM, SIGINT, SIGUSR1, SIGUSR2] { sigaddset(&heard, number) }
    pthread_sigmask(SIG_UNBLOCK, &heard, nil)
  }
}
