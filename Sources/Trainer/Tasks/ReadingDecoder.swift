import Foundation
import Model
import Text

/// Answers from the starts and ends of all windows of a question.
struct ReadingDecoder: ExampleDecoder {
  struct Window: Sendable {
    /// Where the context's tokens stand in the sequence, and the number of the first of them in the context.
    let tokens: Range<Int>
    let start: Int
    /// Of each token of the whole context its scalars.
    let spans: [Range<Int>]
    /// For each token of the window whether it has more context here than in any other window.
    let isBest: [Bool]
  }

  /// A candidate, or "no answer" where the text is empty.
  struct Answer: Sendable, Equatable {
    var text: String
    /// Scalars of the context.
    var range: Range<Int>
    var score: Double
    var probability = 0.0
  }

  private let section: Recipe.Reading
  /// Whether a prediction may be "no answer".
  private let mayBeNone: Bool
  private let reading: ReadingFile
  private let rows: [Range<Int>]
  private let windows: [Window]

  init(
    _ section: Recipe.Reading, mayBeNone: Bool, _ reading: ReadingFile, rows: [Range<Int>],
    windows: [Window]
  ) {
    self.section = section
    self.mayBeNone = mayBeNone
    self.reading = reading
    self.rows = rows
    self.windows = windows
  }

  /// The best candidates of question `row`, best first, and the lowest score of "no answer" of any window.
  ///
  /// As google-research/bert's `run_squad.py` and transformers' `run_qa`: the `best` highest starts and ends of each window, starts
  /// only where the window has most context, at most `maxAnswer` tokens, scored by the sum of the logits.
  func candidates(_ row: Int, _ outputs: ArraySlice<HeadOutput>) -> (best: [Answer], null: Double) {
    let scalars = Array(reading.contexts[reading.questions[row].context].unicodeScalars)
    var found: [(first: Int, last: Int, window: Int, score: Double)] = []
    var null = Double.infinity
    for (number, output) in zip(rows[row], outputs) {
      let window = windows[number], values = output.values, count = values.count / 2
      null = min(null, Double(values[0]) + Double(values[count]))
      func highest(_ offset: Int) -> [Int] {
        window.tokens.sorted { (-values[offset + $0], $0) < (-values[offset + $1], $1) }
          .prefix(section.best).map { $0 }
      }
      let ends = highest(count)
      for start in highest(0) where window.isBest[start - window.tokens.lowerBound] {
        for end in ends where end >= start && end - start < section.maxAnswer {
          found.append(
            (
              start - window.tokens.lowerBound + window.start,
              end - window.tokens.lowerBound + window.start, number,
              Double(values[start]) + Double(values[count + end])
            ))
        }
      }
    }
    found.sort { (-$0.score, $0.first, $0.last) < (-$1.score, $1.first, $1.last) }
    var answers: [Answer] = []
    for candidate in found where answers.count < section.best {
      let spans = windows[candidate.window].spans
      let range = spans[candidate.first].lowerBound..<spans[candidate.last].upperBound
      if answers.contains(where: { $0.range == range }) { continue }
      answers.append(
        Answer(
          text: String(String.UnicodeScalarView(scalars[range])), range: range,
          score: candidate.score))
    }
    let top = answers.first?.score ?? 0
    let sum = answers.reduce(0) { $0 + exp($1.score - top) }
    for i in answers.indices { answers[i].probability = exp(answers[i].score - top) / sum }
    return (answers, null)
  }

  /// The best candidate; nil where there is none, or "no answer" may be given and leads by more than the threshold.
  private func answer(_ best: [Answer], null: Double, mayBeNone: Bool) -> Answer? {
    guard let first = best.first else { return nil }
    return mayBeNone && null - first.score > section.nullThreshold ? nil : first
  }

  /// "No answer" is given only where a question of the file has none; all answer texts count, wherever they say that they stand.
  func metrics(_ outputs: [HeadOutput]) -> [String: Double] {
    var exact = 0.0, f1 = 0.0, count = 0
    let mayBeNone = reading.questions.contains(where: \.isImpossible)
    for (row, question) in reading.questions.enumerated()
    where question.isImpossible || !question.texts.isEmpty {
      let range = rows[row]
      let (best, null) = candidates(row, outputs[range.lowerBound..<range.upperBound])
      let found = answer(best, null: null, mayBeNone: mayBeNone)
      let score = AnswerMetrics.score(found?.text ?? "", answers: question.texts, section.metric)
      exact += score.exact
      f1 += score.f1
      count += 1
    }
    return count == 0 ? [:] : ["exact": exact / Double(count), "f1": f1 / Double(count)]
  }

  func prediction(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) -> String {
    let (best, null) = candidates(row, outputs)
    let list = best.map {
      "{\"text\":\(JSONText.quoted($0.text)),\"start\":\($0.range.lowerBound),\"end\":\($0.range.upperBound),\"score\":\($0.score),\"probability\":\($0.probability)}"
    }
    let found = answer(best, null: null, mayBeNone: mayBeNone)
    return
      "{\"id\":\(JSONText.quoted(reading.questions[row].id)),\"answer\":\(JSONText.quoted(found?.text ?? "")),\"noAnswer\":\(found == nil),\"nullScore\":\(null),\"best\":[\(list.joined(separator: ","))]}"
  }
}
