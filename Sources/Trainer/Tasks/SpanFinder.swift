import Text

/// Finds a piece of text among the tokens of an input.
struct SpanFinder {
  private let text: [Unicode.Scalar]
  private let folded: [Unicode.Scalar]?
  /// Of each token of the sequence its scalars of the text; empty for special tokens.
  private let spans: [Range<Int>]
  private let ids: [Int32]

  /// `spans` and `ids` are the sequence's; with `lowercase`, letters are compared without case.
  init(text: String, spans: [Range<Int>], ids: [Int32], lowercase: Bool) {
    self.text = Array(text.unicodeScalars)
    folded = lowercase ? self.text.map(Self.fold) : nil
    self.spans = spans
    self.ids = ids
  }

  private static func fold(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
    let lower = scalar.properties.lowercaseMapping.unicodeScalars
    return lower.count == 1 ? lower.first ?? scalar : scalar
  }

  /// The first and last token that cover the first occurrence of `part`; nil where it does not occur among the tokens.
  func tokens(covering part: String) -> (first: Int, last: Int)? {
    let scalars = Array(part.unicodeScalars)
    let found =
      Self.first(scalars, in: text)
      ?? folded.flatMap { Self.first(scalars.map(Self.fold), in: $0) }
    guard let start = found else { return nil }
    return tokens(covering: start..<start + scalars.count)
  }

  /// The first and last token of the scalars `range`; nil where one end is in no token.
  func tokens(covering range: Range<Int>) -> (first: Int, last: Int)? {
    guard let first = spans.firstIndex(where: { $0.contains(range.lowerBound) }),
      let last = spans.lastIndex(where: { $0.contains(range.upperBound - 1) }), last >= first
    else { return nil }
    return (first, last)
  }

  /// The first occurrence of `part` as tokens.
  func tokens(matching part: [Int32]) -> (first: Int, last: Int)? {
    guard !part.isEmpty, ids.count >= part.count else { return nil }
    for start in 0...ids.count - part.count
    where ids[start..<start + part.count].elementsEqual(part) {
      return (start, start + part.count - 1)
    }
    return nil
  }

  private static func first(_ part: [Unicode.Scalar], in text: [Unicode.Scalar]) -> Int? {
    guard !part.isEmpty, part.count <= text.count else { return nil }
    return (0...text.count - part.count).first { start in
      text[start] == part[0] && text[start..<start + part.count].elementsEqual(part)
    }
  }

  /// The text from token `first` to token `last`.
  static func text(
    _ scalars: [Unicode.Scalar], _ spans: [Range<Int>], _ first: Int, _ last: Int
  ) -> String {
    guard spans.indices.contains(first), spans.indices.contains(last), first <= last,
      spans[first].lowerBound < spans[last].upperBound
    else { return "" }
    return String(
      String.UnicodeScalarView(scalars[spans[first].lowerBound..<spans[last].upperBound]))
  }
}
