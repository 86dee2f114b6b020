/// What BERT's cleaning and splitting do with a scalar, before any lower-casing.
enum UnicodeClass {
  /// U+0000, U+FFFD, control and format characters: removed.
  case dropped
  /// Ends a word.
  case space
  /// A word of its own, with a word border on both sides that punctuation does not have: see
  /// `UnicodeTable.Kind`.
  case ideograph
  /// A word of its own.
  case punctuation
  /// A non-spacing mark (Mn): removed when accents are stripped.
  case mark
  case other
}

/// The classification of scalars, which differs between the two dialects.
enum UnicodeRules: Sendable {
  /// google-research/bert, `tokenization.py` since 2019-03-28, on Swift's Unicode tables.
  case google
  /// Hugging Face's fast tokenizers, whose tables of categories are those of Unicode 8.
  case huggingface

  func classify(_ scalar: Unicode.Scalar) -> UnicodeClass {
    let value = scalar.value
    if value == 0 || value == 0xFFFD { return .dropped }
    if scalar == " " || scalar == "\t" || scalar == "\n" || scalar == "\r" { return .space }
    if isIdeograph(value) { return .ideograph }
    if value < 0x80 { return classifyASCII(value) }
    let category = scalar.properties.generalCategory
    if self == .huggingface, let known = classifyByAge(scalar, category) { return known }
    switch category {
    case .control, .format: return .dropped
    case .privateUse: return self == .huggingface ? .dropped : .other
    // Neither calls U+2028 and U+2029 whitespace when cleaning, but both then split words at them.
    case .spaceSeparator, .lineSeparator, .paragraphSeparator: return .space
    case .nonspacingMark: return .mark
    default: return isPunctuation(category) ? .punctuation : .other
    }
  }

  /// Whether a scalar that normalisation made is a word of its own.
  func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    // Without the ideographs and spaces, which normalisation does not make.
    classify(scalar) == .punctuation
  }

  /// The scalar's canonical decomposition, as far as the dialect's tables know it.
  func decompose(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
    isTooNew(scalar) ? [scalar] : UnicodeDecomposition.scalars(of: scalar)
  }

  /// Whether the order of the scalar among its neighbours may have to change.
  func isReorderable(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.canonicalCombiningClass != .notReordered && !isTooNew(scalar)
  }

  /// The Rust library normalises by the tables of Unicode 9.
  private func isTooNew(_ scalar: Unicode.Scalar) -> Bool {
    guard self == .huggingface, let age = scalar.properties.age else { return false }
    return age.major > 9
  }

  /// Lower-cases a scalar and strips its accents: Google lower-cases first, Hugging Face last.
  func normalize(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
    switch self {
    case .google:
      scalar.properties.lowercaseMapping.unicodeScalars.flatMap(decompose)
        .filter { classify($0) != .mark }
    case .huggingface:
      decompose(scalar).filter { classify($0) != .mark }
        .flatMap(\.properties.lowercaseMapping.unicodeScalars)
    }
  }

  /// All printable ASCII but letters and digits counts as punctuation, `$` and `^` too.
  private func classifyASCII(_ value: UInt32) -> UnicodeClass {
    switch UInt8(value) {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: .punctuation
    case 0x00...0x1F, 0x7F: .dropped
    default: .other
    }
  }

  private func isPunctuation(_ category: Unicode.GeneralCategory) -> Bool {
    switch category {
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
      .initialPunctuation, .finalPunctuation, .otherPunctuation:
      true
    default: false
    }
  }

  /// The answers where Unicode 8 and today's tables differ; nil elsewhere.
  private func classifyByAge(
    _ scalar: Unicode.Scalar, _ category: Unicode.GeneralCategory
  )
    -> UnicodeClass?
  {
    switch scalar.value {
    case 0x166D, 0x111C9: return .punctuation  // Po then; So and Mn now
    case 0x1734, 0x1171E: return .mark  // Mn then; Mc now
    case 0x1885, 0x1886, 0xA9BD: return .other  // Lo, Lo and Mc then; Mn now
    default: break
    }
    if category == .privateUse { return nil }
    guard let age = scalar.properties.age else { return .other }
    return age.major > 8 ? .other : nil
  }

  /// The blocks of Chinese characters; Japanese kana and Korean syllables are not among them.
  private func isIdeograph(_ value: UInt32) -> Bool {
    switch value {
    case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
      0xF900...0xFAFF, 0x2F800...0x2FA1F:
      true
    // The Rust library starts this block 0x100 later than Google's code.
    case 0x2B820...0x2CEAF: self == .google || value >= 0x2B920
    default: false
    }
  }
}
