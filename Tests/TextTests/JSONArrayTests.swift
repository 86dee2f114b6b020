import Foundation
import Testing
import Text

/// Rows in one JSON array.
@Suite struct JSONArrayTests {
  @Test func `elements are rows with the line of their brace, however they are laid out`() throws {
    let text =
      "\u{FEFF}\n[ {\"text\": \"a\\nb\", \"label\": 1},\r\n  {\n    \"label\": true,\n"
      + "    \"more\": [1, {\"text\": 2}],\n    \"text\": \"很\"\n  }, {\"label\":-1.50,\"text\":\"\"}\n]\n\n"
    let found = try rows(text, .json, ["text", "label"])
    #expect(found.map(\.values) == [["a\nb", "1"], ["很", "true"], ["", "-1.50"]])
    #expect(found.map(\.line) == [2, 3, 7])
    #expect(found.map(\.number) == [1, 2, 3])
  }

  @Test(arguments: [
    (
      "[{\"text\": \"a\"},\n {\"text\": \"b\"",
      #"rows.json:2: " {\"text\": \"b\"": not JSON: the file ends at byte 14 of the line, where "," or "}" was expected: write [{"text": "…", …}, …]"#
    ),
    (
      "[{\"text\": \"a\"}\n",
      #"rows.json:2: "": not JSON: the file ends at byte 1 of the line, where "," or "]" was expected: write [{"text": "…", …}, …]"#
    ),
    (
      "[\n{\"text\": \"a\"},\n]",
      #"rows.json:3: "]": not an array of JSON objects at byte 1 of the line, where an object was expected: write [{"text": "…", …}, …]"#
    ),
    (
      "[{\"text\": \"a\"},\n \"b\"]",
      #"rows.json:2: " \"b\"]": not an array of JSON objects at byte 2 of the line, where an object was expected: write [{"text": "…", …}, …]"#
    ),
    (
      "{\"text\": \"a\"}",
      #"rows.json:1: "{\"text\": \"a\"}": not an array of JSON objects at byte 1 of the line, where "[" was expected: name the file .jsonl if it has one object a line (or set data.format: jsonl), or put [ and ] around the objects"#
    ),
    (
      "[{\"text\": \"a\"}] x",
      #"rows.json:1: "[{\"text\": \"a\"}] x": not an array of JSON objects at byte 17 of the line, where the end of the file was expected: write [{"text": "…", …}, …]"#
    ),
    (
      "[{\"text\": \"a\nb\"}]",
      #"rows.json:1: "[{\"text\": \"a": not an array of JSON objects at byte 13 of the line, where a control character written as \u00XX or \t was expected: write [{"text": "…", …}, …]"#
    ),
    ("[ ]", "rows.json: the array has no elements: add rows"),
    ("", "rows.json: the file is empty: give a file with at least one row"),
  ])
  func `what is no array of objects is named by line and byte`(text: String, sentence: String) {
    #expect(message { _ = try rows(text, .json, ["text"]) } == sentence)
  }

  @Test func `all members that cannot be used are named together`() {
    let text = """
      [{"txt": "a"},
       {"text": null}, {"text": [1]},
       {"text": "a", "text": "b"}]
      """
    #expect(
      message { _ = try rows(text, .json, ["text"]) } == #"""
        rows.json:1: column "text": the object has no such key, it has "txt": did you mean "txt"?
        rows.json:2: column "text": the value is null: give a string, a number or a boolean
        rows.json:2: column "text": "[1]": the value is an array: give a string, a number or a boolean
        rows.json:3: column "text": the object has this key more than once: keep one of them
        4 problems.
        """#)
    #expect(
      message { _ = try rows("[{}]", .json, ["2"]) }
        == "rows.json: column 2: a column is asked for by number, but the fields of JSON objects have names only: ask by name"
    )
  }

  @Test func `bytes that are no text, and elements past the limit, are named by their line`() {
    let cut = Array("[{\"text\": \"a\"},\n{\"text\": \"".utf8) + [0xC3, 0x28] + Array("\"}]".utf8)
    #expect(
      message { _ = try rows(cut, .json, ["text"]) }.hasPrefix(
        "rows.json:2: byte 0xC3 at byte 11 of the line (27 of the file) is not UTF-8"))
    let long = "[{\"text\": \"a\"},\n{\"text\": \"\(String(repeating: "a", count: 100))\"}]"
    #expect(
      message { _ = try rows(long, .json, ["text"], limit: 99) }.contains(
        "the row has 112 bytes, the limit is 99"))
  }

  @Test func `every cut and every flipped bit of an array is refused or read, and never traps`() {
    let bytes = Array("[{\"text\": \"x\\n很\", \"b\": [1, null]},\n {\"text\": -1.5e3}]".utf8)
    for end in 0..<bytes.count {
      #expect(message { _ = try rows(Array(bytes[..<end]), .json, ["text"]) } != "no error")
    }
    for place in bytes.indices {
      for bit in 0..<8 {
        var flipped = bytes
        flipped[place] ^= 1 << UInt8(bit)
        _ = try? rows(flipped, .json, ["text"])
      }
    }
  }
}
