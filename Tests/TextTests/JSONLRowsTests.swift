import Foundation
import Testing
import Text

@Suite struct JSONLRowsTests {
  @Test func `strings are unescaped, and numbers and booleans stay as they are written`() throws {
    let text = #"""
      {"text": "a \"b\" \\ \/ \b\f\n\r\t é 😀 很", "label": 1}
      { "label" : -12.50e+3 , "nested": {"a": [1, {}, [], "]"], "text": "no"}, "text":"" }
      {"label":true,"text":12345678901234567890}
      {"text":"x","label":false}
      """#
    #expect(
      try rows(text, .jsonl, ["text", "label"]) == [
        Row(line: 1, values: ["a \"b\" \\ / \u{8}\u{C}\n\r\t é 😀 很", "1"]),
        Row(line: 2, values: ["", "-12.50e+3"]),
        Row(line: 3, values: ["12345678901234567890", "true"]),
        Row(line: 4, values: ["x", "false"]),
      ])
  }

  @Test func `escaped keys are found, null is absent, and the order of keys does not matter`()
    throws
  {
    let text = "\u{FEFF}{\"b\":null,\"\\u0061\":\"1\"}\r\n{\"a\":2,\"b\":3}\r\n\r\n"
    #expect(
      try rows(text, .jsonl, ["a"], optional: ["b", "c"])
        == [Row(line: 1, values: ["1", nil, nil]), Row(line: 2, values: ["2", "3", nil])])
  }

  @Test func `every string survives Foundation's encoder and this reader`() throws {
    let texts = [
      "", "\u{1}\u{1F}\u{7F}", "\u{2028}\u{85}", "𝄞\u{10FFFF}\u{FFFD}", "e\u{301}", "\\u0041",
    ]
    for text in texts {
      let line = try JSONEncoder().encode(["text": text])
      #expect(
        try rows(Array(line), .jsonl, ["text"]).map { $0.values[0].map { Array($0.utf8) } } == [
          Array(text.utf8)
        ])
    }
  }

  @Test(arguments: [
    (
      #"{"text": "a" "b"}"#,
      #""{\"text\": \"a\" \"b\"}": not JSON at byte 14 of the line, where "," or "}" was expected: write one JSON object a line"#
    ),
    (
      #"{"text": "a"#,
      #""{\"text\": \"a": not JSON: the line ends at byte 12 of the line, where a quote that ends the string was expected: write each object on one line (jq -c .)"#
    ),
    (
      #"{"#,
      #""{": not JSON: the line ends at byte 2 of the line, where a key in quotes was expected: write each object on one line (jq -c .)"#
    ),
    (
      #"["a"]"#,
      #""[\"a\"]": not JSON at byte 1 of the line, where an object was expected: name the file .json if it is one array (or set data.format: json), or write one object a line"#
    ),
    (
      #"{"text": 01}"#,
      #""{\"text\": 01}": not JSON at byte 11 of the line, where "," or "}" was expected: write one JSON object a line"#
    ),
    (
      #"{"text": NaN}"#,
      #""{\"text\": NaN}": not JSON at byte 10 of the line, where a value was expected: write one JSON object a line"#
    ),
    (
      #"{"text": "\x"}"#,
      #""{\"text\": \"\\x\"}": not JSON at byte 12 of the line, where one of " \ / b f n r t u was expected: write one JSON object a line"#
    ),
    (
      #"{"text": "\ud800"}"#,
      #""{\"text\": \"\\ud800\"}": not JSON at byte 11 of the line, where a whole surrogate pair was expected: write one JSON object a line"#
    ),
    (
      #"{"text": "\u0000"}"#,
      #""{\"text\": \"\\u0000\"}": not JSON at byte 11 of the line, where text (\u0000 is NUL) was expected: write one JSON object a line"#
    ),
    (
      "{\"text\": \"a\tb\"}",
      #""{\"text\": \"a\tb\"}": not JSON at byte 12 of the line, where a control character written as \u00XX or \t was expected: write one JSON object a line"#
    ),
    (
      #"{"text": "a"} x"#,
      #""{\"text\": \"a\"} x": not JSON at byte 15 of the line, where the end of the line was expected: write one JSON object a line"#
    ),
    (
      #"{"text": "a",}"#,
      #""{\"text\": \"a\",}": not JSON at byte 14 of the line, where a key in quotes was expected: write one JSON object a line"#
    ),
    (
      #"{"a": [1, {"b" 2}], "text": ""}"#,
      #""{\"a\": [1, {\"b\" 2}], \"text\": \"\"}": not JSON at byte 16 of the line, where ":" was expected: write one JSON object a line"#
    ),
  ])
  func `what is not JSON is named by its byte`(line: String, sentence: String) {
    #expect(message { _ = try rows(line, .jsonl, ["text"]) } == "rows.jsonl:1: " + sentence)
  }

  @Test(arguments: [
    (
      #"{"txt": "a", "id": 1}"#,
      #"column "text": the object has no such key, it has "txt", "id": did you mean "txt"?"#
    ),
    (
      #"{}"#,
      #"column "text": the object has no such key, it has none: add the key, or remove the row"#
    ),
    (
      #"{"text": null}"#, #"column "text": the value is null: give a string, a number or a boolean"#
    ),
    (
      #"{"text": ["a"]}"#,
      #"column "text": "[\"a\"]": the value is an array: give a string, a number or a boolean"#
    ),
    (
      #"{"text": {"a": 1}}"#,
      #"column "text": "{\"a\": 1}": the value is an object: give a string, a number or a boolean"#
    ),
    (
      #"{"text": "a", "text": "b"}"#,
      #"column "text": the object has this key more than once: keep one of them"#
    ),
  ])
  func `a member that cannot be used is named`(line: String, sentence: String) {
    let good = #"{"text": "fine"}"# + "\n"
    #expect(message { _ = try rows(good + line, .jsonl, ["text"]) } == "rows.jsonl:2: " + sentence)
  }

  @Test func `numbers of columns, blank lines and files without rows are refused`() {
    #expect(
      message { _ = try rows("{}", .jsonl, ["2"]) }
        == "rows.jsonl: column 2: a column is asked for by number, but the fields of JSON objects have names only: ask by name"
    )
    #expect(
      message { _ = try rows("{\"a\":1}\n \n{\"a\":2}", .jsonl, ["a"]) }
        == "rows.jsonl:2: a blank line between rows: delete it")
    #expect(
      message { _ = try rows("\n \r\n", .jsonl, ["a"]) }
        == "rows.jsonl: the file has no rows, only blank lines: add rows")
  }

  @Test func `brackets may nest deeply but not without end`() throws {
    func line(_ depth: Int) -> String {
      "{\"deep\": " + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        + ", \"text\": \"a\"}"
    }
    #expect(try rows(line(512), .jsonl, ["text"]).map(\.values) == [["a"]])
    #expect(
      message { _ = try rows(line(100_000), .jsonl, ["text"]) }.contains(
        "not JSON at byte 522 of the line, where no more than 512 brackets inside one another was expected"
      ))
  }

  @Test func `every cut of a line is refused or read, and never traps`() {
    let line = #"{"a": [1, {"b": "é😀"}, null], "text": "x\n很", "n": -1.5e3}"#
    let bytes = Array(line.utf8)
    for end in 1..<bytes.count {
      #expect(message { _ = try rows(Array(bytes[..<end]), .jsonl, ["text"]) } != "no error")
    }
    for place in bytes.indices {
      for bit in 0..<8 {
        var flipped = bytes
        flipped[place] ^= 1 << UInt8(bit)
        for format in RowFormat.allCases { _ = try? rows(flipped, format, ["text"]) }
      }
    }
  }
}
