/// Works out the entries of a `UnicodeTable`.
struct UnicodeTableBuilder {
  let rules: UnicodeRules
  let uncased: Bool
  private(set) var expansions: [UInt32] = []

  init(rules: UnicodeRules, uncased: Bool) {
    self.rules = rules
    self.uncased = uncased
  }

  /// The entries of the scalars `page << 8 ..< (page + 1) << 8`.
  mutating func page(_ page: UInt32) -> [UnicodeTable.Entry] {
    // Planes 4 to 13 are unassigned.
    if 0x400..<0xE00 ~= page { return Array(repeating: .init(.letter), count: 256) }
    return (0..<256).map { entry(page << 8 | $0) }
  }

  private mutating func entry(_ value: UInt32) -> UnicodeTable.Entry {
    // Surrogates are no scalars and never looked up.
    guard let scalar = Unicode.Scalar(value) else { return .init(.dropped) }
    let type = rules.classify(scalar)
    switch type {
    case .dropped: return .init(.dropped)
    case .space: return .init(.space)
    case .ideograph, .punctuation, .mark, .other: break
    }
    if uncased, type == .mark || mayChange(scalar) { return uncasedEntry(scalar, type) }
    return switch type {
    case .ideograph: .init(.ideograph)
    case .punctuation: .init(.punctuation)
    default: .init(.letter)
    }
  }

  private mutating func uncasedEntry(
    _ scalar: Unicode.Scalar, _ type: UnicodeClass
  )
    -> UnicodeTable.Entry
  {
    if scalar == "\u{03A3}", rules == .google { return .init(.irregular) }
    let parts = rules.normalize(scalar)
    guard let first = parts.first else { return .init(.mark) }
    if parts.contains(where: rules.isReorderable) { return .init(.irregular) }
    if rules == .google, beginsWithMark(scalar) { return .init(.irregular) }
    if parts.count == 1 {
      let kind: UnicodeTable.Kind =
        type == .ideograph
        ? .ideograph : rules.classify(first) == .punctuation ? .punctuation : .letter
      return first == scalar ? .init(kind) : .init(kind, first.value, count: 1)
    }
    if parts.contains(where: { rules.classify($0) == .punctuation }) { return .init(.irregular) }
    let start = UInt32(expansions.count)
    expansions += parts.map(\.value)
    return .init(.expansion, start, count: parts.count)
  }

  /// Whether the scalar both removes an accent of the scalar before it and stays itself, as some
  /// Indic vowels do.
  private func beginsWithMark(_ scalar: Unicode.Scalar) -> Bool {
    rules.decompose(scalar).first.map { rules.classify($0) == .mark } ?? false
  }

  /// Whether the uncased dialects do more with the scalar than its class says.
  private func mayChange(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    // Large blocks without case, decomposition and order, which need not be looked up.
    case 0x3400...0x9FFF, 0xE000...0xF8FF, 0x20000...0x2F7FF, 0x30000...0x10FFFF: false
    default:
      scalar.properties.changesWhenLowercased || UnicodeDecomposition.exists(for: scalar)
        || rules.isReorderable(scalar)
    }
  }
}
