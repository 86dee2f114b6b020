import Foundation
import TestSupport
import Testing
import Text

@Suite struct VocabularyTests {
  private static let special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"

  private func error(_ bytes: [UInt8]) -> VocabularyError? {
    #expect(throws: VocabularyError.self) { _ = try Vocabulary(bytes: bytes, name: "vocab.txt") }
  }

  @Test func `lines become entries as in the reference`() throws {
    for c in try TokenizerFixture.shared.get().vocab_loading.cases {
      let hex = Array(c.hex)
      let bytes = stride(from: 0, to: hex.count, by: 2).compactMap {
        UInt8(String(hex[$0...$0 + 1]), radix: 16)
      }
      if let expected = c.error {
        let error = #expect(throws: VocabularyError.self) {
          try VocabularyLines(bytes: bytes, name: "vocab.txt")
        }
        #expect("line \(error?.line ?? 0), byte \(error?.byte ?? -1)" == expected)
        continue
      }
      let lines = try VocabularyLines(bytes: bytes, name: "vocab.txt")
      let expected = try #require(c.lines)
      #expect(lines.tokens.map { Array($0.utf8) } == expected.map { Array($0.utf8) }, "\(c.name)")
      for token in expected {
        let first = expected.firstIndex { Array($0.utf8) == Array(token.utf8) }
        #expect(lines.id(of: token).map(Int.init) == first, "\(c.name)")
      }
    }
  }

  @Test func `the reference vocabulary has its entries at their lines, U+2028 too`() throws {
    let vocabulary = try TokenizerFixture.vocabulary.get()
    #expect(vocabulary.count == 1059)
    #expect(vocabulary.warnings.isEmpty)
    #expect(vocabulary.id(of: "\u{2028}") == 204)
    #expect(vocabulary.id(of: "##\u{2028}") == 865)
    #expect(vocabulary.id(of: "no such entry") == nil)
    let special = [
      vocabulary.padding, vocabulary.unknown, vocabulary.classification, vocabulary.separator,
      vocabulary.mask,
    ]
    #expect(special == [0, 21, 22, 23, 24])
    for (id, token) in vocabulary.tokens.enumerated() {
      #expect(vocabulary.id(of: token) == Int32(id))
    }
  }

  @Test func `canonically equal entries are different entries`() throws {
    let bytes = Array((Self.special + "\u{E9}\ne\u{301}\n\u{212B}\n\u{C5}\n").utf8)
    let vocabulary = try Vocabulary(bytes: bytes, name: "vocab.txt")
    #expect(vocabulary.warnings.isEmpty)
    #expect(["\u{E9}", "e\u{301}", "\u{212B}", "\u{C5}"].map(vocabulary.id) == [5, 6, 7, 8])
  }

  @Test func `duplicates and blank lines keep their ids and are told with both lines`() throws {
    let bytes = Array((Self.special + "a\n\na\nb\n\na\n").utf8)
    let vocabulary = try Vocabulary(bytes: bytes, name: "vocab.txt")
    #expect(vocabulary.id(of: "a") == 5)
    #expect(vocabulary.id(of: "b") == 8)
    #expect(
      vocabulary.warnings == [
        "vocab.txt:7: a blank line; it keeps id 6",
        "vocab.txt:8: \"a\" is on line 6 already; text gets id 5, id 7 is never used",
        "vocab.txt:10: a blank line; it keeps id 9",
        "vocab.txt:11: \"a\" is on line 6 already; text gets id 5, id 10 is never used",
      ])
  }

  @Test func `missing special entries are named`() {
    #expect(
      error(Array("[PAD]\n[UNK]\na\n".utf8))?.description
        == "vocab.txt: the 3 entries lack [CLS], [SEP], [MASK]: give the vocab.txt that belongs to "
        + "the pretrained model")
  }

  @Test func `an invalid byte is told by line and byte`() {
    var bytes = Array((Self.special + "ab").utf8)
    bytes += [0xC3, 0x28, 0x0A]
    #expect(
      error(bytes)?.description
        == "vocab.txt:6: byte 2: byte 0xC3 is not valid UTF-8: save the vocabulary as UTF-8")
    // UTF-16, an unpaired surrogate, an overlong form, a scalar past the end.
    for start: [UInt8] in [
      [0xFF, 0xFE], [0xED, 0xA0, 0x80], [0xC0, 0x80], [0xF4, 0x90, 0x80, 0x80],
    ] {
      #expect(error(start + [0x0A])?.line == 1)
      #expect(error(start + [0x0A])?.byte == 0)
    }
    // A scalar that the end of the file cuts off.
    #expect(error(Array("a\n\u{4E2D}".utf8).dropLast())?.line == 2)
  }

  @Test(arguments: [[], [0xEF, 0xBB, 0xBF]] as [[UInt8]])
  func `a file without entries is told`(_ bytes: [UInt8]) {
    #expect(
      error(bytes)?.description
        == "vocab.txt: the vocabulary is empty: give a vocab.txt with one entry a line")
  }

  @Test func `lines and files too long for a vocabulary are refused`() {
    let line = Array(repeating: UInt8(ascii: "x"), count: 100_000)
    #expect(
      error(Array("[PAD]\n".utf8) + line)?.description
        == "vocab.txt:2: byte 4096: an entry of 100000 bytes, where 4096 are the most: give a "
        + "vocab.txt with one entry a line")
    #expect(
      error(Array(repeating: 0x0A, count: 16_000_001))?.description
        == "vocab.txt: 16000001 bytes, where 16000000 are the most: give a vocab.txt with one entry "
        + "a line")
  }

  @Test func `any truncation or flipped bit of a file loads or is refused`() throws {
    let whole = [UInt8](try Fixtures.data("tokenizers_vocab.txt"))
    for length in stride(from: 0, to: whole.count, by: 197) {
      _ = try? Vocabulary(bytes: Array(whole[..<length]), name: "vocab.txt")
    }
    for place in stride(from: 0, to: whole.count, by: 131) {
      var bytes = whole
      bytes[place] ^= 1 << UInt8(place % 8)
      _ = try? Vocabulary(bytes: bytes, name: "vocab.txt")
    }
  }

  @Test func `fewer entries than word embeddings are a warning, more an error`() throws {
    let vocabulary = try Vocabulary(bytes: Array(Self.special.utf8), name: "vocab.txt")
    #expect(try vocabulary.check(modelVocabularySize: 5) == [])
    #expect(
      try vocabulary.check(modelVocabularySize: 8)
        == ["vocab.txt: 5 entries for 8 word embeddings: the last 3 are never used"])
    let error = #expect(throws: VocabularyError.self) {
      try vocabulary.check(modelVocabularySize: 4)
    }
    #expect(
      error?.description
        == "vocab.txt:5: 5 entries, but the model has 4 word embeddings: give the vocab.txt that "
        + "belongs to the pretrained model")
  }

  @Test func `a file is read from disk, and a missing one is an error`() throws {
    let folder = try TemporaryFolder()
    let url = folder.url.appending(path: "vocab.txt")
    #expect(throws: (any Error).self) { try Vocabulary(contentsOf: url) }
    try Data(Self.special.utf8).write(to: url)
    #expect(try Vocabulary(contentsOf: url).tokens.count == 5)
  }
}
