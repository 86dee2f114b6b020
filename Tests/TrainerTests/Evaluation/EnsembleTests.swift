import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// Model fusion: the mean of what several runs say.
@Suite struct EnsembleTests {
  static func head(_ kind: Head.Kind, _ outputs: Int, _ loss: Head.Loss = .softmax) -> Head {
    Head(kind, outputs: outputs, loss: loss, dropout: 0)
  }

  static let thresholds = Head.Thresholds(start: 0.5, end: 0.4)
  static let relation = head(
    .relation(Head.Relation(conditioning: .mean, subject: thresholds, object: thresholds)), 1,
    .sigmoid)

  static func logs(_ probabilities: [Double]) -> [Float] { probabilities.map { Float(log($0)) } }

  static func isClose(_ a: [Float], _ b: [Float]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) < 1e-5 }
  }

  @Test func `where heads have probabilities the mean is theirs`() {
    let (p, q, mean) = ([0.2, 0.8], [0.6, 0.4], [0.4, 0.6])
    // Two softmaxes of two each, or two pointers over two tokens.
    for kind in [Head.Kind.tokens, .subjectPointer, .span] {
      let average = Ensemble.average(
        [Self.logs(p + q), Self.logs(q + q)], Self.head(kind, 2))
      #expect(Self.isClose(average, Self.logs(mean + q)), "\(kind)")
    }
    for kind in [Head.Kind.sentence, .siamese(.difference)] {
      let average = Ensemble.average([Self.logs(p), Self.logs(q)], Self.head(kind, 2))
      #expect(Self.isClose(average, Self.logs(mean)), "\(kind)")
    }
    // σ = 1/4 and 3/4.
    let logit = Float(log(3.0))
    for loss in [Head.Loss.sigmoid, .sigmoidClipped] {
      let average = Ensemble.average([[-logit, 0], [logit, 0]], Self.head(.sentence, 2, loss))
      #expect(Self.isClose(average, [0, 0]))
    }
  }

  @Test
  func `values, emissions with transitions, scores and probabilities are averaged as they are`() {
    let heads = [
      Self.head(.sentence, 2, .squaredError), Self.head(.chain(multiplier: 1), 2),
      Self.head(.globalPointer, 1), Self.head(.maskedLanguageModel, 2), Self.relation,
      Self.head(.gplinker, 1),
    ]
    for head in heads {
      #expect(Ensemble.average([[1, -2], [2, 4]], head) == [1.5, 1], "\(head.kind)")
      #expect(Ensemble.average([[0.1, 0.7], [0.1, 0.7]], head) == [0.1, 0.7], "\(head.kind)")
    }
  }

  @Test func `what is found is found in the mean`() {
    // Spans 0–0, 0–1 and 1–1 of one type.
    let spans = Self.head(.globalPointer, 1)
    let scores: [[Float]] = [[2, -1, -1], [-1, 3, -3]]
    let mean = Ensemble.average(scores, spans)
    #expect(spans.globalPointerEntities(mean, tokens: 2) == [0, 0, 0, 0.5, 0, 0, 1, 1])
    let words = Self.head(.maskedLanguageModel, 3)
    let likeliest = words.likeliestWords(
      Ensemble.average([[0.5, 0.5, 0], [0, 0.5, 0.5]], words))
    #expect(likeliest == [1, 0.5, 0, 0.25, 2, 0.25])
    // [CLS], two tokens, [SEP]: starts and ends. The first run has no end for its start, the second no start.
    let subjects: [[Float]] = [[0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0.25, 0, 0, 1, 0, 0]]
    let found = Self.relation.relationSubjects(Ensemble.average(subjects, Self.relation))
    #expect(found.map { [Float($0.start), Float($0.end), $0.score] } == [[1, 2, 0.5]])
    #expect(subjects.allSatisfy { Self.relation.relationSubjects($0).isEmpty })
    let objects: [[Float]] = [[0, 0, 0, 0, 1, 0.5, 0, 0], [0, 0, 0, 0, 0.5, 0.5, 0, 0]]
    let triples = Self.relation.relationTriples(found, Ensemble.average(objects, Self.relation))
    #expect(triples == [1, 2, 2, 2, 0, 0.5])
  }

  @Test func `subjects, objects and pairs are found in the mean of GPLinkers`() {
    let head = Self.head(.gplinker, 2)
    // [CLS], two tokens, [SEP]: of the ten spans of each kind 1–1, 1–2 and 2–2 are numbers 4, 5 and 7. Each run alone finds a
    // subject or an object, and none both.
    var spans = [[Float](repeating: -1, count: 20), [Float](repeating: -1, count: 20)]
    (spans[0][4], spans[1][4]) = (3, -1)
    (spans[0][17], spans[1][17]) = (-2, 6)
    let alone = spans.map { Head.linkerSpans($0, tokens: 4).map(\.isObject) }
    #expect(alone == [[false], [true]])
    let found = Head.linkerSpans(Ensemble.average(spans, head), tokens: 4)
    #expect(
      found == [
        HeadSpan(start: 1, end: 1, score: 1), HeadSpan(start: 2, end: 2, score: 2, isObject: true),
      ])
    // First tokens of two predicates, then last tokens.
    let pairs: [[Float]] = [[4, 2, -1, 1], [-3, 2, 3, -3]]
    let triples = head.linkerTriples(found, Ensemble.average(pairs, head))
    #expect(triples == [1, 1, 2, 2, 0, 0.5])
  }

  @Test func `runs with other labels are refused with a sentence`() throws {
    let task = try MadeUpTask(train: 8, dev: 4, test: 4)
    let runs = try [["data.labels=[neg, pos]"], ["data.labels=[pos, neg]"]].enumerated().map {
      number, overrides in
      let run = task.url.appending(path: "run\(number)"), recipe = task.recipe
      _ = try onRanks(1) {
        try FamilyTests.train(recipe, into: run, overrides + ["steps=1"], on: $0)
      }
      return run
    }
    let error = #expect(throws: RunError.self) { _ = try Ensemble(runs: runs, threads: 1) }
    #expect(
      error.map { "\($0)" }
        == "\(runs[1].path) has other labels than \(runs[0].path). Average runs of one task, labels and tokenizer."
    )
  }
}
