import Foundation

/// Sentences of tagged tokens: one token a line with its tag last, a blank line between sentences (CoNLL, People's Daily).
///
/// Fields are separated by a tab or by spaces. Tags are `O`, `B-TYPE` and `I-TYPE`. Without tags a line is a token.
package struct BIOFile: Sendable {
  package struct Sentence: Sendable, Equatable {
    /// The physical line of its first token.
    package let line: Int
    package let tokens: [String]
    /// As many as tokens, or none.
    package let tags: [String]

    package init(line: Int, tokens: [String], tags: [String]) {
      self.line = line
      self.tokens = tokens
      self.tags = tags
    }
  }

  /// What becomes of a tag that continues nothing: `I-X` behind `O` or behind another type.
  package enum Continuation: String, Sendable, Codable, CaseIterable {
    /// It is an error.
    case strict
    /// It starts an entity, as CoNLL's scorer and seqeval read it; counted.
    case repair
  }

  package let file: String
  package let sentences: [Sentence]
  /// Tags that were read as a start.
  package let repaired: Int
  /// Sentences with a malformed line, which are not among `sentences`.
  package let unread: UnreadRows?

  package init(
    file: String, sentences: [Sentence], repaired: Int = 0, unread: UnreadRows? = nil
  ) {
    self.file = file
    self.sentences = sentences
    self.repaired = repaired
    self.unread = unread
  }

  /// Reads `input`.
  ///
  /// Throws all its problems together; with `keepsUnread` those of single sentences are `unread`, if there are others.
  package static func read(
    _ input: any RowInput, withTags: Bool, continuation: Continuation = .strict,
    keepsUnread: Bool = false
  ) throws(DataErrors) -> BIOFile {
    let (data, start, source) = try RowFile.contents(of: input)
    let bytes = data.span
    var lines = LineScanner(from: start)
    var reader = SentenceReader(
      file: source.file, withTags: withTags, continuation: continuation)
    while let line = lines.next(bytes) {
      if let problem = source.problem(in: line.range, line: line.number, of: bytes) {
        reader.take(problem)
      } else {
        reader.take(bytes.string(line.range), line: line.number)
      }
    }
    reader.endSentence()
    let unread = try reader.unread.result(
      isKept: keepsUnread, rowsLeft: reader.sentences.count)
    guard !reader.sentences.isEmpty else {
      throw DataErrors(
        DataProblem(
          file: source.file, rule: "there is no sentence in it",
          remedy: "give a token a line, and a blank line between sentences"))
    }
    return BIOFile(
      file: source.file, sentences: reader.sentences, repaired: reader.repaired, unread: unread)
  }
}

private struct SentenceReader {
  let file: String
  let withTags: Bool
  let continuation: BIOFile.Continuation
  var unread = UnreadRowCollector()
  var sentences: [BIOFile.Sentence] = []
  var repaired = 0
  private var line = 0
  private var tokens: [String] = []
  private var tags: [String] = []
  /// What is wrong in the sentence at hand.
  private var problems: [DataProblem] = []

  init(file: String, withTags: Bool, continuation: BIOFile.Continuation) {
    self.file = file
    self.withTags = withTags
    self.continuation = continuation
  }

  /// Takes a line that is no text.
  mutating func take(_ problem: DataProblem) {
    if tokens.isEmpty { line = problem.line ?? line }
    tokens.append("")
    tags.append("O")
    problems.append(problem)
  }

  mutating func take(_ text: String, line number: Int) {
    let fields = text.split { $0 == " " || $0 == "\t" }.map(String.init)
    if fields.isEmpty {
      endSentence()
      return
    }
    if tokens.isEmpty { line = number }
    tokens.append(fields[0])
    guard withTags else { return }
    guard fields.count >= 2 else {
      problem(
        number, text, "a line has a token and its tag, this one has a single field",
        "add the tag (O outside of entities), or make the line blank if a sentence ends here")
      tags.append("O")
      return
    }
    tags.append(checked(fields[fields.count - 1], number))
  }

  private mutating func checked(_ tag: String, _ number: Int) -> String {
    if tag == "O" { return tag }
    let type = tag.dropFirst(2)
    guard tag.hasPrefix("B-") || tag.hasPrefix("I-"), !type.isEmpty else {
      problem(
        number, tag, "is no BIO tag",
        "use O, B-TYPE for the first token of an entity, I-TYPE inside")
      return "O"
    }
    guard tag.hasPrefix("I-"), tags.last?.dropFirst(2) != type else { return tag }
    switch continuation {
    case .repair:
      repaired += 1
      return "B-\(type)"
    case .strict:
      let before = tags.last.map { "follows \($0)" } ?? "starts a sentence"
      problem(
        number, tag, "continues an entity but \(before)",
        "correct the tag to B-\(type), or set tagging.continuation: repair")
      return tag
    }
  }

  private mutating func problem(_ number: Int, _ value: String, _ rule: String, _ remedy: String) {
    problems.append(
      DataProblem(
        file: file, line: number, row: line, value: value, rule: rule, remedy: remedy))
  }

  mutating func endSentence() {
    if !problems.isEmpty {
      for problem in problems { unread.problems.add(problem) }
      unread.countRow()
    } else if !tokens.isEmpty {
      sentences.append(BIOFile.Sentence(line: line, tokens: tokens, tags: tags))
    }
    tokens = []
    tags = []
    problems = []
  }
}
