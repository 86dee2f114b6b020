import Foundation
import TestSupport
import Text

/// `Tests/Fixtures/tokenizers.json`, decoded once.
struct TokenizerFixture: Decodable, Sendable {
  struct Tokens: Decodable, Sendable {
    let tokens: [String]?
    let ids: [Int32]
    let spans: [[Int]]?
  }

  struct Case: Decodable, Sendable {
    let tag, text: String
    let google_uncased, google_cased, hf_uncased, hf_cased, our: Tokens
  }

  struct Pair: Decodable, Sendable {
    struct Input: Decodable, Sendable {
      let ids, segments: [Int32]
      let spans: [[Int]]?
    }

    let a, b: String
    let google_uncased, our, hf_uncased: Input
  }

  /// Kept tokens, or the name of the exception that the library raised instead.
  enum Kept: Decodable, Sendable, Equatable {
    case lengths([Int])
    case refused

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      self = (try? container.decode([Int].self)).map(Kept.lengths) ?? .refused
    }
  }

  struct Truncations: Decodable, Sendable {
    struct Case: Decodable, Sendable {
      let a, b, budget: Int
      let google, bert4keras: [Int]
      let hf_longest_first: Kept
      let only_first, only_second, hf_only_first, hf_only_second: [Int]?
      let error: Bool
    }

    let cases: [Case]
  }

  struct Windows: Decodable, Sendable {
    struct Single: Decodable, Sendable {
      let tokens, max_length, stride: Int
      let windows: [[Int]]
    }

    struct Pair: Decodable, Sendable {
      let question, context, max_length, stride: Int
      let windows: [[Int]]
    }

    let single: [Single]
    let only_second: [Pair]
  }

  struct Documents: Decodable, Sendable {
    struct Case: Decodable, Sendable {
      let tokens, room, doc_stride: Int
      let spans: [[Int]]
      let best_span_of_token: [Int]
    }

    let cases: [Case]
  }

  struct HeadTails: Decodable, Sendable {
    struct Case: Decodable, Sendable {
      let tokens, room, head: Int
      let kept: [Int]
    }

    let cases: [Case]
  }

  struct Vocabularies: Decodable, Sendable {
    struct Case: Decodable, Sendable {
      let name, hex: String
      let lines: [String]?
      let error: String?
    }

    let cases: [Case]
  }

  let cases: [Case]
  let pairs: [Pair]
  let truncation: Truncations
  let windows: Windows
  let doc_spans: Documents
  let head_tail: HeadTails
  let vocab_loading: Vocabularies

  static let shared = Result { try Fixtures.json("tokenizers.json", as: TokenizerFixture.self) }
  static let vocabulary = Result {
    try Vocabulary(contentsOf: Fixtures.url("tokenizers_vocab.txt"))
  }

  static func tokenizer(_ kind: TokenizerKind, lowercase: Bool) throws -> Tokenizer {
    Tokenizer(vocabulary: try vocabulary.get(), kind: kind, lowercase: lowercase)
  }
}

/// The dialects of the fixture.
enum FixtureDialect: String, CaseIterable, Sendable {
  case googleUncased, googleCased, huggingFaceUncased, huggingFaceCased, character

  func tokenizer() throws -> Tokenizer {
    switch self {
    case .googleUncased: try TokenizerFixture.tokenizer(.google, lowercase: true)
    case .googleCased: try TokenizerFixture.tokenizer(.google, lowercase: false)
    case .huggingFaceUncased: try TokenizerFixture.tokenizer(.huggingface, lowercase: true)
    case .huggingFaceCased: try TokenizerFixture.tokenizer(.huggingface, lowercase: false)
    case .character: try TokenizerFixture.tokenizer(.character, lowercase: false)
    }
  }

  func expected(_ c: TokenizerFixture.Case) -> TokenizerFixture.Tokens {
    switch self {
    case .googleUncased: c.google_uncased
    case .googleCased: c.google_cased
    case .huggingFaceUncased: c.hf_uncased
    case .huggingFaceCased: c.hf_cased
    case .character: c.our
    }
  }
}

extension TokenizedText {
  var spanPairs: [[Int]] { spans.map { [$0.lowerBound, $0.upperBound] } }
}
