import Foundation
import TestSupport
import Testing
import Text

/// A file, what is asked of it, and the sentence that refuses it.
struct Refusal: CustomTestStringConvertible, Sendable {
  let text: String
  var columns = ["label", "text"]
  var header = HeaderPolicy.automatic
  let sentence: String
  var testDescription: String { sentence }
}

@Suite struct TableRowsTests {
  @Test(arguments: ["\n", "\r\n"], ["", "\u{FEFF}"])
  func `columns are found by name in any order behind either line end and a byte order mark`(
    feed: String, mark: String
  ) throws {
    let lines = ["label\ttext\tid", "1\tgood\t7", "0\t很糟\t8"]
    for end in ["", feed, feed + feed] {
      let read = try rows(mark + lines.joined(separator: feed) + end, .tsv, ["text", "label"])
      #expect(
        read == [Row(line: 2, values: ["good", "1"]), Row(line: 3, values: ["很糟", "0"])])
    }
  }

  @Test func `numbers count from 1 and leave the first line a row unless a header is declared`()
    throws
  {
    let text = "a\tb\nc\td\n"
    #expect(try rows(text, .tsv, ["2"]).map(\.values) == [["b"], ["d"]])
    #expect(try rows(text, .tsv, ["2"], header: .present).map(\.values) == [["d"]])
    #expect(
      try rows(text, .tsv, ["2", "1", "2"]).map(\.values) == [["b", "a", "b"], ["d", "c", "d"]])
  }

  @Test func `an optional column that is absent reads as nil`() throws {
    let read = try rows("text\nx\n", .tsv, ["text"], optional: ["label", "3"])
    #expect(read == [Row(line: 2, values: ["x", nil, nil])])
  }

  @Test func `in TSV a quote is a letter and only tabs and line feeds separate`() throws {
    let odd = "\"a, b\"\u{2028}c\u{85}d\re \u{1}"
    #expect(try rows("\(odd)\t\"\n", .tsv, ["1", "2"]).map(\.values) == [[odd, "\""]])
  }

  @Test func `blank lines are values in a file of one column and end no file`() throws {
    #expect(
      try rows("a\n\nb\n\n\n", .tsv, ["1"])
        == [
          Row(line: 1, values: ["a"]), Row(line: 2, values: [""]), Row(line: 3, values: ["b"]),
        ])
  }

  @Test func `empty fields are empty values in both formats`() throws {
    #expect(try rows("\t\t\n\ta\t", .tsv, ["1", "3"]).map(\.values) == [["", ""], ["", ""]])
    #expect(
      try rows(",,\n\"\",a,", .csv, ["1", "2", "3"]).map(\.values) == [
        ["", "", ""], ["", "a", ""],
      ])
  }

  @Test(arguments: ["\n", "\r\n"])
  func `CSV keeps commas, doubled quotes and line breaks of quoted fields`(feed: String) throws {
    let text = [
      "id,text", "1,\"a, b\"", "\"2\",\"say \"\"hi\"\"\"", "3,\"one\(feed)two\(feed)\"", "4, c ",
      "5,\"\"\"\"",
    ].joined(separator: feed)
    for end in ["", feed] {
      let read = try rows(text + end, .csv, ["text", "id"])
      #expect(
        read == [
          Row(line: 2, values: ["a, b", "1"]), Row(line: 3, values: ["say \"hi\"", "2"]),
          Row(line: 4, values: ["one\(feed)two\(feed)", "3"]), Row(line: 7, values: [" c ", "4"]),
          Row(line: 8, values: ["\"", "5"]),
        ])
    }
  }

  @Test(arguments: [
    Refusal(
      text: "label\ttext\n1\n",
      sentence:
        #"rows.tsv:2: column "text": "1": the row has 1 field, the header has 2: separate fields by one tab, or remove the row"#
    ),
    Refusal(
      text: "label\ttext\n1\ta\tb\n",
      sentence:
        #"rows.tsv:2: column 3: "1\ta\tb": the row has 3 fields, the header has 2: remove the tabs inside its texts, or write the file as CSV with such texts in quotes"#
    ),
    Refusal(
      text: "1\ta\n\n0\tb\n", columns: ["1", "2"],
      sentence: "rows.tsv:2: a blank line between rows: delete it"),
    Refusal(
      text: "1\ta\n0\n", columns: ["1", "2"],
      sentence:
        #"rows.tsv:2: column 2: "0": the row has 1 field, the first row (line 1) has 2: separate fields by one tab, or remove the row"#
    ),
    Refusal(
      text: "label\ttxet\n1\ta\n",
      sentence:
        #"rows.tsv:1: column "text": the header has no such column, it has "label", "txet": did you mean "txet"?"#
    ),
    Refusal(
      text: "a\tb\n1\ta\n", columns: ["sentence", "3", "0"],
      sentence: """
        rows.tsv:1: column "sentence": the header has no such column, it has "a", "b": ask for one of these
        rows.tsv:1: column 3: the file has 2 columns: ask for one of them
        rows.tsv:1: column 0: columns are counted from 1: ask for column 1
        3 problems.
        """),
    Refusal(
      text: "text,label\na,1\n", columns: ["text"],
      sentence:
        #"rows.tsv:1: column "text": the header has no such column, it has "text,label": ask for one of these; the header is separated by commas, tsv needs tabs"#
    ),
    Refusal(
      text: "text\tlabel\ttext\na\t1\tb\n",
      sentence:
        #"rows.tsv:1: column "text": the header has this name 2 times, in columns 1, 3: rename all but one, or ask by number"#
    ),
    Refusal(
      text: "a\tb\n", columns: ["text"], header: .absent,
      sentence:
        #"rows.tsv:1: column "text": a column is asked for by name, but the file is read without a header: ask by number, or set the header to present"#
    ),
    Refusal(text: "", sentence: "rows.tsv: the file is empty: give a file with at least one row"),
    Refusal(
      text: "\u{FEFF}", sentence: "rows.tsv: the file is empty: give a file with at least one row"),
    Refusal(
      text: "label\ttext\n\n",
      sentence: "rows.tsv: the file has no rows, only a header or blank lines: add rows"),
    Refusal(
      text: "label\ttext\r1\ta\r",
      sentence:
        #"rows.tsv: lines end in a carriage return alone: convert the line ends (tr '\r' '\n')"#
    ),
    Refusal(
      text: "label\ttext\n1\ta\0b\n",
      sentence:
        "rows.tsv:2: byte 0x00 at byte 4 of the line (15 of the file) is NUL, which is no text: remove the byte, or convert the file if it is UTF-16 (iconv -f UTF-16 -t UTF-8)"
    ),
  ])
  func `TSV is refused with the place, the rule and the remedy`(refusal: Refusal) {
    let found = message {
      _ = try rows(refusal.text, .tsv, refusal.columns, header: refusal.header)
    }
    #expect(found == refusal.sentence)
  }

  @Test(arguments: [
    Refusal(
      text: "label,text\n1,\"a\n0,b\n",
      sentence:
        #"rows.csv:2: column 2: "\"a\n0,b\n": the quote opened in line 2 is not closed before the file ends: close the field with a quote"#
    ),
    Refusal(
      text: "label,text\n1,a\"b\n",
      sentence:
        #"rows.csv:2: column 2: "a\"": a quote inside a field that does not begin with one: put the whole field in quotes and double the quotes inside it"#
    ),
    Refusal(
      text: "label,text\n1,\"a\"b\n",
      sentence:
        #"rows.csv:2: column 2: "\"a\"b\n": text after the quote that closes the field: double the quotes inside the field"#
    ),
    Refusal(
      text: "label,text\n1,a,b\n",
      sentence:
        #"rows.csv:2: column 3: "1,a,b": the row has 3 fields, the header has 2: put every text that holds a comma in double quotes"#
    ),
    Refusal(
      text: "label,text\n\"1\n\n\"\n0,x\n",
      sentence:
        #"rows.csv:2: column "text": "\"1\n\n\"": the row has 1 field, the header has 2: add the missing fields, or remove the row"#
    ),
    Refusal(
      text: "label;text\n1;a\n", columns: ["text"],
      sentence:
        #"rows.csv:1: column "text": the header has no such column, it has "label;text": ask for one of these; the header is separated by semicolons, csv needs commas"#
    ),
  ])
  func `CSV is refused with the place, the rule and the remedy`(refusal: Refusal) {
    let found = message { _ = try rows(refusal.text, .csv, refusal.columns) }
    #expect(found == refusal.sentence)
  }

  @Test func `reading goes on behind a broken CSV row and names lines as an editor does`() {
    let text = "a,b\n\"1\n2\",x\"y\n3,4\n5,\"6\"7\n8\n"
    #expect(
      message { _ = try rows(text, .csv, ["a", "b"]) } == """
        rows.csv:2: column 2: "x\\"": a quote inside a field that does not begin with one: put the whole field in quotes and double the quotes inside it
        rows.csv:5: column 2: "\\"6\\"7\\n8\\n": text after the quote that closes the field: double the quotes inside the field
        rows.csv:6: column "b": "8": the row has 1 field, the header has 2: add the missing fields, or remove the row
        3 problems.
        """)
  }

  @Test(arguments: [RowFormat.tsv, .csv, .jsonl])
  func `bytes that are not UTF-8 are named by line and place`(format: RowFormat) {
    // "caf\xE9" is Latin-1; a surrogate half and an over-long slash are not UTF-8 either.
    let start = format == .jsonl ? Array("{\"text\":\"".utf8) : Array("text\n".utf8)
    let end = format == .jsonl ? Array("\"}\n".utf8) : Array("\n".utf8)
    for bad: [UInt8] in [[0xE9], [0xED, 0xA0, 0x80], [0xC0, 0xAF], [0xF0, 0x9F]] {
      let text = start + Array("caf".utf8) + bad + end
      let place = text.count - end.count - bad.count
      let line = format == .jsonl ? 1 : 2
      let column = format == .jsonl ? place + 1 : 4
      let byte = String(bad[0], radix: 16, uppercase: true)
      #expect(
        message { _ = try rows(text, format, ["text"]) }
          == "rows.\(format.rawValue):\(line): byte 0x\(byte) at byte \(column) of the line "
          + "(\(place + 1) of the file) is not UTF-8: save the file as UTF-8: iconv -f GB18030 -t UTF-8 "
          + "for Chinese, iconv -f WINDOWS-1252 -t UTF-8 for Western European text")
    }
  }

  @Test func `a bad byte in a later line of a quoted field is named by that line`() {
    let text = Array("text\n\"a\nb".utf8) + [0xFF] + Array("\"\n".utf8)
    #expect(
      message { _ = try rows(text, .csv, ["text"]) }.hasPrefix(
        "rows.csv:3: byte 0xFF at byte 2 of the line (10 of the file) is not UTF-8"))
  }

  @Test func `the first twenty problems are listed and all are counted`() {
    let text = "1\ta\n" + String(repeating: "x\n", count: 31)
    let found = message { _ = try rows(text, .tsv, ["1", "2"]) }.split(separator: "\n")
    #expect(found.count == 21)
    #expect(found[0].hasPrefix("rows.tsv:2: ") && found[19].hasPrefix("rows.tsv:21: "))
    #expect(found[20] == "31 problems; the first 20 are listed.")
  }

  @Test(arguments: RowFormat.allCases)
  func `a row past the limit is refused by its length and a row at the limit is read`(
    format: RowFormat
  ) throws {
    let isTable = format == .tsv || format == .csv
    let column = isTable ? "1" : "text"
    let body = String(repeating: "é", count: 40)
    let row = isTable ? body : "{\"text\":\"\(body)\"}"
    let file = format == .json ? "[\(row)]" : row
    let length = row.utf8.count
    #expect(try rows(file, format, [column], limit: length).map(\.values) == [[body]])
    #expect(
      message { _ = try rows(file + "\n", format, [column], limit: length - 1) }.hasSuffix(
        "the row has \(length) bytes, the limit is \(length - 1): split or remove the row"))
  }

  @Test(
    arguments: [
      (
        [0xFF, 0xFE, 0x61, 0x00],
        "the file is UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8 FILE > NEW)"
      ),
      ([0x1F, 0x8B, 0x08], "the file is compressed with gzip: decompress it (gunzip FILE)"),
      (
        [0x50, 0x4B, 0x03, 0x04],
        "the file is a zip archive or an Excel workbook: unpack it, or export the sheet as CSV in UTF-8"
      ),
      (
        [0xD0, 0xCF, 0x11, 0xE0],
        "the file is an old Excel workbook: export the sheet as CSV in UTF-8"
      ),
    ] as [([UInt8], String)])
  func `files of another kind are named for what they are`(bytes: [UInt8], sentence: String) {
    #expect(message { _ = try rows(bytes, .tsv, ["1"]) } == "rows.tsv: " + sentence)
  }
}
