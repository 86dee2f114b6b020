import Model
import Text

/// Tags and entities from the scores of tokens.
struct TagDecoder: ExampleDecoder {
  struct Sentence: Sendable {
    let tokens: [String]
    /// nil where they are not known.
    let tags: [String]?
    /// For each piece that was read the token it belongs to.
    let pieces: [Int]
    let source: Source
  }

  /// A text, and where each of its tokens stands in its scalars.
  struct Source: Sendable {
    let text: String
    let spans: [Range<Int>]
  }

  private let definition: TaskDefinition
  private let tagging: Recipe.Tagging
  private let sentences: [Sentence]
  private let constraints: Viterbi.Constraints

  init(_ definition: TaskDefinition, _ tagging: Recipe.Tagging, _ sentences: [Sentence]) {
    self.definition = definition
    self.tagging = tagging
    self.sentences = sentences
    constraints = .bio(
      types: tagging.head == .globalPointer ? 0 : (definition.labels.count - 1) / 2,
      outerAreO: tagging.pieces == .all)
  }

  /// A tag for each token; tokens that were cut off, or have no piece, are outside.
  func tags(of sentence: Sentence, _ values: [Float]) -> [String] {
    if tagging.head == .globalPointer {
      return Self.tags(of: spans(of: sentence, values), count: sentence.tokens.count)
    }
    let c = definition.labels.count
    // Pieces that are labelled, as rows of the outputs behind [CLS].
    let labelled = sentence.pieces.indices.filter {
      tagging.pieces == .all || $0 == 0 || sentence.pieces[$0 - 1] != sentence.pieces[$0]
    }
    let labels: [Int]
    switch tagging.head {
    case .softmax:
      labels = labelled.map { piece in
        let row = values[(piece + 1) * c..<(piece + 2) * c]
        return row.indices.max { (row[$0], $1) < (row[$1], $0) }.map { $0 - row.startIndex } ?? 0
      }
    case .crf:
      let transitions = Array(values.suffix(c * c))
      var rows = labelled.map { $0 + 1 }
      if tagging.pieces == .all { rows = [0] + rows + [sentence.pieces.count + 1] }
      let emissions = rows.flatMap { values[$0 * c..<($0 + 1) * c] }
      let path = Viterbi.decode(
        emissions: emissions, transitions: transitions, constraints: constraints)
      let found = path?.labels ?? rows.map { _ in 0 }
      labels = tagging.pieces == .all ? Array(found.dropFirst().dropLast()) : found
    case .globalPointer: preconditionFailure("spans are no labels")
    }
    var tags = [String](repeating: "O", count: sentence.tokens.count)
    for (piece, label) in zip(labelled, labels)
    where piece == 0 || sentence.pieces[piece - 1] != sentence.pieces[piece] {
      tags[sentence.pieces[piece]] = definition.labels[label]
    }
    return tags
  }

  /// The entities that spans of positive score say, the likeliest first; a span that ends inside of a token takes the whole token.
  private func spans(
    of sentence: Sentence, _ values: [Float]
  ) -> [(entity: TaggedEntity, score: Float)] {
    var scores: [TaggedEntity: Float] = [:]
    for at in stride(from: 0, to: values.count, by: 4) {
      let (first, last) = (Int(values[at + 1]) - 1, Int(values[at + 2]) - 1)
      // [CLS] and [SEP] are part of no entity.
      guard first >= 0, last < sentence.pieces.count else { continue }
      let entity = TaggedEntity(
        type: definition.labels[Int(values[at])], first: sentence.pieces[first],
        last: sentence.pieces[last])
      scores[entity] = max(scores[entity] ?? 0, values[at + 3])
    }
    func key(_ entity: TaggedEntity) -> (Int, Int, String) {
      (entity.first, entity.last, entity.type)
    }
    return scores.map { (entity: $0.key, score: $0.value) }.sorted {
      $0.score == $1.score ? key($0.entity) < key($1.entity) : $0.score > $1.score
    }
  }

  /// Tags of the likeliest entities that do not overlap.
  private static func tags(
    of spans: [(entity: TaggedEntity, score: Float)], count: Int
  ) -> [String] {
    var tags = [String](repeating: "O", count: count)
    for (entity, _) in spans where tags[entity.first...entity.last].allSatisfy({ $0 == "O" }) {
      for token in entity.first...entity.last {
        tags[token] = (token == entity.first ? "B-" : "I-") + entity.type
      }
    }
    return tags
  }

  /// The entities in order: of spans all, also those that nest.
  private func entities(of sentence: Sentence, _ values: [Float]) -> [TaggedEntity] {
    guard tagging.head == .globalPointer else {
      return TaggedEntity.entities(of: tags(of: sentence, values))
    }
    return spans(of: sentence, values).map(\.entity).sorted {
      ($0.first, $0.last, $0.type) < ($1.first, $1.last, $1.type)
    }
  }

  private func scores(_ outputs: [HeadOutput]) -> (entities: EntityMetrics, accuracy: Double?) {
    let predicted = zip(sentences, outputs).map { tags(of: $0, $1.values) }
    let gold = sentences.map { $0.tags ?? [] }
    var correct = 0, count = 0
    for (gold, predicted) in zip(gold, predicted) {
      count += gold.count
      correct += zip(gold, predicted).count { $0 == $1 }
    }
    return (
      EntityMetrics(
        gold: gold.map(TaggedEntity.entities),
        predicted: zip(sentences, outputs).map { entities(of: $0, $1.values) }),
      count == 0 ? nil : Double(correct) / Double(count)
    )
  }

  func metrics(_ outputs: [HeadOutput]) -> [String: Double] {
    let (entities, accuracy) = scores(outputs)
    var values = entities.total.scores
    values["f1Macro"] = entities.macroF1
    values["accuracy"] = accuracy
    for (type, counts) in entities.byType { values["f1.\(type)"] = counts.f1 }
    return values
  }

  func warning(_ outputs: [HeadOutput]) -> String? {
    scores(outputs).entities.total.warning("entities")
  }

  func prediction(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) -> String {
    guard let output = outputs.first else { preconditionFailure("row \(row) has no output") }
    let sentence = sentences[row], tags = tags(of: sentence, output.values)
    let text = sentence.source.text, spans = sentence.source.spans
    let scalars = Array(text.unicodeScalars)
    let entities = entities(of: sentence, output.values).map { entity in
      let range = spans[entity.first].lowerBound..<spans[entity.last].upperBound
      let words = String(String.UnicodeScalarView(scalars[range]))
      return
        "{\"type\":\(JSONText.quoted(entity.type)),\"start\":\(range.lowerBound),\"end\":\(range.upperBound),\"text\":\(JSONText.quoted(words))}"
    }
    return
      "{\"text\":\(JSONText.quoted(text)),\"entities\":[\(entities.joined(separator: ","))],\"tags\":[\(tags.map(JSONText.quoted).joined(separator: ","))]}"
  }
}

extension TagDecoder.Source {
  /// The text of a file of tokens: words with spaces between them, characters without.
  init(tokens: [String], unit: Recipe.Tagging.Unit) {
    var text = ""
    var spans: [Range<Int>] = []
    var length = 0
    for (number, token) in tokens.enumerated() {
      if number > 0, unit == .words {
        text += " "
        length += 1
      }
      text += token
      spans.append(length..<length + token.unicodeScalars.count)
      length += token.unicodeScalars.count
    }
    self.init(text: text, spans: spans)
  }
}
