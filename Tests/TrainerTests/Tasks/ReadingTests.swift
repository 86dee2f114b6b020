import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

/// Windows of a text and the answers that are read from them, by hand.
@Suite struct ReadingTests {
  /// Fourteen words of one token each; behind the question "good ?" and with 11 tokens a window there is room for six.
  static let words = [
    "the", "hotel", "room", "was", "very", "good", "and", "the", "book", "is", "not", "bad", "in",
    "rain",
  ]
  static let context = words.joined(separator: " ")
  static let settings = ["data.maxLength=11", "reading.stride=2", "reading.maxQuestion=8"]

  static func question(
    _ id: String, _ answer: String? = nil, at start: Int = 0, impossible: Bool = false
  ) -> String {
    let answers = answer.map { "[{\"text\":\"\($0)\",\"answer_start\":\(start)}]" } ?? "[]"
    return
      "{\"id\":\"\(id)\",\"question\":\"good ?\",\"answers\":\(answers),\"is_impossible\":\(impossible)}"
  }

  /// The questions on `context` as inputs of the recipe that `overrides` make.
  static func examples(
    _ questions: [String], withLabel: Bool = true, _ overrides: [String] = []
  ) throws -> ExampleSet {
    let task = try MadeUpTask(train: 2, dev: 1, test: 1)
    let file =
      "{\"data\":[{\"paragraphs\":[{\"context\":\"\(context)\",\"qas\":[\(questions.joined(separator: ","))]}]}]}"
    for name in ["train", "dev", "test"] { try task.write(file, to: "\(name).json") }
    let files = ["train", "dev", "test"].map {
      "data.\($0)=\(task.url.appending(path: "\($0).json").path)"
    }
    let recipe = try Recipe(
      contentsOf: task.recipe, overrides: ["task=reading"] + files + settings + overrides)
    let definition = TaskDefinition(
      recipe, labels: [], lowercase: true, configuration: tinyConfiguration())
    let tokenizer = Tokenizer(
      vocabulary: try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt")),
      kind: definition.tokenizer, lowercase: true)
    return try definition.examples(
      task.url.appending(path: "dev.json"), tokenizer: tokenizer, threads: 1, withLabel: withLabel)
  }

  @Test(arguments: [
    ("huggingface", 2, [6, 6, 6]), ("huggingface", 5, [6, 6, 6, 6, 6, 6, 6, 6, 6]),
    ("huggingface", 0, [6, 6, 2]), ("google", 2, [6, 6, 6, 6, 6]), ("google", 4, [6, 6, 6]),
    ("google", 9, [6, 6, 2]),
  ])
  func `a stride is what windows share, and to google what lies between their starts`(
    dialect: String, stride: Int, lengths: [Int]
  ) throws {
    let set = try Self.examples(
      [Self.question("q")], ["model.dialect=\(dialect)", "reading.stride=\(stride)"])
    // [CLS] good ? [SEP] … [SEP]
    #expect(set.sequences.map { $0.ids.count - 5 } == lengths)
    #expect(set.rows == [0..<lengths.count])
  }

