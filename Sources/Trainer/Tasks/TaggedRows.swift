import Foundation
import Model
import Text

/// Sentences of tokens with BIO tags.
package struct TaggedRows: TaskRows {
  private let bio: BIOFile
  private let tagging: Recipe.Tagging
  /// Of bare texts, each sentence's text and its tokens' scalars of it; empty for a file of tokens.
  private let sources: [TagDecoder.Source]

  package var file: String { bio.file }
  package var count: Int { bio.sentences.count }
  package var unread: UnreadRows? { bio.unread }

  package init(_ bio: BIOFile, _ tagging: Recipe.Tagging) { self.init(bio, tagging, []) }

  private init(_ bio: BIOFile, _ tagging: Recipe.Tagging, _ sources: [TagDecoder.Source]) {
    (self.bio, self.tagging, self.sources) = (bio, tagging, sources)
  }

  init(_ input: any RowInput, _ layout: RowLayout, withLabel: Bool) throws {
    guard let tagging = layout.tagging else { preconditionFailure("tagging without its section") }
    self.tagging = tagging
    let texts: [String], lines: [Int]
    if layout.isPlainText(input, withLabel: withLabel) {
      // Whole lines: a tab separates nothing here.
      texts = try TextLines.read(input).lines
      lines = Array(1..<texts.count + 1)
    } else if !withLabel, ["json", "jsonl", "ndjson"].contains(input.rowEnding) {
      // Tags have no form in JSON, bare texts do.
      let rows = try RowFile.read(
        input, columns: layout.predictedKeys.map { RequestedColumn(ColumnReference($0)) }
      ).rows
      texts = rows.map { $0.values[0] ?? "" }
      lines = rows.map(\.line)
    } else {
      bio = try BIOFile.read(
        input, withTags: withLabel, continuation: tagging.continuation, keepsUnread: true)
      sources = []
      return
    }
    sources = texts.map {
      TagDecoder.Source(text: $0, spans: Self.tokens(of: $0, unit: tagging.unit))
    }
    bio = BIOFile(
      file: input.rowName,
      sentences: zip(lines, sources).map { line, source in
        let scalars = Array(source.text.unicodeScalars)
        return BIOFile.Sentence(
          line: line,
          tokens: source.spans.map { String(String.UnicodeScalarView(scalars[$0])) }, tags: [])
      })
  }

  /// The tokens of a bare text as its scalars: its characters, or its words and punctuation marks; white space is none.
  static func tokens(of text: String, unit: Recipe.Tagging.Unit) -> [Range<Int>] {
    var tokens: [Range<Int>] = []
    var word: Int?
    var count = 0
    for (place, scalar) in text.unicodeScalars.enumerated() {
      let isSpace = scalar.properties.isWhitespace
      let isAlone = unit == .characters || Self.isPunctuation(scalar)
      if isSpace || isAlone {
        if let start = word { tokens.append(start..<place) }
        word = nil
        if !isSpace { tokens.append(place..<place + 1) }
      } else {
        word = word ?? place
      }
      count = place + 1
    }
    if let start = word { tokens.append(start..<count) }
    return tokens
  }

  /// The types of entities that the tags name.
  var types: Set<String> {
    Set(bio.sentences.lazy.flatMap(\.tags).filter { $0 != "O" }.map { String($0.dropFirst(2)) })
  }

  private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
      .initialPunctuation, .finalPunctuation, .otherPunctuation:
      true
    default: false
    }
  }

  package var reported: [DataReport.Row] {
    bio.sentences.map { sentence in
      DataReport.Row(
        line: sentence.line,
        text: TagDecoder.Source(tokens: sentence.tokens, unit: tagging.unit).text,
        label: sentence.tags.isEmpty ? nil : sentence.tags.joined(separator: " "),
        classes: TaggedEntity.entities(of: sentence.tags.map(known)).map(\.type))
    }
  }

  package func filtered(_ isKept: (Int) -> Bool) -> TaggedRows {
    TaggedRows(
      BIOFile(
        file: bio.file,
        sentences: bio.sentences.enumerated().filter { isKept($0.offset) }.map(\.element),
        repaired: bio.repaired, unread: bio.unread), tagging,
      sources.enumerated().filter { isKept($0.offset) }.map(\.element))
  }

  /// `O`, then `B-` and `I-` of each type in order; for GlobalPointer the types.
  package func labels(_ recipe: Recipe) throws -> [String] {
    let found = types
    let types = (tagging.types ?? found.sorted()).sorted()
    if let missing = types.first(where: { !found.contains($0) }) {
      throw DataErrors(
        DataProblem(
          file: file, value: missing, rule: "is a type of tagging.types, and no tag has it",
          remedy: "the types are \(DataProblem.list(found.sorted()))"))
    }
    guard !types.isEmpty else {
      throw DataErrors(
        DataProblem(
          file: file, rule: "every tag is O", remedy: "give sentences with entities"))
    }
    if tagging.head == .globalPointer { return types }
    return ["O"] + types.flatMap { ["B-\($0)", "I-\($0)"] }
  }

  /// A sentence as it is read: which token each piece belongs to.
  private struct Pieces {
    var ids: [Int32] = []
    var tokens: [Int] = []
  }

  package func examples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet {
    let numbers = Dictionary(
      context.definition.labels.enumerated().map { ($1, $0) }
    ) { first, _ in first }
    var problems = DataProblemCollector()
    if withLabel { check(numbers, &problems) }
    try problems.check()
    let words = bio.sentences.map(\.tokens)
    let tokenized = try context.tokenize(words.flatMap { $0 })
    var next = 0
    var fingerprint = RowFingerprint()
    var report = TruncationReport()
    var sequences: [SequenceInput] = [], sentences: [TagDecoder.Sentence] = []
    let room = context.definition.maxLength - 2
    for (number, sentence) in bio.sentences.enumerated() {
      var pieces = Pieces()
      for token in sentence.tokens.indices {
        for id in tokenized[next].ids {
          pieces.ids.append(id)
          pieces.tokens.append(token)
        }
        next += 1
      }
      report.add(
        tokens: pieces.ids.count, cut: max(0, pieces.ids.count - room), row: sentence.line)
      let kept = min(pieces.ids.count, room)
      let vocabulary = context.tokenizer.vocabulary
      let ids =
        [vocabulary.classification] + pieces.ids.prefix(kept) + [vocabulary.separator]
      let tags = sentence.tags.map(known)
      let decoded = TagDecoder.Sentence(
        tokens: sentence.tokens, tags: withLabel ? tags : nil,
        pieces: Array(pieces.tokens.prefix(kept)),
        source: sources.isEmpty
          ? TagDecoder.Source(tokens: sentence.tokens, unit: tagging.unit) : sources[number])
      sequences.append(
        SequenceInput(
          ids: ids, segments: ids.map { _ in 0 }, exampleID: UInt64(number),
          target: withLabel ? target(decoded, tags, numbers) : []))
      sentences.append(decoded)
      sentence.tokens.forEach { fingerprint.add($0) }
      sentence.tags.forEach { fingerprint.add($0) }
    }
    return ExampleSet(
      file: file, sequences: sequences, truncation: report, fingerprint: fingerprint.text,
      notes: notes, decoder: TagDecoder(context.definition, tagging, sentences))
  }

  private var notes: [String] {
    var notes: [String] = []
    if bio.repaired > 0 {
      notes.append(
        "\(file): \(bio.repaired) tags I- that continue nothing are read as B- (tagging.continuation: repair)"
      )
    }
    let single = bio.sentences.lazy.flatMap(\.tokens).prefix(2000).filter {
      $0.unicodeScalars.count == 1
    }.count
    let seen = bio.sentences.lazy.flatMap(\.tokens).prefix(2000).count
    if tagging.unit == .words, single * 10 > seen * 9 {
      notes.append(
        "\(file): nearly all tokens are single characters; with tagging.unit: characters a bare text is cut the same way for prediction"
      )
    }
    return notes
  }

  /// Types that are not learnt are outside.
  private func known(_ tag: String) -> String {
    guard let types = tagging.types, tag != "O" else { return tag }
    return types.contains(String(tag.dropFirst(2))) ? tag : "O"
  }

  private func isKnown(_ tag: String, _ numbers: [String: Int]) -> Bool {
    guard tagging.head == .globalPointer else { return numbers[tag] != nil }
    return tag == "O" || numbers[String(tag.dropFirst(2))] != nil
  }

  private func check(_ numbers: [String: Int], _ problems: inout DataProblemCollector) {
    for sentence in bio.sentences {
      if sentence.tokens.allSatisfy(\.isBlank) {
        problems.add(.empty(file, line: sentence.line, column: nil))
      }
      for (offset, tag) in sentence.tags.enumerated() where !isKnown(known(tag), numbers) {
        problems.add(
          DataProblem(
            file: file, line: sentence.line + offset, row: sentence.line, value: tag,
            rule: "is not a tag of this model",
            remedy:
              "use one of \(DataProblem.list(numbers.keys.sorted())), or leave other types out with tagging.types"
          ))
      }
    }
  }

  /// A label for each token of the sequence; −1 for those that are not labelled.
  private func target(
    _ sentence: TagDecoder.Sentence, _ tags: [String], _ numbers: [String: Int]
  ) -> [Float] {
    if tagging.head == .globalPointer { return spanTarget(sentence, tags, numbers) }
    func number(_ tag: String) -> Float { Float(numbers[tag] ?? 0) }
    var target: [Float] = []
    for (place, token) in sentence.pieces.enumerated() {
      let isFirst = place == 0 || sentence.pieces[place - 1] != token
      if isFirst {
        target.append(number(tags[token]))
      } else if tagging.pieces == .first {
        target.append(-1)
      } else {
        let tag = tags[token]
        target.append(number(tag == "O" ? tag : "I-" + tag.dropFirst(2)))
      }
    }
    let outer: Float = tagging.pieces == .all ? 0 : -1
    return [outer] + target + [outer]
  }

  /// The entities as spans of the sequence; those that were cut off, or have a token without pieces at an end, are none.
  private func spanTarget(
    _ sentence: TagDecoder.Sentence, _ tags: [String], _ numbers: [String: Int]
  ) -> [Float] {
    Head.globalPointerTarget(
      TaggedEntity.entities(of: tags).compactMap { entity in
        guard let type = numbers[entity.type],
          let first = sentence.pieces.firstIndex(of: entity.first),
          let last = sentence.pieces.lastIndex(of: entity.last)
        else { return nil }
        return (type, first + 1, last + 1)
      })
  }
}
