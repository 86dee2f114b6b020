import Model
import Text

/// Triples from what a relation head found.
struct RelationDecoder: ExampleDecoder {
  /// A triple by its tokens.
  struct Placed: Sendable {
    var subject: (first: Int, last: Int)
    var object: (first: Int, last: Int)
    var predicate: Int
  }

  struct Gold: Sendable {
    let text: String
    let spans: [Range<Int>]
    /// nil where they are not known.
    let triples: [RelationFile.Triple]?
    var relations: [Placed]

    /// The subjects' tokens, each pair once however many triples it has, in the order of their first triples.
    var subjects: [(first: Int, last: Int)] {
      var subjects: [(first: Int, last: Int)] = []
      for relation in relations where !subjects.contains(where: { $0 == relation.subject }) {
        subjects.append(relation.subject)
      }
      return subjects
    }

    /// The target for the subject from `first` to `last`; for nil that of the first triple, as evaluation takes it.
    ///
    /// A subject that is none of the row's has no objects: the recipe's intended negatives. Empty without triples.
    func target(first drawn: (first: Int, last: Int)?) -> [Float] {
      guard let subject = drawn ?? relations.first?.subject else { return [] }
      let objects = relations.filter { $0.subject == subject }
      return Head.relationTarget(
        first: subject.first, last: subject.last,
        subjects: relations.map { ($0.subject.first, $0.subject.last) },
        objects: objects.map { ($0.object.first, $0.object.last, $0.predicate) })
    }

    /// The target of GPLinker: all triples; empty without any.
    var linkerTarget: [Float] {
      relations.isEmpty
        ? [] : Head.linkerTarget(relations.map { ($0.subject, $0.object, $0.predicate) })
    }
  }

  private let definition: TaskDefinition
  private let relation: Recipe.Relation
  private let golds: [Gold]

  init(_ definition: TaskDefinition, _ relation: Recipe.Relation, _ golds: [Gold]) {
    self.definition = definition
    self.relation = relation
    self.golds = golds
  }

  /// A subject's start and, independently, one of the ends that do not lie before it; GPLinker learns all triples at once.
  ///
  /// The pair is often a subject of the row, at times none, which then has no objects (bert_in_keras,
  /// `relation_extract.py`). A subject of many triples is drawn no oftener than one of a single triple.
  func input(_ example: SequenceInput, step: Int, seed: UInt64) -> SequenceInput {
    let gold = golds[Int(example.exampleID)]
    guard relation.method != .gplinker, !gold.relations.isEmpty else { return example }
    let words = Philox(seed: seed).block(
      SIMD4(
        0, UInt32(example.exampleID), UInt32(step), RandomPurpose.subjectSampling.word()))
    // A shift binds closer than a product.
    func draw(_ count: Int, _ word: UInt32) -> Int { Int((UInt64(word) * UInt64(count)) >> 32) }
    let subjects = gold.subjects
    let first = subjects[draw(subjects.count, words[0])].first
    let ends = subjects.map(\.last).filter { $0 >= first }
    let last = ends[draw(ends.count, words[1])]
    var example = example
    example.target = gold.target(first: (first, last))
    return example
  }

  /// The triples of one row, each once, mirrored where the predicate is symmetric, without those of excluded subjects.
  func triples(_ gold: Gold, _ values: [Float]) -> [RelationFile.Triple] {
    let scalars = Array(gold.text.unicodeScalars)
    var seen: Set<RelationFile.Triple> = []
    var triples: [RelationFile.Triple] = []
    func add(_ triple: RelationFile.Triple) {
      if !triple.subject.isEmpty, !triple.object.isEmpty, seen.insert(triple).inserted {
        triples.append(triple)
      }
    }
    for start in stride(from: 0, to: values.count, by: 6) {
      let places = values[start..<start + 5].map { Int($0) }
      let triple = RelationFile.Triple(
        SpanFinder.text(scalars, gold.spans, places[0], places[1]), definition.labels[places[4]],
        SpanFinder.text(scalars, gold.spans, places[2], places[3]))
      add(triple)
      if let mirror = mirror(of: triple.predicate) {
        add(RelationFile.Triple(triple.object, mirror, triple.subject))
      }
    }
    return withoutExcluded(triples)
  }

  /// The predicate of the same pair read backwards; the first by name where several are given.
  private func mirror(of predicate: String) -> String? {
    relation.symmetric[predicate]
      ?? relation.symmetric.filter { $0.value == predicate }.keys.min()
  }

  /// The recipe of 2019's last filter, `excludedSubjects`: an album that is no song was not sung.
  private func withoutExcluded(_ triples: [RelationFile.Triple]) -> [RelationFile.Triple] {
    guard let rules = relation.excludedSubjects else { return triples }
    return triples.filter { triple in
      guard let other = rules[triple.predicate] else { return true }
      let others = triples.filter { $0.predicate == other }
      return !others.contains { $0.object == triple.subject }
        || others.contains { $0.subject == triple.subject }
    }
  }

  private func counts(_ outputs: [HeadOutput]) -> MatchCounts {
    TripleMetrics.count(
      gold: golds.map { ($0.triples ?? []).map(folded) },
      predicted: zip(golds, outputs).map { triples($0, $1.values).map(folded) })
  }

  /// Uncased models compare without case.
  private func folded(_ triple: RelationFile.Triple) -> RelationFile.Triple {
    guard definition.lowercase else { return triple }
    return RelationFile.Triple(
      triple.subject.lowercased(), triple.predicate, triple.object.lowercased())
  }

  func metrics(_ outputs: [HeadOutput]) -> [String: Double] { counts(outputs).scores }

  func warning(_ outputs: [HeadOutput]) -> String? { counts(outputs).warning("triples") }

  func prediction(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) -> String {
    guard let output = outputs.first else { preconditionFailure("row \(row) has no output") }
    let gold = golds[row], found = triples(gold, output.values)
    func json(_ triples: [RelationFile.Triple]) -> String {
      let lists = triples.map {
        "[\(JSONText.quoted($0.subject)),\(JSONText.quoted($0.predicate)),\(JSONText.quoted($0.object))]"
      }
      return "[\(lists.joined(separator: ","))]"
    }
    var members = [
      "\"text\":\(JSONText.quoted(gold.text))", "\"spo_list_pred\":\(json(found))",
    ]
    if let truth = gold.triples {
      let (known, said) = (Set(truth.map(folded)), Set(found.map(folded)))
      members += [
        "\"spo_list\":\(json(truth))",
        "\"new\":\(json(found.filter { !known.contains(folded($0)) }))",
        "\"lack\":\(json(truth.filter { !said.contains(folded($0)) }))",
      ]
    }
    return "{\(members.joined(separator: ","))}"
  }
}
