import Foundation
import TestSupport
import Testing
import Text

@Suite struct TokenizerTests {
  /// The texts of the reference file and random joins of their scalars.
  private static func texts() throws -> [String] {
    let cases = try TokenizerFixture.shared.get().cases.map(\.text)
    let scalars = cases.flatMap(\.unicodeScalars)
    var random = SplitMix(state: 7)
    let mixed = (0..<2000).map { _ in
      var text = String.UnicodeScalarView()
      for _ in 0..<Int.random(in: 0..<24, using: &random) {
        text.append(scalars[Int.random(in: scalars.indices, using: &random)])
      }
      return String(text)
    }
    return cases + mixed
  }

  @Test(arguments: FixtureDialect.allCases)
  func `byte spans are the scalar spans in UTF-8`(_ dialect: FixtureDialect) throws {
    let tokenizer = try dialect.tokenizer()
    for text in try Self.texts() {
      let result = tokenizer.tokenize(text)
      var bytes = [0]
      for scalar in text.unicodeScalars { bytes.append(bytes[bytes.count - 1] + scalar.utf8.count) }
      #expect(result.scalarCount == bytes.count - 1)
      #expect(result.byteSpans == result.spans.map { bytes[$0.lowerBound]..<bytes[$0.upperBound] })
    }
  }

  @Test(arguments: FixtureDialect.allCases)
  func `tokens lie in the order of the text and cover all that is not dropped`(
    _ dialect: FixtureDialect
  ) throws {
    let tokenizer = try dialect.tokenizer()
    for text in try Self.texts() {
      let scalars = Array(text.unicodeScalars)
      let result = tokenizer.tokenize(text)
      var covered = 0
      for (span, next) in zip(
        result.spans, result.spans.dropFirst() + [scalars.count..<scalars.count])
      {
        #expect(span.lowerBound < span.upperBound && span.upperBound <= scalars.count)
        #expect(span.lowerBound <= next.lowerBound && span.upperBound <= next.upperBound)
        covered = max(covered, span.upperBound)
        let gap = scalars[min(covered, next.lowerBound)..<next.lowerBound]
        #expect(gap.allSatisfy(Self.mayVanish), "\(text.debugDescription): \(gap)")
      }
    }
  }

  private static func isSigma(_ scalar: Unicode.Scalar) -> Bool {
    scalar == "\u{3C3}" || scalar == "\u{3C2}"
  }

  /// Whether a scalar can leave no trace: white space, control and format, private use, marks.
  private static func mayVanish(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.value == 0xFFFD { return true }
    switch scalar.properties.generalCategory {
    case .control, .format, .privateUse, .spaceSeparator, .lineSeparator, .paragraphSeparator,
      .nonspacingMark:
      return true
    default: return false
    }
  }

  @Test(arguments: [
    FixtureDialect.googleUncased, .googleCased, .huggingFaceUncased, .huggingFaceCased,
  ])
  func `the text of a word's first token gives that token again`(_ dialect: FixtureDialect) throws {
    let tokenizer = try dialect.tokenizer()
    let vocabulary = tokenizer.vocabulary
    var count = 0
    for text in try Self.texts() {
      let result = tokenizer.tokenize(text)
      let bytes = Array(text.utf8)
      for (index, (id, span)) in zip(result.ids, result.byteSpans).enumerated()
      where id != vocabulary.unknown {
        let entry = vocabulary.tokens[Int(id)]
        // A source scalar that several tokens share cannot give one of them alone, and a final
        // sigma is final only in its word.
        let shared = result.byteSpans.indices.contains {
          $0 != index && result.byteSpans[$0].overlaps(span)
        }
        if shared || entry.utf8.starts(with: "##".utf8)
          || entry.unicodeScalars.contains(where: Self.isSigma)
        {
          continue
        }
        let part = tokenizer.tokenize(String(decoding: bytes[span], as: UTF8.self))
        #expect(part.ids == [id], "\(text.debugDescription) at \(span): \(entry)")
        count += 1
      }
    }
    #expect(count > 5000)
  }

