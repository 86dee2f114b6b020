import ArgumentParser
import Foundation
import Text
import Trainer

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Score the best model of a run, or the average of several, on labelled rows.",
    discussion: """
      The rows have the columns of the run's recipe. One JSON object with the metrics goes to standard output.

      Example:
        lockstep evaluate --run runs/movies --data data/movies/test.tsv
        lockstep evaluate --run runs/movies/seed-1 --run runs/movies/seed-2 --data data/movies/test.tsv
      """)

  @Option(
    name: .customLong("run"), parsing: .singleValue,
    help: "The run's directory; of several, the outputs are averaged.")
  var directories: [String]

  @Option(
    help:
      "The labelled rows, as the task's training file has them: .tsv, .csv or .jsonl; tagging: BIO; reading: JSON."
  )
  var data: String

  @OptionGroup var threads: ThreadOptions

  func validate() throws { try Ranks.requireOne("An evaluation") }

  func run() throws {
    let model = try Ensemble(
      runs: directories.map { URL(argument: $0) }, threads: threads.count)
    let (evaluation, examples) = try model.evaluate(URL(argument: data))
    if examples.truncation.cutRows > 0 {
      Console.message("note: \(examples.file): \(examples.truncation)")
    }
    let metrics = evaluation.metrics.map { "\"\($0.name)\":\($0.value)" }
    try Console.print("{\"rows\":\(evaluation.rows),\(metrics.joined(separator: ","))}")
  }
}

struct Predict: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Predict rows with the best model of a run, or the average of several.",
    discussion: """
      The input has the text columns of the run's recipe (.tsv, .csv, .jsonl; .bio and .json for tagging and reading) or a text a line (.txt). The \
      output has one JSON object a row, in the same order: what the task predicts, labels with the probability of each. For event subjects an \
      output that ends in .csv is their recipe's result file: "id","entity", no header.

      Example:
        lockstep predict --run runs/movies --input sentences.txt --output predictions.jsonl
      """)

  @Option(
    name: .customLong("run"), parsing: .singleValue,
    help: "The run's directory; of several, the outputs are averaged.")
  var directories: [String]

  @Option(help: "The rows to predict.")
  var input: String

  @Option(help: "The file to write; - is standard output.")
  var output: String

  @OptionGroup var threads: ThreadOptions

  func validate() throws { try Ranks.requireOne("A prediction") }

  func run() throws {
    let model = try Ensemble(
      runs: directories.map { URL(argument: $0) }, threads: threads.count)
    let file = URL(argument: output == "-" ? "/dev/stdout" : output)
    let examples = try model.predict(URL(argument: input), to: file)
    for note in examples.notes { Console.message("note: \(note)") }
    if examples.truncation.cutRows > 0 {
      Console.message("note: \(examples.file): \(examples.truncation)")
    }
    Console.message(
      "\(examples.rows.count) rows predicted into \(output == "-" ? "standard output" : output)")
  }
}
