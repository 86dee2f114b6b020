extension TokenizerScanner {
  /// One token a scalar: its entry, else `[unused1]` for white space, else `[UNK]`; returns the
  /// number of scalars.
  ///
  /// The rule of the 2019 recipes. White space is space, tab, line feed, carriage return and
  /// category Zs.
  mutating func scanCharacters(_ text: Span<UInt8>) -> Int {
    var byte = 0
    var scalar = 0
    while byte < text.count {
      let (value, width) = decodeScalar(text, byte)
      let span = scalar..<scalar + 1
      let byteSpan = byte..<byte + width
      if tokenizer.lowercase {
        for part in lowercase(value, text, byte, width) { emit(id(of: part), span, byteSpan) }
      } else {
        emit(id(of: value), span, byteSpan)
      }
      scalar += 1
      byte += width
    }
    return scalar
  }

  private mutating func id(of value: UInt32) -> Int32 {
    let none = TokenizerSource(start: 0, end: 0, byteStart: 0, byteEnd: 0)
    append(value, none)
    var state = VocabularyTrie.root
    for i in 0..<wordBytes where state != VocabularyTrie.none {
      state = VocabularyTrie.step(state, word[i], trie.slots.span, trie.shift)
    }
    wordBytes = 0
    wordScalars = 0
    if state != VocabularyTrie.none, trie.ids[Int(state)] >= 0 { return trie.ids[Int(state)] }
    return Self.isSpace(value) ? tokenizer.spaceID : tokenizer.vocabulary.unknown
  }

  /// Lower-cases as Python's `lower()` of the whole text does, final sigma included.
  private func lowercase(
    _ value: UInt32, _ text: Span<UInt8>, _ byte: Int, _ width: Int
  )
    -> [UInt32]
  {
    if value < 0x80 { return [0x41...0x5A ~= value ? value + 0x20 : value] }
    guard let scalar = Unicode.Scalar(value) else { return [] }
    if scalar == "\u{03A3}", isFinalSigma(text, byte, width) { return [0x03C2] }
    return scalar.properties.lowercaseMapping.unicodeScalars.map(\.value)
  }

  /// `UnicodeRules.isFinalSigma`, on the whole text.
  private func isFinalSigma(_ text: Span<UInt8>, _ byte: Int, _ width: Int) -> Bool {
    var before = byte
    var isAfterCased = false
    while before > 0 {
      before -= 1
      // Continuation bytes are 10xxxxxx.
      if text[before] & 0xC0 == 0x80 { continue }
      guard let scalar = Unicode.Scalar(decodeScalar(text, before).value) else { break }
      if scalar.properties.isCaseIgnorable { continue }
      isAfterCased = scalar.properties.isCased
      break
    }
    if !isAfterCased { return false }
    var after = byte + width
    while after < text.count {
      let (value, width) = decodeScalar(text, after)
      guard let scalar = Unicode.Scalar(value) else { break }
      if !scalar.properties.isCaseIgnorable { return !scalar.properties.isCased }
      after += width
    }
    return true
  }

  private static func isSpace(_ value: UInt32) -> Bool {
    switch value {
    case 0x20, 0x09, 0x0A, 0x0D: true
    case 0..<0xA0, 0x3001...0x9FFF: false
    default: Unicode.Scalar(value)?.properties.generalCategory == .spaceSeparator
    }
  }
}
