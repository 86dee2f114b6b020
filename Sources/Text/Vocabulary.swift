import Foundation

/// The entries of a `vocab.txt`, one a line, numbered from 0.
///
/// Entries are looked up by their UTF-8 bytes and not as `String`s: Swift holds `é` and `e` +
/// U+0301 equal, a vocabulary does not.
package struct Vocabulary: Sendable {
  /// The entries by id.
  ///
  /// Duplicates and blank lines keep their place, so that ids are line numbers.
  package let tokens: [String]
  /// What was found odd but usable: duplicates and blank lines, each with its line numbers.
  package let warnings: [String]
  /// The file, or what else the bytes came from; errors name it.
  package let name: String
  /// Ids of `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]` and `[MASK]`.
  package let padding, unknown, classification, separator, mask: Int32
  let trie: VocabularyTrie

  /// Reads `url`.
  ///
  /// - Throws: `VocabularyError`, or Foundation's error if the file cannot be read.
  package init(contentsOf url: URL) throws {
    try self.init(bytes: [UInt8](Data(contentsOf: url)), name: url.path)
  }

  /// Reads the bytes of a vocabulary file and requires the five special entries.
  ///
  /// - Throws: `VocabularyError`.
  package init(bytes: [UInt8], name: String) throws {
    let lines = try VocabularyLines(bytes: bytes, name: name)
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    let ids = special.map { lines.trie.id(of: $0) }
    let missing = zip(special, ids).filter { $1 == nil }.map(\.0)
    guard missing.isEmpty else {
      throw VocabularyError(
        file: name, line: nil, byte: nil,
        rule: "the \(lines.tokens.count) entries lack \(missing.joined(separator: ", "))",
        remedy: "give the vocab.txt that belongs to the pretrained model")
    }
    self.name = name
    tokens = lines.tokens
    warnings = lines.warnings
    trie = lines.trie
    let found = ids.compactMap(\.self)
    (padding, unknown, classification) = (found[0], found[1], found[2])
    (separator, mask) = (found[3], found[4])
  }

  /// The number of entries, duplicates and blank lines included.
  package var count: Int { tokens.count }

  /// The id of the first entry with exactly these UTF-8 bytes, or nil.
  package func id(of token: String) -> Int32? { trie.id(of: token) }

  /// Compares the number of entries with the rows of the model's word table.
  ///
  /// - Returns: A warning if rows are left over, as in models padded for speed; otherwise nothing.
  /// - Throws: `VocabularyError` if there are more entries than rows.
  package func check(modelVocabularySize: Int) throws -> [String] {
    guard count <= modelVocabularySize else {
      throw VocabularyError(
        file: name, line: modelVocabularySize + 1, byte: nil,
        rule: "\(count) entries, but the model has \(modelVocabularySize) word embeddings",
        remedy: "give the vocab.txt that belongs to the pretrained model")
    }
    if count == modelVocabularySize { return [] }
    return [
      "\(name): \(count) entries for \(modelVocabularySize) word embeddings: "
        + "the last \(modelVocabularySize - count) are never used"
    ]
  }
}

/// The lines of a vocabulary file, before it is known whether they hold the special entries.
///
/// Lines end at byte 0x0A and nowhere else: the official Chinese vocabulary has U+2028 as an entry,
/// which other splitters take for a line end, and then shift all later ids. One 0x0D before the
/// line end is dropped, so is a byte order mark before the first line; all other bytes, spaces too,
/// belong to the entry. A last line needs no line end.
package struct VocabularyLines: Sendable {
  package let tokens: [String]
  package let warnings: [String]
  let trie: VocabularyTrie

  /// Far above any real entry; a file of other contents often has lines above it.
  package static let longestEntry = 4096
  /// Twenty times the largest vocabulary in use; what is larger is something else.
  package static let largestFile = 16_000_000

  /// Splits and decodes `bytes`.
  ///
  /// - Throws: `VocabularyError` at the first line that is not UTF-8 or is too long, or if the
  ///   file is empty or too large.
  package init(bytes: [UInt8], name: String) throws {
    guard bytes.count <= Self.largestFile else {
      throw VocabularyError(
        file: name, line: nil, byte: nil,
        rule: "\(bytes.count) bytes, where \(Self.largestFile) are the most",
        remedy: "give a vocab.txt with one entry a line")
    }
    var tokens: [String] = []
    var warnings: [String] = []
    var trie = VocabularyTrie(expectedBytes: bytes.count)
    var firstLine: [Int32: Int] = [:]
    var start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    while start < bytes.count {
      let lineEnd = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
      let end = lineEnd > start && bytes[lineEnd - 1] == 0x0D ? lineEnd - 1 : lineEnd
      let line = tokens.count + 1
      guard end - start <= Self.longestEntry else {
        throw VocabularyError(
          file: name, line: line, byte: Self.longestEntry,
          rule: "an entry of \(end - start) bytes, where \(Self.longestEntry) are the most",
          remedy: "give a vocab.txt with one entry a line")
      }
      let token = try Self.decode(bytes[start..<end], name: name, line: line)
      if token.isEmpty {
        warnings.append("\(name):\(line): a blank line; it keeps id \(line - 1)")
      }
      let id = Int32(tokens.count)
      let first = trie.insert(bytes[start..<end], id: id)
      if first != id, !token.isEmpty {
        warnings.append(
          "\(name):\(line): \"\(token)\" is on line \(firstLine[first] ?? Int(first) + 1) already; "
            + "text gets id \(first), id \(id) is never used")
      }
      firstLine[first] = firstLine[first] ?? line
      tokens.append(token)
      start = lineEnd + 1
    }
    guard !tokens.isEmpty else {
      throw VocabularyError(
        file: name, line: nil, byte: nil, rule: "the vocabulary is empty",
        remedy: "give a vocab.txt with one entry a line")
    }
    self.tokens = tokens
    self.warnings = warnings
    self.trie = trie
  }

  /// The id of the first entry with exactly these UTF-8 bytes, or nil.
  package func id(of token: String) -> Int32? { trie.id(of: token) }

  private static func decode(
    _ line: ArraySlice<UInt8>, name: String, line number: Int
  ) throws
    -> String
  {
    do {
      return String(copying: try UTF8Span(validating: line.span))
    } catch {
      let byte = error.byteOffsets.lowerBound
      let value = String(line[line.startIndex + byte], radix: 16, uppercase: true)
      throw VocabularyError(
        file: name, line: number, byte: byte, rule: "byte 0x\(value) is not valid UTF-8",
        remedy: "save the vocabulary as UTF-8")
    }
  }
}

/// Why a file cannot serve as a vocabulary.
package struct VocabularyError: Error, Equatable, CustomStringConvertible {
  package let file: String
  /// Counted from 1; nil if the whole file is meant.
  package let line: Int?
  /// Counted from 0 within the line.
  package let byte: Int?
  package let rule: String
  package let remedy: String

  package var description: String {
    var place = file
    if let line { place += ":\(line)" }
    if let byte { place += ": byte \(byte)" }
    return "\(place): \(rule): \(remedy)"
  }
}
