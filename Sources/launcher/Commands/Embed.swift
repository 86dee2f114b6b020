import ArgumentParser
import Foundation
import Model
import Text
import Trainer

struct Embed: ParsableCommand {
  enum InputForm: String, ExpressibleByArgument, CaseIterable { case text, ids }

  static let configuration = CommandConfiguration(
    abstract: "Turn lines of standard input into vectors.",
    discussion: """
      Text: a line is a text, or a pair separated by a tab. Ids: a line is a JSON object with ids and segments, to which nothing \
      is added. One JSON object a line comes out, in the same order: vector, or vectors with --pooling tokens.

      Examples:
        echo 'A fine film' | lockstep embed --model models/minilm --pooling mean
        echo '{"ids": [101, 102], "segments": [0, 0]}' | lockstep embed --model models/minilm --pooling cls --input-form ids
      """)

  @Option(help: "A model's folder, Hugging Face or TensorFlow.")
  var model: String

  @Option(help: "cls, mean, pooler or tokens.")
  var pooling: Embedder.Pooling

  @Option(help: "text or ids.")
  var inputForm = InputForm.text

  @Option(help: "0 for the embeddings, 1 for the first layer and so on; by default the last.")
  var layer: Int?

  @Option(help: "Whose habits apply where the files do not say.")
  var dialect = Dialect.huggingface

  @Option(help: "Whose rules for text: google, huggingface or character; by default the dialect's.")
  var tokenizer: TokenizerKind?

  @Flag(help: "By default as the model's folder says; with the tokenizer character, cased.")
  var letters: Case?

  @Option(
    help: "Cut texts to so many tokens; without it, a text past the model's positions is an error.")
  var maxLength: Int?

  @OptionGroup var threads: ThreadOptions

  func run() throws {
    let folder = try ModelFolder.open(URL(argument: model), dialect: dialect)
    for warning in folder.warnings { Console.message("note: \(warning)") }
    let parse = try inputForm == .text ? textParser(folder) : idParser(folder.configuration)
    let embedder = try Embedder(folder, pooling: pooling, layer: layer, threads: threads.count)
    var reader = LineReader()
    while let lines = try reader.next(limit: 1024) {
      let vectors = embedder.vectors(of: try parse(lines))
      let output = vectors.map { rows in
        let texts = rows.map { "[\($0.map(\.description).joined(separator: ","))]" }
        return pooling == .tokens
          ? "{\"vectors\":[\(texts.joined(separator: ","))]}" : "{\"vector\":\(texts[0])}"
      }
      try Console.print(output.joined(separator: "\n"))
    }
  }

  private typealias Parser = ([LineReader.Line]) throws -> [SequenceInput]

  // MARK: Text

  private func textParser(_ folder: ModelFolder) throws -> Parser {
    let positions = folder.configuration.maximumPositions
    if let maxLength, !(3...positions).contains(maxLength) {
      throw RunError(
        .usage, "--max-length \(maxLength): give 3 to \(positions), the model's positions.")
    }
    guard let url = folder.vocabularyURL else {
      throw RunError(
        .data,
        "\(folder.folder.path): there is no vocab.txt. Put it there, or use --input-form ids.")
    }
    let kind = tokenizer ?? dialect.tokenizer
    let vocabulary = try Vocabulary.opened(url)
    // As in a recipe: the 2019 recipes' own tokenizer leaves letters as they are.
    let lowercase =
      kind == .character && letters == nil
      ? false : vocabulary.lowercase(letters, saying: folder.lowercase)
    let rows = folder.configuration.vocabularySize
    for warning in try vocabulary.check(modelVocabularySize: rows) {
      Console.message("note: \(warning)")
    }
    let tokenizer = Tokenizer(vocabulary: vocabulary, kind: kind, lowercase: lowercase)
    let threads = threads.count
    let truncation: Truncation = maxLength == nil ? .error : .huggingface
    return { lines in
      let halves = lines.map {
        $0.text.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
      }
      let first = tokenizer.tokenize(halves.map { String($0[0]) }, threads: threads)
      let second = tokenizer.tokenize(
        halves.map { $0.count > 1 ? String($0[1]) : "" }, threads: threads)
      return try lines.indices.map { i in
        do {
          let input = try tokenizer.assemble(
            first[i], halves[i].count > 1 ? second[i] : nil, limit: maxLength ?? positions,
            truncation: truncation)
          let sequence = SequenceInput(ids: input.ids, segments: input.segments, exampleID: 0)
          if let obstacle = folder.configuration.obstacle(to: sequence) {
            throw RunError(.data, "standard input:\(lines[i].number): the text \(obstacle).")
          }
          return sequence
        } catch is TruncationError {
          throw RunError(
            .data,
            "standard input:\(lines[i].number): the text has more tokens than the model's \(positions) positions. Cut it with --max-length."
          )
        }
      }
    }
  }

  // MARK: Ids

  private struct Ids: Decodable {
    let ids: [Int32]
    let segments: [Int32]
  }

  private func idParser(_ configuration: BertConfiguration) throws -> Parser {
    { lines in
      try lines.map { line in
        func refuse(_ reason: String) -> RunError {
          RunError(.data, "standard input:\(line.number): \(reason)")
        }
        guard let input = try? JSONDecoder().decode(Ids.self, from: Data(line.text.utf8)) else {
          throw refuse(
            "the line is not an object with ids and segments, two lists of whole numbers.")
        }
        guard input.ids.count == input.segments.count, !input.ids.isEmpty else {
          throw refuse(
            "there are \(input.ids.count) ids and \(input.segments.count) segments. Give as many of both, and at least one."
          )
        }
        guard input.ids.count <= configuration.maximumPositions else {
          throw refuse(
            "\(input.ids.count) ids where the model has \(configuration.maximumPositions) positions. Give fewer."
          )
        }
        let ids = 0..<Int32(configuration.vocabularySize)
        if let id = input.ids.first(where: { !ids.contains($0) }) {
          throw refuse("the id \(id) is not one of the model's \(ids.count).")
        }
        let segments = 0..<Int32(configuration.segmentCount)
        if let segment = input.segments.first(where: { !segments.contains($0) }) {
          throw refuse("the segment \(segment) is not one of the model's \(segments.count).")
        }
        return SequenceInput(ids: input.ids, segments: input.segments, exampleID: 0)
      }
    }
  }
}
