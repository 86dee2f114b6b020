import Collective
import Text

/// Texts that the ranks of one host tokenize together: each takes a part of every block of texts, and gives it to the others.
///
/// All ranks of the run call it with the same texts, which they have agreed on before; what they get does not depend on their number.
package struct SharedTokenization: Sendable {
  /// Texts of a block: what is encoded at a time stays small whatever the file.
  static let blockSize = 1 << 15

  private let collective: CollectiveEngine
  private let neighbours: [Int]
  /// This rank's among them.
  private let place: Int

  /// Ranks must have been introduced.
  package init(_ collective: CollectiveEngine) {
    self.collective = collective
    neighbours = collective.ranksOfThisHost
    guard let place = neighbours.firstIndex(of: collective.rank) else {
      preconditionFailure("rank \(collective.rank) is not on its own host: \(neighbours)")
    }
    self.place = place
  }

  /// The tokens of each of `texts`, in order.
  ///
  /// Collective. Each rank of a host sends (ranks of the host − 1)·20 bytes for each token of its part.
  /// - Throws: `CommunicationError`.
  package func tokenize(
    _ texts: [String], with tokenizer: Tokenizer, threads: Int
  ) throws(CommunicationError) -> [TokenizedText] {
    var results: [TokenizedText] = []
    results.reserveCapacity(texts.count)
    let parts = neighbours.count
    for start in stride(from: 0, to: texts.count, by: Self.blockSize) {
      let count = min(Self.blockSize, texts.count - start)
      func part(_ number: Int) -> Range<Int> {
        start + number * count / parts..<start + (number + 1) * count / parts
      }
      let own = tokenizer.tokenize(Array(texts[part(place)]), threads: threads)
      let blobs = try collective.allGather(TokenizedText.encode(own), among: neighbours).wait()
      for (number, blob) in blobs.enumerated() {
        guard number != place else {
          results += own
          continue
        }
        guard let texts = TokenizedText.decode(blob, count: part(number).count) else {
          throw .disagreement(
            item: "tokens of \(part(number).count) texts",
            values: [
              "\(blob.count) bytes that are none on \(collective.name(of: neighbours[number]))"
            ])
        }
        results += texts
      }
    }
    return results
  }
}

extension TokenizedText {
  /// For each text the numbers of its tokens and scalars, then for each token its id and both spans, in 4 bytes each.
  package static func encode(_ texts: [TokenizedText]) -> [UInt8] {
    var words: [Int32] = []
    words.reserveCapacity(texts.reduce(0) { $0 + 2 + 5 * $1.count })
    for text in texts {
      words += [Int32(text.count), Int32(text.scalarCount)]
      words += text.ids
      for spans in [text.spans, text.byteSpans] {
        for span in spans { words += [Int32(span.lowerBound), Int32(span.upperBound)] }
      }
    }
    return words.withUnsafeBytes { Array($0) }
  }

  /// `count` texts; nil where `bytes` are something else.
  package static func decode(_ bytes: [UInt8], count: Int) -> [TokenizedText]? {
    guard bytes.count.isMultiple(of: 4) else { return nil }
    let words = bytes.withUnsafeBytes { memory in
      (0..<memory.count / 4).map {
        Int(memory.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
      }
    }
    var texts: [TokenizedText] = []
    texts.reserveCapacity(count)
    var next = 0
    for _ in 0..<count {
      guard next + 2 <= words.count else { return nil }
      let (tokens, scalars) = (words[next], words[next + 1])
      next += 2
      guard tokens >= 0, scalars >= 0, tokens <= (words.count - next) / 5 else { return nil }
      let ids = words[next..<next + tokens].map { Int32($0) }
      func spans(from start: Int) -> [Range<Int>]? {
        var spans: [Range<Int>] = []
        spans.reserveCapacity(tokens)
        for place in stride(from: start, to: start + 2 * tokens, by: 2) {
          guard words[place] >= 0, words[place] <= words[place + 1] else { return nil }
          spans.append(words[place]..<words[place + 1])
        }
        return spans
      }
      guard let byScalar = spans(from: next + tokens), let byByte = spans(from: next + 3 * tokens)
      else { return nil }
      texts.append(
        TokenizedText(ids: ids, spans: byScalar, byteSpans: byByte, scalarCount: scalars))
      next += 5 * tokens
    }
    return next == words.count ? texts : nil
  }
}
