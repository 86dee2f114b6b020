import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

/// Which words are hidden, and how.
@Suite struct MaskingTests {
  static let vocabulary = Result { try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt")) }

  /// The lines of `text` as inputs of the recipe that `overrides` make.
  static func examples(
    _ text: String, withLabel: Bool = true, _ overrides: [String] = []
  ) throws -> ExampleSet {
    let task = try MadeUpTask(train: 2, dev: 1, test: 1)
    try task.write(text, to: "rows.txt")
    let files = ["train", "dev", "test"].map {
      "data.\($0)=\(task.url.appending(path: "rows.txt").path)"
    }
    let recipe = try Recipe(
      contentsOf: task.recipe, overrides: ["task=masked-lm"] + files + overrides)
    let definition = TaskDefinition(
      recipe, labels: [], lowercase: true, configuration: tinyConfiguration())
    return try definition.examples(
      task.url.appending(path: "rows.txt"),
      tokenizer: Tokenizer(
        vocabulary: vocabulary.get(), kind: definition.tokenizer, lowercase: true),
      threads: 1, withLabel: withLabel)
  }

  static let twenty =
    "the hotel was very good and the room was not bad but the food in it was not good ."

  @Test
  func
    `of each text the stated share is asked for, most of it as [MASK], and nothing else is touched`()
    throws
  {
    let set = try Self.examples(Self.twenty + "\n")
    let whole = try Self.examples(Self.twenty + "\n", withLabel: false).sequences[0].ids
    let mask = try Self.vocabulary.get().mask
    #expect(whole.count == 22)
    let steps = 2000
    var masked = 0, kept = 0, others = 0
    var byPlace = [Int](repeating: 0, count: whole.count)
    for step in 0..<steps {
      let input = set.decoder.input(set.sequences[0], step: step, seed: 3)
      let asked = input.target.indices.filter { input.target[$0] >= 0 }
      #expect(asked.count == 3, "a share of 0.15 of 20 tokens")
      for (token, id) in input.ids.enumerated() {
        guard input.target[token] >= 0 else {
          #expect(id == whole[token] && input.target[token] == -1)
          continue
        }
        byPlace[token] += 1
        #expect(input.target[token] == Float(whole[token]))
        if id == mask { masked += 1 } else if id == whole[token] { kept += 1 } else { others += 1 }
      }
    }
    // [CLS] and [SEP] never; every other token as often, within five standard deviations of 2000 draws of 0.15.
    #expect(byPlace[0] == 0 && byPlace[21] == 0)
    for count in byPlace[1...20] { #expect(abs(Double(count) - 300) < 80) }
    // Of 6000: 0.8 ± five deviations of 31; one random word in 196 is [MASK], one the word itself.
    #expect(abs(Double(masked) - 4800) < 160)
    #expect(abs(Double(kept) - 600) < 125)
    #expect(abs(Double(others) - 600) < 125)
  }

  @Test
  func
    `what is hidden is a function of seed, step and example; rows that are evaluated are hidden once`()
    throws
  {
    let text = Self.twenty + "\n" + Self.twenty + "\n"
    let set = try Self.examples(text)
    func draw(_ example: Int, _ step: Int, _ seed: UInt64) -> SequenceInput {
      set.decoder.input(set.sequences[example], step: step, seed: seed)
    }
    let first = draw(0, 5, 1)
    #expect(draw(0, 5, 1) == first)
    #expect((6..<12).contains { draw(0, $0, 1).target != first.target })
    #expect((2..<8).contains { draw(0, 5, $0).target != first.target })
    #expect((0..<6).contains { draw(0, $0, 1).target != draw(1, $0, 1).target })
    // A draw begins with the text, not with what the draw before has left of it.
    #expect(set.decoder.input(first, step: 9, seed: 1) == draw(0, 9, 1))
    #expect(try Self.examples(text).sequences == set.sequences)
    #expect(set.sequences.allSatisfy { $0.target.contains { $0 >= 0 } })
  }

  @Test func `a text of one word has it hidden, an empty line nothing`() throws {
    let set = try Self.examples("good\n")
    for step in 0..<20 {
      #expect(set.decoder.input(set.sequences[0], step: step, seed: 1).target[1] >= 0)
    }
    #expect(try Self.examples("good\n  \nbad\n").rows.map(\.count) == [1, 0, 1])
  }

  @Test func `the pieces of a word are hidden together where words are`() throws {
    // "unreadable" is un ##read ##able, "reading" read ##ing.
    let text = "the unreadable book was reading in rain and unreadable\n"
    let ids = try Self.examples(text, withLabel: false).sequences[0].ids
    let tokens = try Self.vocabulary.get().tokens
    let words = ids.indices.filter { !tokens[Int(ids[$0])].hasPrefix("##") }
    #expect(ids.count - 2 > words.count - 2, "there is a word of several pieces")
    for (whole, splits) in [(true, false), (false, true)] {
      let set = try Self.examples(
        text, ["masking.wholeWords=\(whole)", "masking.share=0.4"])
      var isSplit = false
      for step in 0..<200 {
        let target = set.decoder.input(set.sequences[0], step: step, seed: 2).target
        for (start, end) in zip(words, words.dropFirst()) {
          let asked = target[start..<end].count { $0 >= 0 }
          if asked > 0, asked < end - start { isSplit = true }
        }
        #expect(target.contains { $0 >= 0 })
      }
      #expect(isSplit == splits)
    }
  }

  @Test func `a long text is several windows, and none of its tokens is lost`() throws {
    let whole = try Self.examples(Self.twenty + "\n", withLabel: false).sequences[0].ids
    let cut = try Self.examples(
      Self.twenty + "\n", withLabel: false, ["data.maxLength=9"])
    #expect(cut.rows == [0..<3])
    #expect(cut.sequences.map(\.ids.count) == [9, 9, 8])
    #expect(cut.sequences.flatMap { $0.ids.dropFirst().dropLast() } == Array(whole[1...20]))
    #expect(cut.truncation.cutTokens == 0)
  }

  @Test func `[MASK] in a text asks for five words with their probabilities`() throws {
    let set = try Self.examples("the [MASK] was [MASK] .\ngood\n", withLabel: false)
    let mask = try Self.vocabulary.get().mask
    #expect(set.sequences[0].ids.indices.filter { set.sequences[0].ids[$0] == mask } == [2, 4])
    #expect(set.sequences[0].target == [-1, -1, -2, -1, -2, -1, -1])
    #expect(set.sequences[1].target.allSatisfy { $0 == -1 })
    let ids: [Float] = [84, 85, 86, 87, 88]
    let one = ids.flatMap { (id: Float) -> [Float] in [id, 0.125] }
    let output = HeadOutput(values: one + one, loss: nil)
    let text = set.decoder.prediction(ofRow: 0, from: [output])
    struct Said: Decodable {
      struct Word: Decodable { let token: String, probability: Double }
      let masks: [[Word]]
    }
    let said = try JSONDecoder().decode(Said.self, from: Data(text.utf8))
    let tokens = try Self.vocabulary.get().tokens
    #expect(
      said.masks.map { words in words.map(\.token) }
        == Array(repeating: ids.map { tokens[Int($0)] }, count: 2))
    #expect(said.masks[0].allSatisfy { $0.probability == 0.125 })
    #expect(
      set.decoder.prediction(ofRow: 1, from: [HeadOutput(values: [], loss: nil)])
        == "{\"masks\":[]}")
  }
}
