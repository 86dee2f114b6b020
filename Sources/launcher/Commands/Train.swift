import ArgumentParser
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

  func run() throws {
    let recipeURL = URL(argument: recipe)
    let recipe = try Recipe(contentsOf: recipeURL, overrides: overrides)
    let threadCount = threads.threads ?? recipe.threads ?? Machine.processors
    Console.message(KernelChoice.description)
    let prepared = try PreparedRun(recipe, threads: threadCount)
    for note in prepared.notes { Console.message("note: \(note)") }

    let engine = Engine(
      configuration: prepared.configuration, head: prepared.definition.head,
      pool: ThreadPool(threads: threadCount))
    defer { engine.pool.stop() }
    let memory = try MemoryPlan(
      prepared, engine: engine, limit: recipe.memoryLimit ?? Machine.availableMemory)
    let summary = prepared.summary(memory, threads: threadCount)
    if dryRun {
      try Console.print(summary)
      return
    }
    Console.message(summary)

    let name = recipeURL.deletingPathExtension().lastPathComponent
    let directory = try RunDirectory(URL(argument: runDirectory ?? "runs/\(name)"), resumes: resume)
    Signals.install()
    let training = try TrainingRun(
      prepared, directory: directory, engine: engine, memory: memory, requests: Signals.requests,
      output: TrainingRun.Output(isTerminal: Console.isTerminal, write: Console.write))
    switch try training.run() {
    case .finished(let digest):
      try Console.print("weights sha256 \(digest)")
    case .interrupted:
      Console.message(
        "continue with: lockstep train \(directory.recipe.path) --run \(directory.url.path) --resume"
      )
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
