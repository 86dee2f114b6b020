import Foundation
import TestSupport
import Testing
import Text

@Suite struct DataReportTests {
  static func report(_ splits: [(String, [(String, String?)])]) throws -> DataReport {
    try report(
      splits.map { name, rows in
        DataReport.Split(
          name: name, file: "\(name).tsv",
          rows: rows.enumerated().map {
            DataReport.Row(line: $0 + 2, text: $1.0, label: $1.1)
          })
      })
  }

  static func report(_ splits: [DataReport.Split]) throws -> DataReport {
    let vocabulary = try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt"))
    let tokenizer = Tokenizer(vocabulary: vocabulary, kind: .google, lowercase: true)
    return DataReport(splits: splits, vocabulary: vocabulary) {
      tokenizer.tokenize($0, threads: 2)
    }
  }

  static func finding(
    _ report: DataReport, _ kind: String, _ file: String
  ) throws
    -> DataReport.Finding
  {
    try #require(report.findings.first { $0.kind == kind && $0.file == file })
  }

  @Test func `repeated texts, and what contradicting labels leave possible, are counted`() throws {
    let report = try Self.report([
      (
        "train",
        [("good", "1"), ("bad", "0"), ("good", "1"), ("good", "0"), ("film", "1"), ("", "0")]
      )
    ])
    let duplicates = try Self.finding(report, "duplicates", "train.tsv")
    #expect(duplicates.count == 2 && duplicates.lines == [4, 5])
    #expect(
      duplicates.remedy == "leave them out with --drop-duplicates (data.dropDuplicates: true)")
    let conflicts = try Self.finding(report, "conflicts", "train.tsv")
    #expect(conflicts.count == 3 && conflicts.lines == [2, 4, 5])
    #expect(report.ceilings["train"] == 5.0 / 6)
    #expect(
      "\(conflicts)"
        == "train.tsv:2: 3 of 6 rows share their text with a row of another label; at most 83.33 % of the rows can be predicted right "
        + "(lines 2, 4, 5): decide which label is right, or leave the rows out")
    #expect(try Self.finding(report, "empty", "train.tsv").lines == [7])
  }

  @Test func `rows of one split that stand in the training rows are leakage`() throws {
    let report = try Self.report([
      ("train", [("good", "1"), ("bad", "0")]),
      ("dev", [("bad", "0"), ("film", "1"), ("good", "1"), ("book", "0")]),
    ])
    let leakage = try Self.finding(report, "leakage", "dev.tsv")
    #expect(leakage.count == 2 && leakage.lines == [2, 4])
    #expect(leakage.sentence.hasPrefix("2 of 4 rows (50.0 %) stand verbatim in train.tsv"))
    #expect(report.findings.count == 1)
  }

  @Test func `test rows that stand in the dev rows are leakage too`() throws {
    let report = try Self.report([
      ("train", [("good", "1"), ("bad", "0")]), ("dev", [("film", "1"), ("book", "0")]),
      ("test", [("book", "0"), ("good", "1"), ("it", "1")]),
    ])
    #expect(
      report.findings.map(\.description) == [
        "test.tsv:3: 1 of 3 rows (33.3 %) stand verbatim in train.tsv: what is measured on them is memory (lines 3): "
          + "leave those out of the training rows with data.dropLeaked: true, or split anew with data.split",
        "test.tsv:2: 1 of 3 rows (33.3 %) stand verbatim in dev.tsv: the best model was chosen by its rows (lines 2): "
          + "leave them out of one of the two files, or split anew with data.split",
      ])
  }

  @Test func `what has no lines is told by its number`() throws {
    let report = try Self.report([
      DataReport.Split(
        name: "train", file: "a.json", unit: .question,
        rows: [1, 2, 3].map { DataReport.Row(line: $0, text: "good", label: "x") })
    ])
    #expect(
      report.findings.map(\.description) == [
        "a.json: question 2: 2 of 3 rows (66.7 %) repeat the text of an earlier one (questions 2, 3): "
          + "leave them out with --drop-duplicates (data.dropDuplicates: true)"
      ])
  }

  @Test func `classes inside of rows are balanced one by one`() throws {
    // Each row has a label of its own; PER stands in 11 of 12 rows, in one of them twice, LOC in one.
    let rows = (0..<12).map { number in
      DataReport.Row(
        line: number + 1, text: "film \(number)", label: "label \(number)",
        classes: number == 0 ? ["LOC"] : number == 1 ? ["PER", "PER"] : ["PER"])
    }
    let report = try Self.report([DataReport.Split(name: "train", file: "a.bio", rows: rows)])
    #expect(report.statistics[0].labels == ["LOC": 1, "PER": 12])
    let balance = try Self.finding(report, "balance", "a.bio")
    #expect(
      "\(balance)"
        == "a.bio:1: \"LOC\" occurs 1 times in 12 rows, the most frequent one 12 times (lines 1): give more rows that have it, or expect little of it"
    )
  }

  @Test func `an unknown character is told with all its occurrences`() throws {
    // A word past the tokenizer's limit is unknown as a whole, though it knows the letter.
    let report = try Self.report([
      ("train", [("a a a", "1"), (String(repeating: "a", count: 201), "0"), ("é ж", "0")])
    ])
    let unknown = try Self.finding(report, "unknown", "train.tsv")
    #expect(unknown.count == 2 && unknown.total == 6)
    #expect(
      unknown.sentence.hasSuffix(
        "most often (of the character's occurrences) \"a\" 201 of 204, \"ж\" 1 of 1"))
  }

  @Test func `unknown characters, rare labels and lengths are told`() throws {
    let many: [(String, String?)] = "abcdefghijklmnopqrstu".map { ("good bad \($0)", "1") }
    let report = try Self.report([
      (
        "train",
        many + [("the qqφ Ж film ЖЖ !", "0"), ("the the the the the the the the the", "1")]
      )
    ])
    let unknown = try Self.finding(report, "unknown", "train.tsv")
    #expect(unknown.lines == [23])
    #expect(unknown.sentence.contains("\"Ж\" 3 of 3"))
    let balance = try Self.finding(report, "balance", "train.tsv")
    #expect(balance.count == 1 && balance.sentence.contains("the most frequent one 22"))
    #expect(report.statistics[0].labels == ["0": 1, "1": 22])
    #expect(report.statistics[0].histogram[0] == 23)
    #expect(report.statistics[0].lengths[3] == 9)
    #expect(report.text.contains("labels   1 22  0 1"))
    let again = try JSONDecoder().decode(DataReport.self, from: report.json())
    #expect(again == report)
  }

  @Test func `clean rows have no findings`() throws {
    let report = try Self.report([
      ("train", [("good", "1"), ("bad", "0")]), ("dev", [("film", "1"), ("book", nil)]),
    ])
    #expect(report.findings.isEmpty && report.text.hasSuffix("no findings"))
  }
}
