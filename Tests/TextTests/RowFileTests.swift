import Foundation
import TestSupport
import Testing
import Text

@Suite struct RowFileTests {
  @Test(arguments: [
    ("a.tsv", RowFormat.tsv), ("a.TXT", .tsv), ("a.csv", .csv), ("b.jsonl", .jsonl),
    ("b.json", .json),
    ("b.ndjson", .jsonl),
  ])
  func `the ending of a name tells the format`(name: String, format: RowFormat) throws {
    #expect(try RowFormat.inferred(from: URL(filePath: name)) == format)
  }

  @Test func `an unknown ending is refused`() {
    #expect(
      message { _ = try RowFormat.inferred(from: URL(filePath: "rows.xls")) }
        == #"rows.xls: the ending "xls" does not tell the format of the rows: name the file .tsv, .csv, .jsonl or .json; a recipe can also say data.format"#
    )
  }

  @Test func `a file is read from disk under the name the user gave`() throws {
    let folder = try TemporaryFolder()
    let url = folder.url.appending(path: "train.tsv")
    try Data("label\ttext\n1\tgood\n".utf8).write(to: url)
    let columns = [RequestedColumn(.name("text"))]
    #expect(try RowFile.read(url, columns: columns).rows == [Row(line: 2, values: ["good"])])
    let wrong = folder.url.appending(path: "trian.tsv")
    #expect(
      message { _ = try RowFile.read(wrong, columns: columns) }
        == #"\#(wrong.relativePath): there is no such file: did you mean "train.tsv" in the same folder?"#
    )
    #expect(
      message { _ = try RowFile.read(folder.url, format: .tsv, columns: columns) }
        == "\(folder.url.relativePath): is a folder: name a file of rows inside it")
    let relative = URL(filePath: "no/such/rows.tsv")
    #expect(
      message { _ = try RowFile.read(relative, columns: columns) }
        == "no/such/rows.tsv: there is no such file: check the path; a relative one starts at the working folder"
    )
  }

  @Test func `digits alone are a column number`() {
    #expect(ColumnReference("12") == .number(12))
    #expect(ColumnReference("text") == .name("text"))
    #expect(ColumnReference("-1") == .name("-1"))
    #expect(ColumnReference("") == .name(""))
  }

  @Test(arguments: [
    ("learning_rate", "learningRate"), ("learninRate", "learningRate"), ("lable", "label"),
    ("Text", "text"),
    ("albel", "label"), ("sentence", nil), ("x", nil), ("id", nil), ("wieght_decay", "weightDecay"),
  ])
  func `the nearest name is suggested, and none if none is near`(name: String, expected: String?) {
    let names = ["label", "text", "learningRate", "weightDecay", "warmup"]
    #expect(suggestion(for: name, among: names) == expected)
  }

  @Test(arguments: [
    ("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 1), ("abcd", "acbd", 1),
  ])
  func `edit distance counts insertions, deletions, substitutions and swaps`(
    a: String, b: String, distance: Int
  ) {
    #expect(editDistance(Array(a.utf8), Array(b.utf8)) == distance)
    #expect(editDistance(Array(b.utf8), Array(a.utf8)) == distance)
  }

  @Test func `long values are cut and controls are shown as escapes`() {
    #expect(DataProblem.quoted("a\tb\u{0}\"\\") == #""a\tb\u{0}\"\\""#)
    #expect(
      DataProblem.quoted(String(repeating: "很", count: 61)) == "\""
        + String(repeating: "很", count: 60) + "…\"")
  }
}
