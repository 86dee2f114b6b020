import Foundation
import TestSupport
import Testing
import Trainer

/// Scores of entities, answers and triples against seqeval, SQuAD's script and counting by hand.
@Suite struct TaskMetricsTests {
  private struct File: Decodable {
    struct Scores: Decodable { let precision: Double, recall: Double, f1: Double }
    struct Seqeval: Decodable { let micro: Scores, macro: Scores }
    struct Tags: Decodable {
      let gold: [[String]], predicted: [[String]], seqeval_default: Seqeval
    }
    struct Answer: Decodable {
      let prediction: String, answers: [String], normalized_prediction: String
      let exact: Double, f1: Double
    }
    struct Triples: Decodable {
      let gold: [[[String]]], predicted: [[[String]]]
      let correct: Int, predicted_count: Int, gold_count: Int
    }
    struct Cases<Case: Decodable>: Decodable { let cases: [Case] }
    let ner: Cases<Tags>, squad: Cases<Answer>, triples: Cases<Triples>
  }

  @Test func `entities are scored as seqeval scores them`() throws {
    let file = try Fixtures.json("metrics.json", as: File.self)
    #expect(file.ner.cases.count > 2)
    for c in file.ner.cases {
      let metrics = EntityMetrics(gold: c.gold, predicted: c.predicted)
      let micro = c.seqeval_default.micro
      #expect(abs((metrics.total.precision ?? 0) - micro.precision) < 1e-11)
      #expect(abs((metrics.total.recall ?? 0) - micro.recall) < 1e-11)
      #expect(abs((metrics.total.f1 ?? 0) - micro.f1) < 1e-11)
      #expect(abs((metrics.macroF1 ?? 0) - c.seqeval_default.macro.f1) < 1e-11)
    }
  }

  @Test func `answers are scored as SQuAD's script scores them`() throws {
    let file = try Fixtures.json("metrics.json", as: File.self)
    #expect(file.squad.cases.count > 5)
    for c in file.squad.cases {
      #expect(AnswerMetrics.normalized(c.prediction, .squad) == c.normalized_prediction)
      let score = AnswerMetrics.score(c.prediction, answers: c.answers, .squad)
      #expect(score.exact == c.exact, "\(c.prediction)")
      #expect(abs(score.f1 - c.f1) < 1e-11, "\(c.prediction)")
    }
  }

  @Test func `Chinese answers overlap by their longest common run`() {
    let half = AnswerMetrics.score("在北京大学", answers: ["北京大学。"], .cmrc)
    #expect(half.exact == 0 && abs(half.f1 - 8.0 / 9) < 1e-12)
    #expect(AnswerMetrics.score("《北京》", answers: ["北京"], .cmrc).exact == 1)
    // Latin words and numbers are one unit each.
    #expect(AnswerMetrics.score("1998年", answers: ["1999年"], .cmrc).f1 == 0.5)
    #expect(AnswerMetrics.score("", answers: [], .cmrc).f1 == 1)
  }

  @Test func `triples count once a row, and nothing predicted is no precision`() throws {
    let file = try Fixtures.json("metrics.json", as: File.self)
    for c in file.triples.cases {
      let counts = TripleMetrics.count(gold: c.gold, predicted: c.predicted)
      #expect(
        counts
          == MatchCounts(
            correct: c.correct, predicted: c.predicted_count, gold: c.gold_count))
    }
    let silent = TripleMetrics.count(gold: [["a", "b"]], predicted: [[]])
    #expect(silent.precision == nil && silent.recall == 0 && silent.f1 == 0)
    #expect(silent.scores.keys.sorted() == ["f1", "recall"])
    #expect(
      silent.warning("triples")
        == "no predictions: none of the 2 triples is found, and no precision is defined")
    #expect(MatchCounts().scores.isEmpty && MatchCounts().warning("triples") == nil)
  }
}
