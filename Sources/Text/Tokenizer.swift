/// The rules by which text becomes tokens.
package enum TokenizerKind: String, Sendable, Codable, CaseIterable {
  /// google-research/bert's `tokenization.py` since 2019-03-28.
  case google
  /// Hugging Face's fast tokenizers for BERT.
  case huggingface
  /// One token a Unicode scalar, as the recipes of 2019 had it for Chinese.
  case character
}

/// The tokens of one text, without special tokens around them.
package struct TokenizedText: Sendable, Equatable {
  package var ids: [Int32]
  /// For each token its range in the Unicode scalars of the text.
  package var spans: [Range<Int>]
  /// For each token its range in the UTF-8 bytes of the text.
  package var byteSpans: [Range<Int>]
  /// The number of Unicode scalars of the text.
  package var scalarCount: Int

  package init(ids: [Int32], spans: [Range<Int>], byteSpans: [Range<Int>], scalarCount: Int) {
    precondition(
      ids.count == spans.count && ids.count == byteSpans.count,
      "\(ids.count) ids for \(spans.count) spans and \(byteSpans.count) byte spans")
    self.ids = ids
    self.spans = spans
    self.byteSpans = byteSpans
    self.scalarCount = scalarCount
  }

  /// The number of tokens.
  package var count: Int { ids.count }
}

/// Turns text into ids of a vocabulary, each with the range of the text it stands for.
package struct Tokenizer: Sendable {
  package let vocabulary: Vocabulary
  package let kind: TokenizerKind
  package let lowercase: Bool
  /// What the vocabulary lacks for this kind of tokenizer.
  package let warnings: [String]
  /// What the character tokenizer makes of white space.
  let spaceID: Int32
  /// Empty for the character tokenizer.
  let table: UnicodeTable
  /// The special tokens that are recognised in the text itself.
  let specials: [(bytes: [UInt8], id: Int32)]

  /// A tokenizer over `vocabulary`.
  ///
  /// With `lowercase`, the Google and Hugging Face dialects lower-case and strip accents; the
  /// character tokenizer lower-cases only.
  package init(vocabulary: Vocabulary, kind: TokenizerKind, lowercase: Bool) {
    self.vocabulary = vocabulary
    self.kind = kind
    self.lowercase = lowercase
    table =
      switch kind {
      case .google: .shared(.google, uncased: lowercase)
      case .huggingface: .shared(.huggingface, uncased: lowercase)
      case .character: .empty
      }
    specials =
      kind == .huggingface
      ? [
        (Array("[PAD]".utf8), vocabulary.padding), (Array("[UNK]".utf8), vocabulary.unknown),
        (Array("[CLS]".utf8), vocabulary.classification),
        (Array("[SEP]".utf8), vocabulary.separator), (Array("[MASK]".utf8), vocabulary.mask),
      ] : []
    let space = vocabulary.id(of: "[unused1]")
    spaceID = space ?? vocabulary.unknown
    warnings =
      kind == .character && space == nil
      ? ["\(vocabulary.name): no entry [unused1]: white space becomes [UNK]"] : []
  }

  /// The tokens of `text`; no special tokens are added around them.
  package func tokenize(_ text: String) -> TokenizedText {
    var scanner = TokenizerScanner(self)
    return scanner.tokenize(text)
  }
}
