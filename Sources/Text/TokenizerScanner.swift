/// Where a scalar of a word came from: its range in the scalars and in the bytes of the text.
struct TokenizerSource {
  var start: Int
  var end: Int
  var byteStart: Int
  var byteEnd: Int
}

/// One thread's pass over texts: cleans, splits and looks up in one go, and reuses its memory from
/// text to text.
///
/// The text is read once, scalar by scalar. What `UnicodeTable` makes of a scalar is appended to
/// the current word as UTF-8, each byte with its source; at a word border the word is cut into
/// pieces. A *run* is what lies between two spaces: if it holds a scalar that only the general
/// algorithm can treat, its tokens are taken back and the run is done again by `scanIrregular`.
struct TokenizerScanner {
  let tokenizer: Tokenizer
  let table: UnicodeTable
  let trie: VocabularyTrie
  /// Longer words are [UNK], counted in scalars after normalisation.
  let wordLimit: Int

  var ids: [Int32] = []
  var spans: [Range<Int>] = []
  var byteSpans: [Range<Int>] = []

  /// The current word: its bytes, the source of each, and the numbers of its bytes and scalars.
  ///
  /// Past the limit only the number of scalars grows.
  var word: [UInt8]
  var sources: [TokenizerSource]
  var wordBytes = 0
  var wordScalars = 0
  var wordEnd = 0
  var wordByteEnd = 0
  /// Whether sources may not ascend, as after marks changed places; a token then ends with its
  /// farthest source.
  var isReordered = false

  /// The beginning of the current run, in scalars, bytes and tokens.
  var runScalar = 0
  var runByte = 0
  var runTokens = 0

  init(_ tokenizer: Tokenizer) {
    self.tokenizer = tokenizer
    table = tokenizer.table
    trie = tokenizer.vocabulary.trie
    wordLimit = tokenizer.kind == .huggingface ? 100 : 200
    word = Array(repeating: 0, count: wordLimit * 4)
    sources = Array(
      repeating: TokenizerSource(start: 0, end: 0, byteStart: 0, byteEnd: 0), count: wordLimit * 4)
  }

  /// The tokens of `text`.
  mutating func tokenize(_ text: String) -> TokenizedText {
    ids.removeAll(keepingCapacity: true)
    spans.removeAll(keepingCapacity: true)
    byteSpans.removeAll(keepingCapacity: true)
    let bytes = text.utf8.span
    let scalarCount = tokenizer.kind == .character ? scanCharacters(bytes) : scan(bytes)
    // Copies of exact size: the scanner keeps its larger buffers. (A slice of a whole array becomes that very array.)
    return TokenizedText(
      ids: ids.withUnsafeBufferPointer(Array.init),
      spans: spans.withUnsafeBufferPointer(Array.init),
      byteSpans: byteSpans.withUnsafeBufferPointer(Array.init), scalarCount: scalarCount)
  }

  /// Tokenizes one text; returns the number of its scalars.
  private mutating func scan(_ text: Span<UInt8>) -> Int {
    var byte = 0
    var scalar = 0
    beginRun(scalar, byte)
    while byte < text.count {
      let (value, width) = decodeScalar(text, byte)
      let entry = table[value]
      let source = TokenizerSource(
        start: scalar, end: scalar + 1, byteStart: byte, byteEnd: byte + width)
      switch UnicodeTable.Kind(rawValue: entry.kind).unsafelyUnwrapped {
      case .letter:
        append(entry.count == 0 ? value : entry.value, source)
      case .space:
        endWord()
        beginRun(scalar + 1, byte + width)
      case .punctuation:
        if value == 0x5B, let special = special(text, byte) {
          endWord()
          let count = special.bytes.count
          emit(special.id, scalar..<scalar + count, byte..<byte + count)
          scalar += count
          byte += count
          beginRun(scalar, byte)
          continue
        }
        endWord()
        append(entry.count == 0 ? value : entry.value, source)
        endWord()
      case .ideograph:
        endWord()
        append(entry.count == 0 ? value : entry.value, source)
        endWord()
        beginRun(scalar + 1, byte + width)
      case .dropped: break
      case .mark: extendLast(to: source)
      case .expansion:
        for i in 0..<entry.count { append(table.expansions[Int(entry.value) + i], source) }
      case .irregular:
        (scalar, byte) = scanIrregular(text)
        continue
      }
      scalar += 1
      byte += width
    }
    endWord()
    return scalar
  }

  /// Starts a run at a place where nothing before it can matter.
  mutating func beginRun(_ scalar: Int, _ byte: Int) {
    (runScalar, runByte, runTokens) = (scalar, byte, ids.count)
  }

