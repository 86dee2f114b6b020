import TestSupport
import Testing
import Text

/// Every case of the reference file, in every dialect.
@Suite struct TokenizerReferenceTests {
  @Test(arguments: FixtureDialect.allCases)
  func `ids and spans are those of the reference for every text`(_ dialect: FixtureDialect) throws {
    let tokenizer = try dialect.tokenizer()
    let cases = try TokenizerFixture.shared.get().cases
    #expect(cases.count == 149)
    for c in cases {
      let expected = dialect.expected(c)
      let result = tokenizer.tokenize(c.text)
      let scalars = Array(c.text.unicodeScalars)
      #expect(result.ids == expected.ids, "\(c.tag): \(c.text.debugDescription)")
      let spans = expected.spans ?? scalars.indices.map { [$0, $0 + 1] }
      #expect(result.spanPairs == spans, "\(c.tag): \(c.text.debugDescription)")
      #expect(result.scalarCount == scalars.count)
    }
  }

  @Test func `entries are those of the reference by their exact bytes`() throws {
    let vocabulary = try TokenizerFixture.vocabulary.get()
    for c in try TokenizerFixture.shared.get().cases {
      for dialect in FixtureDialect.allCases {
        let expected = dialect.expected(c)
        for (token, id) in zip(expected.tokens ?? [], expected.ids) {
          #expect(Array(vocabulary.tokens[Int(id)].utf8) == Array(token.utf8))
          #expect(vocabulary.id(of: token) == id)
        }
      }
    }
  }

  @Test func `pairs have the ids, segments and spans of the reference`() throws {
    for pair in try TokenizerFixture.shared.get().pairs {
      let dialects: [(FixtureDialect, TokenizerFixture.Pair.Input)] = [
        (.googleUncased, pair.google_uncased), (.character, pair.our),
        (.huggingFaceUncased, pair.hf_uncased),
      ]
      for (dialect, expected) in dialects {
        let tokenizer = try dialect.tokenizer()
        let input = try tokenizer.assemble(
          tokenizer.tokenize(pair.a), tokenizer.tokenize(pair.b), limit: 512, truncation: .error)
        #expect(input.ids == expected.ids, "\(dialect) \(pair.a) | \(pair.b)")
        #expect(input.segments == expected.segments)
        if let spans = expected.spans {
          #expect(input.spans.map { [$0.lowerBound, $0.upperBound] } == spans)
        }
      }
    }
  }
}
