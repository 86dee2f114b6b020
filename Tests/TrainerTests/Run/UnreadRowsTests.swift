import Foundation
import TestSupport
import Testing
import Text
import Trainer

/// Rows that cannot be taken apart: told together with what is wrong with the others, or left out up to a limit.
@Suite struct UnreadRowsTests {
  /// Dev rows of a family of which `lines` hold wrong rows, some unread and some not; `left` are right.
  struct Case: CustomTestStringConvertible, Sendable {
    let family: String
    let rows: String
    let problems: [String]
    let wrong: Int
    let left: Int

    var testDescription: String { family }
  }

  static let cases = [
    Case(
      family: "tagging softmax",
      rows: "the O\nhotel B-LOC\n\nbook\nroom B_ORG\n\nfilm B-ORG\n\nfilm I-PER\n\nthe O\n",
      problems: [
        "dev-rows.bio:4: \"book\": a line has a token and its tag",
        "dev-rows.bio:5: \"B_ORG\": is no BIO tag",
        "dev-rows.bio:7: \"B-ORG\": is not a tag of this model",
        "dev-rows.bio:9: \"I-PER\": continues an entity but starts a sentence",
      ], wrong: 3, left: 2),
    Case(
      family: "relation mean",
      rows: """
        {"text":"北京是中国的城市","spo_list":[["北京","是","中国"]]}
        {"text":"北京是中国的城市","spo_list":[["北京","属于"]]}
        {"text":"北京是中国的城市","spo_list":[["北京","属于","中国"]]}
        {"text":"北京是
        """,
      problems: [
        "dev-rows.jsonl:1: column \"predicate\": \"是\": is not a predicate of this model",
        "dev-rows.jsonl:2: ", "dev-rows.jsonl:4: ",
      ], wrong: 3, left: 1),
    Case(
      family: "event-subject",
      rows: "id,text,type,entity\n1,大山公司卖,高价,大山公司\n2,大山公司卖,高价\n3,\"  \",高价,大山公司\n",
      problems: [
        "dev-rows.csv:3: column \"entity\": ", "dev-rows.csv:4: column \"text\": the text is empty",
      ], wrong: 2, left: 1),
  ]

  @Test(arguments: cases)
  func `all problems of a file are told in its order, whatever they are, and count as rows`(
    _ example: Case
  ) throws {
    let found = try SkippedRowsTests.Case(example.family, dev: example.rows).said(
      skipping: example.wrong)
    let places = example.problems.map { found.error.range(of: $0)?.lowerBound }
    #expect(!places.contains(nil), "\(found.error)")
    #expect(places.compactMap { $0 } == places.compactMap { $0 }.sorted())
    #expect(
      found.error.hasSuffix("\n\(example.problems.count) problems.\(SkippedRowsTests.advice)"))
    #expect(found.run.dev?.sequences.count == example.left)
    #expect(found.note.hasPrefix("dev-rows"))
    #expect(found.note.contains(": \(example.wrong) rows are left out (data.skipBad):"))
    for problem in example.problems { #expect(found.note.contains(problem)) }
  }

  @Test(arguments: cases)
  func `one more than the limit is an error with all problems`(_ example: Case) throws {
    let wrong = try SkippedRowsTests.Case(example.family, dev: example.rows)
    let all = #expect(throws: PreparationErrors.self) { try wrong.prepared() }
    for limit in 1..<example.wrong {
      let error = #expect(throws: PreparationErrors.self) {
        try wrong.prepared(["data.skipBad=\(limit)"])
      }
      #expect(error?.description == all?.description)
    }
  }

  static let table = "text\tlabel\ngood\tpos\nbad\tneg\nfilm\t\tpos\nbook\tmaybe\n"

  @Test func `training rows that cannot be taken apart do not hide a label that is none`() throws {
    let task = try MadeUpTask()
    try task.write(Self.table, to: "train.tsv")
    let labels = "data.labels=[neg, pos]"
    let error = #expect(throws: PreparationErrors.self) {
      try DataFilesTests.prepared(task, [labels])
    }
    let said = error?.description ?? ""
    #expect(said.contains("train.tsv:4: column 3: "))
    #expect(said.contains("train.tsv:5: column \"label\": \"maybe\": is not a label"))
    let run = try DataFilesTests.prepared(task, [labels, "data.skipBad=2"])
    #expect(run.train.sequences.count == 2)
  }

  @Test func `rows that make no task are told with those that cannot be taken apart`() throws {
    let task = try MadeUpTask()
    try task.write("text\tlabel\ngood\tpos\nbad\tpos\nfilm\t\tneg\n", to: "train.tsv")
    try task.write("text\tlabel\ngood\tpos\nbook\n", to: "dev.tsv")
    let error = #expect(throws: PreparationErrors.self) { try DataFilesTests.prepared(task, []) }
    let said = error?.description ?? ""
    #expect(said.contains("the rows have 1 different labels"))
    #expect(said.contains("train.tsv:4: ") && said.contains("dev.tsv:3: "))
  }

  @Test func `a quote that swallows other rows cannot be passed over`() throws {
    let task = try MadeUpTask()
    try task.write(
      "text,label\ngood,pos\n\"bad,neg\nfilm,pos\nbook,neg\n", to: "train.csv")
    try task.write("text,label\ngood,pos\nbad,neg\nfilm\nbook,neg\n", to: "right.csv")
    func sequences(_ file: String) throws -> Int {
      try DataFilesTests.prepared(
        task, ["data.train=\(task.url.appending(path: file).path)", "data.skipBad=9"]
      ).train.sequences.count
    }
    #expect(try sequences("right.csv") == 3)
    let error = #expect(throws: PreparationErrors.self) { try sequences("train.csv") }
    #expect(error?.description.contains("train.csv:3: ") == true)
  }

  @Test func `a row that cannot be taken apart is an error where a saved model reads it`() throws {
    let wrong = try SkippedRowsTests.Case(
      "event-subject", dev: "id,text,type,entity\n1,大山公司卖,高价,大山公司\n")
    let run = try wrong.prepared()
    let file = wrong.folder.url.appending(path: "asked.csv")
    try Data("id,text,type\n1,大山公司卖,高价\n2,大山\n".utf8).write(to: file)
    let tokenizer = Tokenizer(
      vocabulary: try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt")),
      kind: run.definition.tokenizer, lowercase: true)
    let error = #expect(throws: DataErrors.self) {
      try run.definition.examples(file, tokenizer: tokenizer, threads: 1, withLabel: false)
    }
    #expect(error?.description.contains("asked.csv:3: ") == true)
  }
}