  /// Appends a scalar to the current word.
  @inline(__always)
  mutating func append(_ value: UInt32, _ source: TokenizerSource) {
    if wordScalars == 0 { sources[0] = source }
    wordScalars += 1
    wordEnd = wordScalars == 1 ? source.end : max(wordEnd, source.end)
    wordByteEnd = wordScalars == 1 ? source.byteEnd : max(wordByteEnd, source.byteEnd)
    guard wordScalars <= wordLimit else { return }
    if value < 0x80 {
      appendByte(UInt8(truncatingIfNeeded: value), source)
    } else if value < 0x800 {
      appendByte(UInt8(truncatingIfNeeded: 0xC0 | value >> 6), source)
      appendByte(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F), source)
    } else if value < 0x10000 {
      appendByte(UInt8(truncatingIfNeeded: 0xE0 | value >> 12), source)
      appendByte(UInt8(truncatingIfNeeded: 0x80 | value >> 6 & 0x3F), source)
      appendByte(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F), source)
    } else {
      appendByte(UInt8(truncatingIfNeeded: 0xF0 | value >> 18), source)
      appendByte(UInt8(truncatingIfNeeded: 0x80 | value >> 12 & 0x3F), source)
      appendByte(UInt8(truncatingIfNeeded: 0x80 | value >> 6 & 0x3F), source)
      appendByte(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F), source)
    }
  }

  @inline(__always)
  private mutating func appendByte(_ byte: UInt8, _ source: TokenizerSource) {
    word[wordBytes] = byte
    sources[wordBytes] = source
    wordBytes += 1
  }

  /// Cuts the current word into pieces, always the longest entry that fits; without a complete cut
  /// the word is one [UNK].
  mutating func endWord() {
    if wordScalars == 0 { return }
    let tokens = ids.count
    var start = wordScalars > wordLimit ? wordBytes : 0
    while start < wordBytes, let (id, end) = longestPiece(from: start) {
      let first = sources[start]
      var last = sources[end - 1]
      if isReordered {
        last.end = sources[start..<end].lazy.map(\.end).max() ?? last.end
        last.byteEnd = sources[start..<end].lazy.map(\.byteEnd).max() ?? last.byteEnd
      }
      emit(id, first.start..<last.end, first.byteStart..<last.byteEnd)
      start = end
    }
    if start < wordBytes || wordScalars > wordLimit {
      removeTokens(from: tokens)
      emit(
        tokenizer.vocabulary.unknown, sources[0].start..<wordEnd, sources[0].byteStart..<wordByteEnd
      )
    }
    wordBytes = 0
    wordScalars = 0
  }

  /// The longest entry that the current word goes on with at `start`, and where it ends.
  @inline(__always)
  private func longestPiece(from start: Int) -> (id: Int32, end: Int)? {
    let slots = trie.slots.span
    let entries = trie.ids.span
    var state = start == 0 ? VocabularyTrie.root : trie.continuation
    var end = start
    var best: Int32 = -1
    var bestEnd = start
    while state != VocabularyTrie.none, end < wordBytes {
      state = VocabularyTrie.step(state, word[end], slots, trie.shift)
      end += 1
      if state != VocabularyTrie.none, entries[Int(state)] >= 0 {
        best = entries[Int(state)]
        bestEnd = end
      }
    }
    return best < 0 ? nil : (best, bestEnd)
  }

  /// Counts an accent that was removed to what stands before it in the run, which Hugging Face does
  /// not do.
  private mutating func extendLast(to source: TokenizerSource) {
    if tokenizer.kind != .google { return }
    if wordScalars > 0 {
      wordEnd = source.end
      wordByteEnd = source.byteEnd
      if wordScalars <= wordLimit {
        sources[wordBytes - 1].end = source.end
        sources[wordBytes - 1].byteEnd = source.byteEnd
      }
    } else if ids.count > runTokens {
      let last = ids.count - 1
      spans[last] = spans[last].lowerBound..<source.end
      byteSpans[last] = byteSpans[last].lowerBound..<source.byteEnd
    }
  }

  /// Adds a token.
  @inline(__always)
  mutating func emit(_ id: Int32, _ span: Range<Int>, _ byteSpan: Range<Int>) {
    ids.append(id)
    spans.append(span)
    byteSpans.append(byteSpan)
  }

  mutating func removeTokens(from count: Int) {
    ids.removeSubrange(count...)
    spans.removeSubrange(count...)
    byteSpans.removeSubrange(count...)
  }

  /// The special token written out in the text at `byte`, which the Hugging Face dialect takes for
  /// the special token itself.
  func special(_ text: Span<UInt8>, _ byte: Int) -> (bytes: [UInt8], id: Int32)? {
    for special in tokenizer.specials where special.bytes.count <= text.count - byte {
      if special.bytes.indices.allSatisfy({ special.bytes[$0] == text[byte + $0] }) {
        return special
      }
    }
    return nil
  }
}

/// The scalar that starts at `byte` of valid UTF-8, and its number of bytes.
@inline(__always)
func decodeScalar(_ text: Span<UInt8>, _ byte: Int) -> (value: UInt32, width: Int) {
  let lead = UInt32(text[byte])
  if lead < 0x80 { return (lead, 1) }
  let second = UInt32(text[byte + 1] & 0x3F)
  if lead < 0xE0 { return ((lead & 0x1F) << 6 | second, 2) }
  let third = UInt32(text[byte + 2] & 0x3F)
  if lead < 0xF0 { return ((lead & 0x0F) << 12 | second << 6 | third, 3) }
  let fourth = UInt32(text[byte + 3] & 0x3F)
  return ((lead & 0x07) << 18 | second << 12 | third << 6 | fourth, 4)
}
