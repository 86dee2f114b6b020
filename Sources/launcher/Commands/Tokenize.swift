import ArgumentParser
import Foundation
import Model
import Text
import Trainer

struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Cut lines of standard input into tokens.",
    discussion: """
      One JSON object a line: tokens, ids, and spans as [start, end) in Unicode scalars of the line; special tokens have an \
      empty span.

      Examples:
        echo 'A fine film' | lockstep tokenize --model models/minilm --tokenizer huggingface --uncased
        lockstep tokenize --vocab vocab.txt --tokenizer character --cased --json-input < texts.jsonl
      """)

  @Option(help: "A model's folder, Hugging Face or TensorFlow.")
  var model: String?

  @Option(help: "A vocab.txt.")
  var vocab: String?

  @Option(help: "Whose rules: google, huggingface or character.")
  var tokenizer: TokenizerKind

  @Flag(help: "By default as the model's folder says.")
  var letters: Case?

  @Flag(help: "Each line is a JSON string.")
  var jsonInput = false

  @Flag(help: "Leave out [CLS] and [SEP].")
  var noSpecials = false

  @OptionGroup var threads: ThreadOptions

  func validate() throws {
    guard (model == nil) != (vocab == nil) else {
      throw ValidationError("Give one of --model DIR and --vocab FILE.")
    }
    guard model != nil || letters != nil else {
      throw ValidationError("Say whether the vocabulary is --cased or --uncased.")
    }
  }

  func run() throws {
    let (vocabulary, lowercase) = try source()
    let tokenizer = Tokenizer(vocabulary: vocabulary, kind: tokenizer, lowercase: lowercase)
    for warning in vocabulary.warnings + tokenizer.warnings { Console.message("note: \(warning)") }
    var reader = LineReader()
    while let lines = try reader.next(limit: 4096) {
      let texts = try lines.map { jsonInput ? try Self.string($0) : $0.text }
      let tokenized = tokenizer.tokenize(texts, threads: threads.count)
      let output = try tokenized.map { text in
        if noSpecials { return line(vocabulary, text.ids, text.spans) }
        let input = try tokenizer.assemble(text, limit: .max, truncation: .error)
        return line(vocabulary, input.ids, input.spans)
      }
      try Console.print(output.joined(separator: "\n"))
    }
  }

  private func source() throws -> (Vocabulary, lowercase: Bool) {
    if let vocab {
      return (try Vocabulary.opened(URL(argument: vocab)), letters == .uncased)
    }
    let folder = try ModelFolder.open(URL(argument: model ?? ""), dialect: .huggingface)
    guard let url = folder.vocabularyURL else {
      throw RunError(.data, "\(folder.folder.path): there is no vocab.txt. Give one with --vocab.")
    }
    let vocabulary = try Vocabulary.opened(url)
    return (vocabulary, vocabulary.lowercase(letters, saying: folder.lowercase))
  }

  static func string(_ line: LineReader.Line) throws -> String {
    guard let text = try? JSONDecoder().decode(String.self, from: Data(line.text.utf8)) else {
      throw RunError(
        .data,
        "standard input:\(line.number): the line is not a JSON string. Write it as \"…\", or leave --json-input out."
      )
    }
    return text
  }

  private func line(_ vocabulary: Vocabulary, _ ids: [Int32], _ spans: [Range<Int>]) -> String {
    let tokens = ids.map { JSONText.quoted(vocabulary.tokens[Int($0)]) }.joined(separator: ",")
    let numbers = ids.map(String.init).joined(separator: ",")
    let ranges = spans.map { "[\($0.lowerBound),\($0.upperBound)]" }.joined(separator: ",")
    return "{\"tokens\":[\(tokens)],\"ids\":[\(numbers)],\"spans\":[\(ranges)]}"
  }
}

extension Vocabulary {
  /// Whether texts are lower-cased: as asked, as the folder says, or as the entries show.
  func lowercase(_ letters: Case?, saying folder: Bool?) -> Bool {
    if let known = letters.map({ $0 == .uncased }) ?? folder { return known }
    Console.message("note: \(caseNote)")
    return !hasCapitals
  }

  /// The vocabulary at `url`; a file that cannot be read is a sentence.
  static func opened(_ url: URL) throws -> Vocabulary {
    do {
      return try Vocabulary(contentsOf: url)
    } catch let error as CocoaError {
      throw RunError(
        .data, "\(url.relativePath) cannot be read: \(error.localizedDescription) Check the path.")
    }
  }
}
