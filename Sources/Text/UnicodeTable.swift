/// What to do with each scalar of a text, looked up in two steps: a page of 256 scalars, then the
/// scalar.
///
/// The table of a rule set is built once, on first use; scalars of like pages (Chinese, unassigned,
/// private use) share a page.
struct UnicodeTable: Sendable {
  /// What to do with a scalar.
  enum Kind: UInt32 {
    /// Append the entry's scalar to the word.
    case letter = 0
    /// Nothing stays of it.
    case dropped
    /// Ends a word, for all later steps too.
    case space
    /// The entry's scalar is a word of its own within a run of non-spaces.
    case punctuation
    /// A space, the entry's scalar, a space.
    case ideograph
    /// A removed accent: in the Google dialect it lengthens the span of what it stands on.
    case mark
    /// Append the entry's `count` scalars of `expansions`.
    case expansion
    /// The whole run of non-spaces needs the general algorithm: order of marks, Greek final sigma.
    case irregular
  }

  /// What to do with one scalar.
  ///
  /// Bits 0-20 hold the scalar, or the start in `expansions`; 21-23 the number of scalars, 0 if the
  /// scalar stands for itself; 24-31 the kind. Scalars that stand for themselves make whole pages
  /// alike, which are then stored once.
  struct Entry: Sendable, Hashable {
    let bits: UInt32

    init(_ kind: Kind, _ value: UInt32 = 0, count: Int = 0) {
      bits = kind.rawValue << 24 | UInt32(count) << 21 | value
    }

    var kind: UInt32 { bits >> 24 }
    var value: UInt32 { bits & 0x1F_FFFF }
    var count: Int { Int(bits >> 21 & 7) }
  }

  /// For each page of 256 scalars its start in `entries`.
  let pages: [UInt32]
  let entries: [Entry]
  /// The scalars of entries with more than one.
  let expansions: [UInt32]

  /// The table of a rule set.
  static func shared(_ rules: UnicodeRules, uncased: Bool) -> UnicodeTable {
    switch (rules, uncased) {
    case (.google, true): googleUncased
    case (.google, false): googleCased
    case (.huggingface, true): huggingFaceUncased
    case (.huggingface, false): huggingFaceCased
    }
  }

  private static let googleUncased = UnicodeTable(.google, uncased: true)
  private static let googleCased = UnicodeTable(.google, uncased: false)
  private static let huggingFaceUncased = UnicodeTable(.huggingface, uncased: true)
  private static let huggingFaceCased = UnicodeTable(.huggingface, uncased: false)

  /// A table for none.
  static let empty = UnicodeTable(pages: [], entries: [], expansions: [])

  private init(pages: [UInt32], entries: [Entry], expansions: [UInt32]) {
    self.pages = pages
    self.entries = entries
    self.expansions = expansions
  }

  private init(_ rules: UnicodeRules, uncased: Bool) {
    var builder = UnicodeTableBuilder(rules: rules, uncased: uncased)
    var pages: [UInt32] = []
    var entries: [Entry] = []
    var starts: [[Entry]: UInt32] = [:]
    for page in UInt32(0)..<0x1100 {
      let content = builder.page(page)
      let start = starts[content] ?? UInt32(entries.count)
      if start == entries.count {
        starts[content] = start
        entries += content
      }
      pages.append(start)
    }
    self.init(pages: pages, entries: entries, expansions: builder.expansions)
  }

  /// The entry of a scalar value.
  subscript(_ value: UInt32) -> Entry {
    entries[Int(pages[Int(value >> 8)]) + Int(value & 0xFF)]
  }
}
