import ArgumentParser
import Foundation
import Trainer

struct Lockstep: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lockstep",
    abstract: "Fine-tunes BERT with the same bits on any number of ranks and threads.",
    discussion: """
      A first run:
        lockstep train recipes/movies.yaml --run runs/movies
        lockstep evaluate --run runs/movies --data data/movies/test.tsv
        lockstep predict --run runs/movies --input sentences.txt --output predictions.jsonl

      Standard output carries results, standard error progress and messages. Exit codes: 0 done, 64 usage, 65 data, \
      69 environment, 70 internal, 74 input/output, 75 checkpointed (run it again with --resume), \
      76 a rank stopped answering, 77 ranks or runs differ, 78 not finite.
      """,
    version: "lockstep 0.1.0, unreleased (lockstep doctor tells builds apart)",
    subcommands: [
      Train.self, Check.self, Evaluate.self, Predict.self, Serve.self, Tokenize.self, Embed.self,
      Inspect.self,
      Convert.self, Bench.self, Verify.self, Doctor.self,
    ])
}

/// A command that multiplies: OpenBLAS waits for ever for address space that a limit denies it.
protocol Computing: ParsableCommand {}
extension Train: Computing {}
extension Evaluate: Computing {}
extension Predict: Computing {}
extension Serve: Computing {}
extension Embed: Computing {}
extension Bench: Computing {}
extension Verify: Computing {}
extension Doctor: Computing {}

@main
enum Program {
  static func main() {
    // A closed pipe is an error of `write`, not the end of a training.
    signal(SIGPIPE, SIG_IGN)
    // So is a file that may not grow.
    signal(SIGXFSZ, SIG_IGN)
    KernelChoice.make()
    var command: any ParsableCommand
    if CommandLine.arguments.dropFirst().contains("") {
      // As a path it would be the working directory.
      Console.message("error: an argument is empty: perhaps a shell variable that is not set.")
      Foundation.exit(ExitStatus.usage.rawValue)
    }
    do {
      command = try Lockstep.parseAsRoot()
    } catch {
      Lockstep.exit(withError: error)
    }
    do {
      if command is any Computing { try Machine.requireAddressSpace() }
      try command.run()
    } catch {
      exit(reporting: error)
    }
  }

  /// Ends the process as the error asks for.
  private static func exit(reporting error: any Error) -> Never {
    switch error {
    case is BrokenPipe: Foundation.exit(ExitStatus.done.rawValue)
    case let status as ExitStatus: Foundation.exit(status.rawValue)
    case _ where [.success, .validationFailure].contains(Lockstep.exitCode(for: error)):
      // Help that was asked for, and what a command says of its options.
      Lockstep.exit(withError: error)
    default:
      let sentence = error is CocoaError ? error.localizedDescription : "\(error)"
      Console.message("error: \(sentence)")
      Foundation.exit(ExitStatus(error).rawValue)
    }
  }
}
