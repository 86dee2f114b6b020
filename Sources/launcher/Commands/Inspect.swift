import ArgumentParser
import Foundation
import Model
import Trainer

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what a file or folder of weights is.",
    discussion: """
      Family, configuration, and the tensors that are found, missing or left over, with both shapes and the likely cause.

      Examples:
        lockstep inspect chinese_L-12_H-768_A-12
        lockstep inspect models/minilm --json
      """)

  @Argument(help: "A folder, a checkpoint's prefix, or a safetensors file.")
  var path: String

  @Option(help: "Whose habits apply where the files do not say.")
  var dialect = Dialect.huggingface

  @Flag(help: "One JSON object.")
  var json = false

  func run() throws {
    let inspection = try Inspection(URL(argument: path), dialect: dialect)
    try Console.print(json ? inspection.json.compact() : inspection.text)
  }
}

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Rewrite a model in the other format, without losing a bit.",
    discussion: """
      Examples:
        lockstep convert chinese_L-12_H-768_A-12 models/bert_zh --to huggingface --uncased
        lockstep convert runs/movies/best movies_tf --to tensorflow
      """)

  @Argument(help: "A folder, a checkpoint's prefix, or a safetensors file.")
  var source: String

  @Argument(help: "The folder to write.")
  var destination: String

  @Option(help: "tensorflow or huggingface.")
  var to: Conversion.Target

  @Option(help: "Which framework's habits the source's configuration is read with.")
  var dialect = Dialect.huggingface

  @Flag(help: "How the vocabulary is to be used, where the source does not say.")
  var letters: Case?

  @Flag(help: "Replace a destination that is not empty.")
  var replace = false

  func run() throws {
    let conversion = try Conversion(
      URL(argument: source), to: URL(argument: destination), target: to, dialect: dialect,
      lowercase: letters.map { $0 == .uncased }, replacing: replace)
    for note in conversion.notes { Console.message("note: \(note)") }
    for item in conversion.leftOut {
      Console.message("left out: \(item.name)\(item.cause.map { " (\($0))" } ?? "")")
    }
    try Console.print(
      "\(conversion.written) tensors, \(conversion.byteCount) bytes written to \(destination)")
  }
}
