import Collective
import TestSupport
import Testing
import Text

import Trainer

@Suite struct SharedTokenizationTests {
  private func tokenizer() throws -> Tokenizer {
    Tokenizer(
      vocabulary: try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt")), kind: .google,
      lowercase: true)
  }

  @Test(arguments: [1, 2, 3, 5])
  func `ranks that tokenize together get what one gets alone`(ranks: Int) throws {
    let tokenizer = try tokenizer()
    for count in [0, 1, 4, 1000] {
      let texts = (0..<count).map { String(repeating: "héllo, hotel \($0 % 7) 中文 ", count: $0 % 5) }
      let expected = tokenizer.tokenize(texts, threads: 1)
      let results = try onRanks(ranks) { collective in
        try collective.introduce()
        let sent = collective.traffic.sentBytes
        let result = try SharedTokenization(collective).tokenize(
          texts, with: tokenizer, threads: 1)
        return (result, collective.traffic.sentBytes - sent)
      }
      #expect(results.allSatisfy { $0.0 == expected })
      // Each text is worked out once: what others work out comes from them.
      let bytes = expected.reduce(0) { $0 + 8 + 20 * $1.count }
      #expect(results.reduce(0) { $0 + $1.1 } == (ranks - 1) * bytes)
    }
  }

  @Test func `ranks of other hosts tokenize for themselves`() throws {
    let tokenizer = try tokenizer()
    let texts = (0..<90).map { "hotel \($0)" }
    let bytes = try onRanks(4, hosts: ["a", "b", "a", "a"]) { collective in
      try collective.introduce()
      let sent = collective.traffic.sentBytes
      let result = try SharedTokenization(collective).tokenize(texts, with: tokenizer, threads: 1)
      #expect(result == tokenizer.tokenize(texts, threads: 1))
      return collective.traffic.sentBytes - sent
    }
    #expect(bytes[1] == 0 && [0, 2, 3].allSatisfy { bytes[$0] > 0 })
  }

  @Test func `bytes that are no texts are refused`() throws {
    let texts = try tokenizer().tokenize(["hello hotel", "", "a b"], threads: 1)
    let bytes = TokenizedText.encode(texts)
    #expect(TokenizedText.decode(bytes, count: 3) == texts)
    for end in 0..<bytes.count {
      #expect(TokenizedText.decode(Array(bytes[..<end]), count: 3) == nil)
    }
    #expect(TokenizedText.decode(bytes, count: 2) == nil)
    #expect(TokenizedText.decode(bytes + [0, 0, 0, 0], count: 3) == nil)
    for place in stride(from: 3, to: bytes.count, by: 4) {
      // Another sign: no count and no place is negative.
      var changed = bytes
      changed[place] ^= 0x80
      let found = TokenizedText.decode(changed, count: 3)
      #expect(found == nil || found != texts)
    }
  }
}