  @Test(arguments: FixtureDialect.allCases, [1, 2, 3, 7])
  func `many texts on several threads give the tokens of one after the other`(
    _ dialect: FixtureDialect, threads: Int
  ) throws {
    let tokenizer = try dialect.tokenizer()
    let texts = try Self.texts()
    #expect(tokenizer.tokenize(texts, threads: threads) == texts.map { tokenizer.tokenize($0) })
    #expect(tokenizer.tokenize([], threads: threads).isEmpty)
    #expect(tokenizer.tokenize(["a"], threads: threads) == [tokenizer.tokenize("a")])
  }

  @Test func `characters are lower-cased as a whole text, with the final sigma`() throws {
    let tokenizer = try TokenizerFixture.tokenizer(.character, lowercase: true)
    let vocabulary = tokenizer.vocabulary
    let result = tokenizer.tokenize("\u{391}\u{3A3}. \u{3A3}A\u{130}")
    let expected = ["\u{3B1}", "\u{3C2}", ".", "[unused1]", "\u{3C3}", "a", "i", "\u{307}"]
    #expect(result.ids == expected.map { vocabulary.id(of: $0) ?? vocabulary.unknown })
    #expect(result.spans == [0..<1, 1..<2, 2..<3, 3..<4, 4..<5, 5..<6, 6..<7, 6..<7])
    // Without lower-casing, a vocabulary without capital letters knows none.
    let small = try Vocabulary(
      bytes: Array("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n".utf8), name: "vocab.txt")
    let cased = Tokenizer(vocabulary: small, kind: .character, lowercase: false)
    #expect(cased.tokenize("aA a").ids == [5, 1, 1, 5])
    #expect(
      cased.warnings == ["vocab.txt: no entry [unused1]: white space becomes [UNK]"])
    #expect(
      Tokenizer(vocabulary: small, kind: .character, lowercase: true).tokenize("aA").ids == [5, 5])
  }

  @Test func `a word of a million scalars is one unknown token and costs no more memory`() throws {
    for dialect in [FixtureDialect.googleUncased, .huggingFaceUncased] {
      let tokenizer = try dialect.tokenizer()
      let text = String(repeating: "a\u{301}", count: 500_000)
      let result = tokenizer.tokenize(text)
      #expect(result.ids == [tokenizer.vocabulary.unknown])
      // Hugging Face's spans end before a mark, Google's behind it.
      #expect(result.spans == [0..<(dialect == .googleUncased ? 1_000_000 : 999_999)])
    }
  }

  @Test(arguments: [FixtureDialect.googleUncased, .huggingFaceUncased])
  func `a text behind a long one takes the memory of its own tokens`(
    _ dialect: FixtureDialect
  ) throws {
    let long = String(repeating: "a ", count: 20_000)
    let results = try dialect.tokenizer().tokenize([long, "a a", long, "a"], threads: 1)
    #expect(results.map(\.count) == [20_000, 2, 20_000, 1])
    for result in results {
      // An array's memory grows to the next size that malloc has.
      let most = result.count + 64
      #expect(result.ids.capacity <= most)
      #expect(result.spans.capacity <= most && result.byteSpans.capacity <= most)
    }
  }

  @Test func `without continuation entries a word is one entry or unknown`() throws {
    let vocabulary = try Vocabulary(
      bytes: Array("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nab\n".utf8), name: "vocab.txt")
    let tokenizer = Tokenizer(vocabulary: vocabulary, kind: .google, lowercase: false)
    #expect(tokenizer.tokenize("ab abc ab").ids == [5, 1, 5])
  }

  @Test func `special tokens of an input have empty spans and stand where they belong`() throws {
    let tokenizer = try TokenizerFixture.tokenizer(.google, lowercase: true)
    let first = tokenizer.tokenize("the dog")
    let second = tokenizer.tokenize("abc")
    let input = try tokenizer.assemble(first, second, limit: 16, truncation: .google)
    #expect(input.ids == [22] + first.ids + [23] + second.ids + [23])
    #expect(input.segments == [0, 0, 0, 0, 1, 1])
    #expect(input.spans == [0..<0, 0..<3, 4..<7, 0..<0, 0..<3, 0..<0])
    #expect(input.byteSpans == input.spans)
    #expect(input.first == 1..<3 && input.second == 4..<5)
    let single = try tokenizer.assemble(first, limit: 16, truncation: .google)
    #expect(single.ids == [22] + first.ids + [23])
    #expect(single.segments == [0, 0, 0, 0])
  }
}

/// A small generator, so that a failure repeats (Steele, Lea and Flood 2014).
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
