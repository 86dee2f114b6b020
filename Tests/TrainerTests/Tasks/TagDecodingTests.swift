import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

/// Labels of pieces, and tags of their scores, that were worked out by hand.
@Suite struct TagDecodingTests {
  static let labels = ["O", "B-PER", "I-PER"]

  // Pieces: the | un ##read | read ##ing | un ##able.
  static let rows = "the O\nunread B-PER\nreading I-PER\nunable O\n"

  static func task(_ overrides: [String], labels: [String] = labels) throws -> DecodedTask {
    try DecodedTask(
      ["task=tagging", "tagging.head=softmax", "data.tokenizer=google"] + overrides, labels: labels)
  }

  /// Scores in which token `i` of the sequence has the label `best[i]`.
  static func values(_ best: [Int]) -> [Float] {
    best.flatMap { label in (0..<3).map { $0 == label ? 1 : 0 } }
  }

  @Test(
    arguments: [
      ("first", [-1, 0, 1, -1, 2, -1, 0, -1, -1]), ("all", [0, 0, 1, 2, 2, 2, 0, 0, 0]),
    ] as [(String, [Float])])
  func `later pieces are not labelled, or continue their entity`(
    pieces: String, target: [Float]
  ) throws {
    let set = try Self.task(["tagging.pieces=\(pieces)"]).examples(
      Self.rows, "rows.bio", withLabel: true)
    #expect(set.sequences[0].target == target)
  }

  @Test(arguments: ["first", "all"])
  func `a token has the tag of its first piece`(pieces: String) throws {
    let set = try Self.task(["tagging.pieces=\(pieces)"]).examples(
      "the\nunread\nreading\nunable\n", "bare.bio")
    // [CLS], ##read, ##ing, ##able and [SEP] say something else.
    let said = try set.said(Self.values([1, 0, 1, 0, 2, 0, 0, 1, 1]))
    #expect(said["tags"] as? [String] == ["O", "B-PER", "I-PER", "O"])
    let entities = try #require(said["entities"] as? [[String: Any]])
    #expect(entities.map { $0["text"] as? String } == ["unread reading"])
  }

  @Test func `the chain's path runs over all pieces and not through what BIO forbids`() throws {
    let set = try Self.task(["tagging.head=crf", "tagging.pieces=all"]).examples(
      "the\nunread\n", "bare.bio")
    // ##read says I-PER by more than `un` says O by; I-PER after O is no path, so `un` is B-PER.
    let emissions: [Float] = [9, 0, 0, 2, 0, 0, 1, 0.5, 0, 0, 0, 3, 0, 0, 9]
    let said = try set.said(emissions + [Float](repeating: 0, count: 9))
    #expect(said["tags"] as? [String] == ["O", "B-PER"])
  }

  @Test func `tokens that are cut off are outside, and missed`() throws {
    let task = try Self.task(["data.maxLength=5"])
    let set = try task.examples(Self.rows, "rows.bio", withLabel: true)
    #expect(set.sequences[0].target == [-1, 0, 1, -1, -1])
    #expect(set.truncation.cutRows == 1)
    let values = Self.values([0, 0, 1, 0, 0])
    #expect(try set.said(values)["tags"] as? [String] == ["O", "B-PER", "O", "O"])
    let metrics = set.decoder.metrics([HeadOutput(values: values, loss: nil)])
    #expect(metrics["recall"] == 0 && metrics["accuracy"] == 0.75)
  }

  @Test func `types that are not learnt are outside`() throws {
    let task = try Self.task(["tagging.types=[LOC]"], labels: ["O", "B-LOC", "I-LOC"])
    let set = try task.examples(
      "the B-LOC\ngood I-LOC\nbook B-PER\nfilm I-PER\n", "rows.bio", withLabel: true)
    #expect(set.sequences[0].target == [-1, 1, 2, 0, 0, -1])
  }

  @Test func `an entity of a bare text stands where the text has it`() throws {
    // Two spaces, a tab, a full-width space, a character beyond 16 bits; pieces: the un ##read book 是 [UNK] good.
    let words = try Self.task(["tagging.unit=words"]).examples(
      "the  unread\tbook\u{3000}是😀 good\n", "rows.txt")
    let first = try words.said(Self.values([0, 0, 1, 0, 2, 0, 0, 1, 0]))
    #expect(first["text"] as? String == "the  unread\tbook\u{3000}是😀 good")
    check(first, [(5, 16, "unread\tbook"), (20, 24, "good")])
    let characters = try Self.task(["tagging.unit=characters"]).examples(
      "\n北 京\u{3000}😀\t上海\n", "rows.txt")
    #expect(characters.rows.count == 2)
    let second = try characters.said(Self.values([0, 0, 1, 2, 2, 0, 0]), row: 1)
    check(second, [(2, 7, "京\u{3000}😀\t上")])
    #expect(try characters.said(Self.values([0, 0]), row: 0)["text"] as? String == "")
  }

  private func check(_ said: [String: Any], _ expected: [(start: Int, end: Int, text: String)]) {
    let entities = said["entities"] as? [[String: Any]] ?? []
    #expect(entities.map { $0["start"] as? Int } == expected.map(\.start))
    #expect(entities.map { $0["end"] as? Int } == expected.map(\.end))
    #expect(entities.map { $0["text"] as? String } == expected.map(\.text))
  }

  @Test func `the F1 of one type chooses the best model, if the dev rows have it`() throws {
    let family = MadeUpFamily.named("tagging crf")
    let (folder, file) = try family.written(dropout: 0)
    defer { withExtendedLifetime(folder) {} }
    func recipe(_ metric: String) throws -> Recipe {
      try Recipe(contentsOf: file, overrides: ["evaluation.metric=\(metric)"])
    }
    #expect(try PreparedRun(recipe("f1.LOC"), threads: 1).recipe.evaluation.metric == "f1.LOC")
    let unknown = try recipe("f1.ORG")
    let error = #expect(throws: PreparationErrors.self) { try PreparedRun(unknown, threads: 1) }
    #expect(
      error?.description
        == "evaluation.metric is f1.ORG, and no entity of that type is learnt and in the dev rows. The types are \"LOC\", \"PER\"."
    )
    #expect(throws: RecipeErrors.self) { try recipe("f1.") }
  }
}
