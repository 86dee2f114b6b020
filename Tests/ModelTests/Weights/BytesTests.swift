import Foundation
import Model
import TestSupport
import Testing

@Suite struct BytesTests {
  @Test(
    arguments: [
      ([UInt8]("123456789".utf8), 0xE306_9283), ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
      ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43), ([UInt8](0..<32), 0x46DD_794E), ([], 0),
    ] as [([UInt8], UInt32)])
  func `the checksum has the published values (RFC 3720, B.4)`(input: [UInt8], expected: UInt32) {
    var crc = CRC32C()
    crc.update(input)
    #expect(crc.value == expected)
  }

  @Test(arguments: [1, 15, 16, 17, 63, 1000])
  func `a checksum in pieces is the checksum of the whole`(piece: Int) {
    let input = (0..<4099).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) }
    var whole = CRC32C(), parts = CRC32C()
    whole.update(input)
    for start in stride(from: 0, to: input.count, by: piece) {
      parts.update(input[start..<min(start + piece, input.count)])
    }
    #expect(parts.value == whole.value)
  }

  @Test(arguments: [
    ("{\n  \"a\": 1,\n}", 3, 1, "a key in quotes is expected, found '}'"),
    ("{\"é\": 01}", 1, 7, "a number that starts with 0"),
    ("[1, 2", 1, 6, "',' or ']' is expected, found the end of the file"),
    ("[\"a\n\"]", 1, 4, "a control character inside a string"),
    ("[\"\\x\"]", 1, 3, "an unknown escape"),
    ("[\"\\ud800\"]", 1, 3, "half a surrogate pair"),
    ("{} x", 1, 4, "more text after the end of the document"),
    ("[nul]", 1, 2, "a value is expected, found 'n'"),
    ("", 1, 1, "a value is expected, found the end of the file"),
    ("[1.]", 1, 4, "a digit is expected, found ']'"),
    (String(repeating: "[", count: 100_000), 1, 65, "more than 64 levels"),
  ])
  func `malformed JSON is located by line and column`(
    text: String, line: Int, column: Int, finding: String
  ) {
    let problem = #expect(throws: JSONProblem.self) { try JSONValue(parsing: Array(text.utf8)) }
    #expect(problem?.description == "line \(line), column \(column): \(finding)")
  }

  @Test func `strings that are not UTF-8 are refused`() {
    #expect(throws: JSONProblem.self) { try JSONValue(parsing: [0x5B, 0x22, 0xC3, 0x22, 0x5D]) }
  }

  @Test func `JSON is written sorted, numbers keep their text, and reads back`() throws {
    let text =
      "\u{FEFF}{\"b\": [1e-12, -0.5, 12345678901234567890], \"a\": {\"q\\\"\\u0001\": null, \"é\": [true]}, \"c\": {}}"
    let value = try JSONValue(parsing: Array(text.utf8))
    let formatted = value.formatted()
    #expect(
      formatted == """
        {
          "a": {
            "q\\"\\u0001": null,
            "é": [
              true
            ]
          },
          "b": [
            1e-12,
            -0.5,
            12345678901234567890
          ],
          "c": {}
        }

        """)
    #expect(try JSONValue(parsing: Array(formatted.utf8)).formatted() == formatted)
  }
}
