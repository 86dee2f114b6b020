/// What GPLinker learns, and what is found in its scores.
extension Head {
  /// A triple by the tokens of its subject and its object, ends included.
  package typealias LinkerTriple = (
    subject: (first: Int, last: Int), object: (first: Int, last: Int), predicate: Int
  )

  /// The target of a `gplinker` head: how many triples, then of each the subject's first and last token, the object's, the predicate.
  package static func linkerTarget(_ triples: [LinkerTriple]) -> [Float] {
    [Float(triples.count)]
      + triples.flatMap { triple -> [Float] in
        [
          triple.subject.first, triple.subject.last, triple.object.first, triple.object.last,
          triple.predicate,
        ].map { Float($0) }
      }
  }

  /// Subjects and objects of one sequence that are linked, each at most, and triples that are found in it at most.
  ///
  /// A model that has learnt nothing yet finds half of all spans, and pairs without end. No text has as many.
  package static let linkedSpans = 64, linkedTriples = 256

  /// The subjects, then the objects among `scores`, those of all spans as a subject and then as an object: positive, without [CLS] and [SEP].
  ///
  /// By place; of more than `linkedSpans` the ones that score highest, of equals the first.
  package static func linkerSpans(_ scores: [Float], tokens: Int) -> [HeadSpan] {
    let found = positiveSpans(scores, types: 2, tokens: tokens)
    var spans: [HeadSpan] = []
    for place in stride(from: 0, to: found.count, by: 4) {
      let start = Int(found[place + 1]), end = Int(found[place + 2])
      guard start > 0, end < tokens - 1 else { continue }
      spans.append(
        HeadSpan(
          start: start, end: end, score: found[place + 3], isObject: found[place] == 1))
    }
    return [false, true].flatMap { isObject in
      let all = spans.filter { $0.isObject == isObject }
      return best(all.map(\.score), atMost: linkedSpans).map { all[$0] }
    }
  }

  /// The places of the `count` largest of `scores`, ascending; of equals the first.
  private static func best(_ scores: [Float], atMost count: Int) -> [Int] {
    guard scores.count > count else { return Array(scores.indices) }
    let order = scores.indices.sorted { a, b in
      scores[a] != scores[b] ? scores[a] > scores[b] : a < b
    }
    return order.prefix(count).sorted()
  }

  /// The triples among `spans`, whose pairs' scores `[subjects, objects, 2C]` are those of one example: first tokens of all predicates,
  /// then last tokens.
  ///
  /// Start and end of the subject, of the object, predicate, and the smallest of the four scores; one after the other, by subject, object
  /// and predicate. Of more than `linkedTriples` the ones whose smallest score is highest.
  package func linkerTriples(_ spans: [HeadSpan], _ scores: [Float]) -> [Float] {
    let subjects = spans.filter { !$0.isObject }, objects = spans.filter(\.isObject)
    precondition(
      scores.count == subjects.count * objects.count * 2 * outputs,
      "\(scores.count) scores of \(subjects.count) subjects and \(objects.count) objects")
    var found: [(places: [Int], score: Float)] = [], place = 0
    for subject in subjects {
      for object in objects {
        for predicate in 0..<outputs {
          let heads = scores[place + predicate], tails = scores[place + outputs + predicate]
          guard heads > 0, tails > 0 else { continue }
          found.append(
            (
              [subject.start, subject.end, object.start, object.end, predicate],
              min(subject.score, object.score, heads, tails)
            ))
        }
        place += 2 * outputs
      }
    }
    return Self.best(found.map(\.score), atMost: Self.linkedTriples).flatMap {
      found[$0].places.map { Float($0) } + [found[$0].score]
    }
  }
}

/// What GPLinker learns of one example.
struct LinkerTarget {
  var triples: [Head.LinkerTriple]

  /// Reads what `Head.linkerTarget` wrote.
  init(_ values: [Float]) {
    precondition(
      values.first.map { values.count == 1 + 5 * Int($0) } == true,
      "a target of \(values.count) numbers")
    let numbers = values.map { Int($0) }
    triples = stride(from: 1, to: numbers.count, by: 5).map {
      ((numbers[$0], numbers[$0 + 1]), (numbers[$0 + 2], numbers[$0 + 3]), numbers[$0 + 4])
    }
  }

  /// Of each class the pairs that are right, as first · tokens + second, each once, ascending: the subjects, the objects, of each
  /// predicate the first tokens of subject and object, of each their last tokens.
  func places(tokens: Int, predicates: Int) -> [[Int]] {
    var places = [Set<Int>](repeating: [], count: GPLinkerPass.classes(predicates))
    for (subject, object, predicate) in triples {
      precondition(
        predicate < predicates
          && [subject, object].allSatisfy { $0.first <= $0.last && $0.last < tokens },
        "\(subject), \(object), \(predicate) of \(tokens) tokens and \(predicates) predicates")
      places[0].insert(subject.first * tokens + subject.last)
      places[1].insert(object.first * tokens + object.last)
      places[2 + predicate].insert(subject.first * tokens + object.first)
      places[2 + predicates + predicate].insert(subject.last * tokens + object.last)
    }
    return places.map { $0.sorted() }
  }
}
