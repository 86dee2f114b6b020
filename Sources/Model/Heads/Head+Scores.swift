/// A subject or an object that a relation head found.
package struct HeadSpan: Sendable, Equatable {
  /// Its first and last token.
  package var start: Int
  package var end: Int
  /// The cascade: the smaller of their probabilities; GPLinker: the span's score.
  package var score: Float
  /// Whether it is an object, as GPLinker finds them beside subjects.
  package var isObject = false

  package init(start: Int, end: Int, score: Float, isObject: Bool = false) {
    self.start = start
    self.end = end
    self.score = score
    self.isObject = isObject
  }
}

/// From scores to what is found: of one model, or of the mean of several.
extension Head {
  /// The subjects in the probabilities `[S, 2]` of starts and ends.
  package func relationSubjects(_ probabilities: [Float]) -> [HeadSpan] {
    guard case .relation(let relation) = kind else { preconditionFailure("no relation head") }
    return Self.relationSpans(probabilities.count / 2, 1, relation.subjectThresholds) {
      probabilities[$0 * 2 + $1]
    }.map { HeadSpan(start: $0.start, end: $0.end, score: $0.score) }
  }

  /// The triples of `subjects`, whose objects' probabilities `[subjects, S, 2C]` are those of one example.
  package func relationTriples(_ subjects: [HeadSpan], _ probabilities: [Float]) -> [Float] {
    guard case .relation(let relation) = kind else { preconditionFailure("no relation head") }
    let size = subjects.isEmpty ? 0 : probabilities.count / subjects.count
    return subjects.enumerated().flatMap { number, subject in
      Self.relationTriples(
        of: (subject.start, subject.end, 0, subject.score), size / (2 * outputs), outputs,
        relation.objectThresholds
      ) { probabilities[number * size + $0 * 2 * outputs + $1] }
    }
  }

  /// The entities with a positive score among `scores`: of each type in turn, of each first token, those of the last tokens from it on.
  ///
  /// Type, first token, last token and score of each, by type and place.
  package func globalPointerEntities(_ scores: [Float], tokens: Int) -> [Float] {
    Self.positiveSpans(scores, types: outputs, tokens: tokens)
  }

  static func positiveSpans(_ scores: [Float], types outputs: Int, tokens: Int) -> [Float] {
    precondition(
      scores.count == outputs * tokens * (tokens + 1) / 2,
      "\(scores.count) scores of \(tokens) tokens and \(outputs) types")
    var found: [Float] = [], place = 0
    for type in 0..<outputs {
      for first in 0..<tokens {
        for last in first..<tokens {
          let score = scores[place]
          place += 1
          if score > 0 { found += [Float(type), Float(first), Float(last), score] }
        }
      }
    }
    return found
  }

  /// Of each row of the probabilities `[R, V]` the likeliest words: id and probability in turn.
  package func likeliestWords(_ probabilities: [Float]) -> [Float] {
    probabilities.withUnsafeBufferPointer { memory in
      guard let base = memory.baseAddress else { return [] }
      return stride(from: 0, to: memory.count, by: outputs).flatMap { start in
        MaskedPass.best(base + start, outputs).flatMap { [Float($0), base[start + $0]] }
      }
    }
  }

  // MARK: Relations

  package typealias RelationSpan = (start: Int, end: Int, class: Int, score: Float)

  /// The triples of one subject: its start and end, those of the object (tokens, ends included), predicate, and the smallest of
  /// the four probabilities; one after the other.
  static func relationTriples(
    of subject: RelationSpan, _ count: Int, _ predicates: Int, _ thresholds: Thresholds,
    _ probability: (_ token: Int, _ output: Int) -> Float
  ) -> [Float] {
    relationSpans(count, predicates, thresholds, probability).flatMap {
      [
        Float(subject.start), Float(subject.end), Float($0.start), Float($0.end), Float($0.class),
        min(subject.score, $0.score),
      ]
    }
  }

  /// Each start above its threshold with the first end from there on that is above the other and of the same class.
  ///
  /// Of `count` tokens; starts of all classes are the first outputs. [CLS] and [SEP] are no part of a span.
  package static func relationSpans(
    _ count: Int, _ classes: Int, _ thresholds: Thresholds,
    _ probability: (_ token: Int, _ output: Int) -> Float
  ) -> [RelationSpan] {
    var spans: [RelationSpan] = []
    for start in 1..<max(count - 1, 1) {
      for label in 0..<classes {
        let score = probability(start, label)
        guard score > thresholds.start else { continue }
        let end = (start..<count - 1).first {
          probability($0, classes + label) > thresholds.end
        }
        guard let end else { continue }
        spans.append((start, end, label, min(score, probability(end, classes + label))))
      }
    }
    return spans
  }
}