  @Test func `windows that all point at [CLS], or at the same tokens, are a warning`() throws {
    let start = try #require(Self.context.range(of: "room"))
    let place = Self.context.distance(from: Self.context.startIndex, to: start.lowerBound)
    let set = try Self.examples([Self.question("a", "room", at: place)])
    func warning(_ place: (Int) -> Int) -> String? {
      set.decoder.warning(
        set.sequences.indices.map { number in
          let count = set.sequences[number].ids.count
          var values = [Float](repeating: 0, count: 2 * count)
          values[place(number)] = 1
          values[count + place(number)] = 1
          return HeadOutput(values: values, loss: nil)
        })
    }
    #expect(
      warning { _ in 0 }?.hasPrefix(
        "in all 3 windows [CLS], which is no answer, is predicted.") == true)
    #expect(
      warning { _ in 5 }?.hasPrefix("in all 3 windows the tokens 5 to 5 are predicted.") == true)
    #expect(warning { $0 == 0 ? 5 : 0 } == nil)
  }

  @Test func `a stride of no tokens would never end and is refused`() throws {
    let error = #expect(throws: RecipeErrors.self) {
      try Self.examples([Self.question("q")], ["model.dialect=google", "reading.stride=0"])
    }
    #expect(
      error?.description
        == "--set reading.stride=0: `reading.stride` must be a whole number from 1 to 4096; found \"0\"."
    )
  }

  /// Windows hold the words 0–5, 4–9 and 8–13.
  @Test func `a window that holds the whole answer points at it, any other at [CLS]`() throws {
    let start = try #require(Self.context.range(of: "is not bad"))
    let place = Self.context.distance(from: Self.context.startIndex, to: start.lowerBound)
    let set = try Self.examples([
      Self.question("a", "is not bad", at: place), Self.question("b", "the", at: 0),
      Self.question("c", impossible: true), Self.question("d", "rain", at: 0),
    ])
    let targets = set.rows.map { $0.map { set.sequences[$0].target } }
    // "is" is the sixth word of the second window, but "bad" is not in it.
    #expect(targets[0] == [[0, 0], [0, 0], [5, 7]])
    #expect(targets[1] == [[4, 4], [0, 0], [0, 0]])
    #expect(targets[2] == [[0, 0], [0, 0], [0, 0]])
    // Nothing is learnt of an answer that does not stand where it says.
    #expect(targets[3] == [[], [], []])
    #expect(
      set.findings.map { $0.description.replacing(/^.*\/dev\.json/, with: "dev.json") } == [
        "dev.json: question 4: 1 answers do not stand where they say and are not learnt from, and 1 questions have no other and are not learnt from; the first: question d: the answer \"rain\" does not stand at scalar 0 of its context (questions 4): correct answer_start (Unicode scalars of the context, from 0), or the text"
      ])
  }

  @Test func `a question that leaves windows no room is named`() throws {
    let error = #expect(throws: DataErrors.self) {
      try Self.examples([Self.question("q7")], ["reading.stride=6"])
    }
    #expect(
      error?.description.contains(
        "dev.json: question 1: column \"question\": \"q7\": windows with a maximum length of 11 behind a first text of 2 tokens have room for 6 tokens, and 6 of them overlap: use a larger maximum length or a smaller overlap"
      ) == true)
  }

  /// Outputs of a window of 11 tokens in which `starts` and `ends` score what they say, the rest −10; "no answer" scores twice `none`.
  static func output(
    none: Float = -10, _ starts: [Int: Float], _ ends: [Int: Float]
  ) -> HeadOutput {
    var values = [Float](repeating: -10, count: 22)
    (values[0], values[11]) = (none, none)
    for (token, score) in starts { values[token] = score }
    for (token, score) in ends { values[11 + token] = score }
    return HeadOutput(values: values, loss: nil)
  }

  private struct Said: Decodable {
    struct Answer: Decodable { let text: String, start: Int, end: Int, score: Double }
    let id: String, answer: String, noAnswer: Bool, nullScore: Double, best: [Answer]
  }

  private static func said(_ set: ExampleSet, _ outputs: [HeadOutput]) throws -> Said {
    try JSONDecoder().decode(
      Said.self, from: Data(set.decoder.prediction(ofRow: 0, from: outputs[...]).utf8))
  }

  @Test func `an answer begins only in the window that has most context around it`() throws {
    let set = try Self.examples([Self.question("q")], withLabel: false)
    // Word 5, "good", is last in the first window and second in the next; word 4, "very", the other way round.
    let outputs = [
      Self.output(none: 1, [9: 50, 8: 4], [9: 3]), Self.output(none: -1, [4: 60], [5: 2]),
      Self.output([:], [:]),
    ]
    let said = try Self.said(set, outputs)
    #expect(said.answer == "very good" && said.id == "q")
    #expect(said.best[0].start == 19 && said.best[0].end == 28 && said.best[0].score == 7)
    // The least of the windows' scores.
    #expect(said.nullScore == -20 && !said.noAnswer)
  }

  @Test
  func `answers are no longer than allowed, never end before they begin, and are listed once`()
    throws
  {
    let set = try Self.examples(
      [Self.question("q")], withLabel: false, ["reading.maxAnswer=2", "reading.best=3"])
    // Tokens 4, 5, 6 are "the hotel room".
    let outputs = [
      Self.output([4: 5, 6: 4], [6: 9, 5: 2, 4: 1]), Self.output([:], [:]), Self.output([:], [:]),
    ]
    let said = try Self.said(set, outputs)
    // 4–6 has three tokens, 6–5 and 6–4 run backwards.
    #expect(said.best.map(\.text) == ["room", "the hotel", "the"])
    #expect(said.best.map(\.score) == [13, 7, 6])
  }

  @Test
  func `none is the answer where it leads by more than the threshold, if the file has such rows`()
    throws
  {
    let start = Self.context.unicodeScalars.count - 4
    let outputs = (0..<3).map { _ in Self.output(none: 5, [8: 4], [8: 4.5]) }
    for (threshold, isNone) in [(1.4, true), (1.6, false)] {
      let override = "reading.nullThreshold=\(threshold)"
      let set = try Self.examples(
        [Self.question("q", "rain", at: start), Self.question("none", impossible: true)],
        [override])
      let said = try Self.said(set, outputs)
      #expect(said.noAnswer == isNone && said.answer == (isNone ? "" : "very"))
      #expect(said.best.first?.text == "very")
      let metrics = set.decoder.metrics(outputs + outputs)
      #expect(metrics == ["exact": isNone ? 0.5 : 0, "f1": isNone ? 0.5 : 0], "\(threshold)")
      // Where every question has an answer, there is always one.
      let answered = try Self.examples([Self.question("q", "very", at: 19)], [override])
      #expect(answered.decoder.metrics(outputs)["exact"] == 1)
    }
  }

  @Test func `an answer counts for the score wherever it says that it stands`() throws {
    // Of "a" one answer stands at its place, of "b" none.
    let two =
      "{\"id\":\"a\",\"question\":\"good ?\",\"answers\":[{\"text\":\"rain\",\"answer_start\":0},{\"text\":\"very\",\"answer_start\":19}]}"
    let set = try Self.examples(
      [two, Self.question("b", "rain", at: 1)], ["reading.metric=squad"])
    #expect(
      set.rows.map { $0.map { set.sequences[$0].target.isEmpty } }[0] == [false, false, false])
    #expect(set.rows.map { $0.map { set.sequences[$0].target.isEmpty } }[1] == [true, true, true])
    // The last window holds the words 8–13: tokens 8 and 9 are "in rain".
    let silent = Self.output([:], [:])
    let rain = [silent, silent, Self.output([9: 20], [9: 20])]
    let inRain = [silent, silent, Self.output([8: 20], [9: 20])]
    #expect(set.decoder.metrics(rain + rain) == ["exact": 1, "f1": 1])
    // One of two words is right: 2·1/(2 + 1).
    let scores = set.decoder.metrics(rain + inRain)
    #expect(scores["exact"] == 0.5 && abs((scores["f1"] ?? 0) - (1 + 2.0 / 3) / 2) < 1e-12)
  }

  @Test func `a model whose training questions all had answers always gives one`() throws {
    let family = MadeUpFamily.named("reading")
    let (folder, recipe) = try family.written(dropout: 0)
    defer { withExtendedLifetime(folder) {} }
    let answered = try PreparedRun(Recipe(contentsOf: recipe), threads: 1)
    #expect(answered.definition.hasUnanswerable == false)
    let bare = try answered.definition.examples(
      folder.url.appending(path: family.bareFile),
      tokenizer: Tokenizer(
        vocabulary: try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt")),
        kind: answered.definition.tokenizer, lowercase: true), threads: 1, withLabel: false)
    let count = bare.sequences[0].ids.count
    // Whatever "no answer" scores.
    var values = [Float](repeating: 0, count: 2 * count)
    (values[0], values[count]) = (100, 100)
    let said = try Self.said(bare, [HeadOutput(values: values, loss: nil)])
    #expect(!said.noAnswer && !said.answer.isEmpty && said.nullScore == 200)
    let text = family.rows.replacing(
      "\"answers\":[", with: "\"is_impossible\":true,\"answers\":[", maxReplacements: 1)
    try Data(text.utf8).write(to: folder.url.appending(path: family.file))
    #expect(
      try PreparedRun(Recipe(contentsOf: recipe), threads: 1).definition.hasUnanswerable == true)
  }
}
