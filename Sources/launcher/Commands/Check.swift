import ArgumentParser
import Foundation
import Text
import Trainer

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Report on a recipe's rows before training on them.",
    discussion: """
      Everything that train checks is checked. Then the rows: duplicates, contradicting labels and the accuracy that they leave possible, rows of \
      one split in another, characters unknown to the vocabulary, what is cut off, class balance, lengths. Each finding names file and line, \
      and what to do.

      Examples:
        lockstep check recipes/movies.yaml
        lockstep check recipes/movies.yaml --json
        lockstep check recipes/movies.yaml --drop-duplicates --skip-bad 10
      """)

  @Argument(help: "The recipe, a YAML file.")
  var recipe: String

  @OptionGroup var rows: RowOptions

  @Flag(help: "Print the report as one JSON object.")
  var json = false

  @OptionGroup var threads: ThreadOptions

  func run() throws {
    let recipe = try Recipe(contentsOf: URL(argument: recipe), overrides: rows.overrides)
    let prepared = try PreparedRun(
      recipe, threads: threads.threads ?? recipe.threads ?? Machine.processors)
    if json {
      try Console.print(
        String(decoding: prepared.report.json(), as: UTF8.self).trimmingCharacters(in: .newlines))
      return
    }
    for note in prepared.notes { Console.message("note: \(note)") }
    try Console.print(prepared.report.text)
  }
}
