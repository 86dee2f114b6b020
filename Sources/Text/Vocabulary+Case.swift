extension Vocabulary {
  /// Whether an entry other than the special ones in brackets has a capital letter A to Z.
  ///
  /// An uncased vocabulary has none, because its texts were lower-cased before it was learned.
  package var hasCapitals: Bool {
    tokens.contains { token in
      token.utf8.first != UInt8(ascii: "[") && token.utf8.contains { (0x41...0x5A).contains($0) }
    }
  }

  /// The sentence that says what was concluded from `hasCapitals` where nothing else says it.
  package var caseNote: String {
    hasCapitals
      ? "cased, because the vocabulary has entries with capital letters"
      : "uncased, because the vocabulary has no entry with a capital letter"
  }
}
