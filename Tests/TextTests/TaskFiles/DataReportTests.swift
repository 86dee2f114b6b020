import Foundation
import TestSupport
import Testing
import Text

@Suite struct DataReportTests {
  static func report(_ splits: [(String, [(String, String?)])], room: Int = 8) throws -> DataReport
  {
    let vocabulary = try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt"))
    let tokenizer = Tokenizer(vocabulary: vocabulary, kind: .google, lowercase: true)
    return DataReport(
      splits: splits.map { name, rows in
        DataReport.Split(
          name: name, file: "\(name).tsv",
          rows: rows.enumerated().map {
            DataReport.Row(line: $0 + 2, text: $1.0, label: $1.1)
          })
      }, vocabulary: vocabulary, room: room
    ) { tokenizer.tokenize($0, threads: 2) }
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

  @Test func `unknown characters, cut rows, rare labels and lengths are told`() throws {
    let many: [(String, String?)] = "abcdefghijklmnopqrstu".map { ("good bad \($0)", "1") }
    let report = try Self.report([
      (
        "train",
        many + [("the qqφ Ж film ЖЖ !", "0"), ("the the the the the the the the the", "1")]
      )
    ])
    let unknown = try Self.finding(report, "unknown", "train.tsv")
    #expect(unknown.lines == [23])
    #expect(unknown.sentence.contains("most often \"ж\" 3") || unknown.sentence.contains("\"Ж\" 3"))
    let cut = try Self.finding(report, "truncation", "train.tsv")
    #expect(cut.lines == [24] && cut.sentence.contains("1 tokens are not read"))
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
