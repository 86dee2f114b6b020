import Foundation
import Model
import Testing
import Text
import Trainer

/// Answers of pointers' logits that were worked out by hand.
@Suite struct EventSubjectDecodingTests {
  // [CLS], `___买___` in tokens 1–7, the text's characters from token 8 on, [SEP]: 20 tokens.
  static let text = "北京，上海-公司。山城"

  static func task(_ characters: String) throws -> DecodedTask {
    var task = try DecodedTask(
      [
        "task=event-subject", "data.tokenizer=google", "data.columns.id=id",
        "eventSubject.drop=[其他]",
      ])
    task.definition.entityCharacters = characters
    task.definition.eventTypes = ["买", "卖"]
    return task
  }

  static func values(starts: [Int: Float], ends: [Int: Float]) -> [Float] {
    (0..<20).map { starts[$0] ?? 0 } + (0..<20).map { ends[$0] ?? 0 }
  }

  // [CLS], the type, a comma and [SEP] are likelier starts than 上 and cannot be any.
  static let starts: [Int: Float] = [0: 9, 4: 8, 10: 7, 19: 9, 11: 5]

  @Test(
    arguments: [
      // The best end lies before the start, or behind 。; between them it is 司.
      ("-", [8: 9, 15: 4, 16: 3, 18: 8, 19: 9], "上海-公司"),
      // The first character that no entity has is still a possible end.
      ("-", [15: 4, 16: 6, 18: 8], "上海-公司。"),
      // Where no entity has a hyphen, it is the last possible end.
      ("", [12: 1, 15: 4], "上海"), ("", [12: 1, 13: 2, 15: 4], "上海-"),
      // Of equals the first.
      ("-", [:], "上"),
    ] as [(String, [Int: Float], String)])
  func `an answer begins at the likeliest start and ends before the next clause`(
    characters: String, ends: [Int: Float], answer: String
  ) throws {
    let set = try Self.task(characters).examples(
      "id,text,type\n7,\(Self.text),买\n", "rows.csv")
    #expect(set.sequences[0].ids.count == 20)
    let said = try set.said(Self.values(starts: Self.starts, ends: ends))
    #expect(said["entity"] as? String == answer)
    #expect(said["id"] as? String == "7")
  }

  @Test func `a type that was not learnt has no answer, and the result file says so`() throws {
    let rows = "id,text,type\n\"a\"\"1\",\(Self.text),买\n2,\(Self.text),不知\n3,\(Self.text),其他\n"
    let set = try Self.task("-").examples(rows, "rows.csv")
    let values = Self.values(starts: Self.starts, ends: [15: 1])
    #expect(set.rows.count == 3)
    let lines = try (0..<3).map {
      try set.decoder.result(ofRow: $0, from: [HeadOutput(values: values, loss: nil)][...])
    }
    #expect(lines == ["\"a\"\"1\",\"上海-公司\"", "\"2\",\"NaN\"", "\"3\",\"NaN\""])
    #expect(try set.said(values, row: 0)["entity"] as? String == "上海-公司")
    #expect(try set.said(values, row: 1)["entity"] is NSNull)
    #expect(try set.said(values, row: 2)["entity"] is NSNull)
  }

  @Test func `no answer is never right`() throws {
    let set = try Self.task("-").examples(
      "id,text,type,entity\n1,\(Self.text),买,上海-公司\n2,\(Self.text),不知,上海-公司\n", "rows.csv",
      withLabel: true)
    let output = HeadOutput(
      values: Self.values(starts: Self.starts, ends: [15: 1]), loss: nil)
    #expect(set.decoder.metrics([output, output])["accuracy"] == 0.5)
  }

  @Test func `the recipe of 2019 cuts what it learns and nothing else`() throws {
    let task = try DecodedTask(
      ["task=event-subject", "model.dialect=seed2019", "data.maxLength=null"])
    func count(_ characters: Int, isTraining: Bool) throws -> Int {
      let text = String(repeating: "的", count: characters - 2)
      return try task.examples(
        "text,type,entity\n北京\(text),公司,北京\n", "rows.csv", withLabel: true,
        isTraining: isTraining
      ).sequences[0].ids.count
    }
    // Eight characters of `___公司___`, [CLS] and [SEP].
    #expect(try count(200, isTraining: true) == 138)
    #expect(try count(200, isTraining: false) == 210)
    // `[:510]` of the type and the text.
    #expect(try count(600, isTraining: false) == 512)
  }
}
