/// The general algorithm, for the few runs of non-spaces in which a scalar's outcome depends on its
/// neighbours: Greek capital sigma, and marks that survive stripping and must be put into canonical
/// order.
extension TokenizerScanner {
  /// A scalar of the run on its way through normalisation.
  private struct Cell {
    var scalar: Unicode.Scalar
    var source: TokenizerSource
    /// Whether it is the first that its source decomposed into.
    var isFirst = true
  }

  /// Takes back the tokens of the current run and does the whole run again; returns the scalar and
  /// byte behind it.
  mutating func scanIrregular(_ text: Span<UInt8>) -> (scalar: Int, byte: Int) {
    removeTokens(from: runTokens)
    wordBytes = 0
    wordScalars = 0
    let rules: UnicodeRules = tokenizer.kind == .google ? .google : .huggingface
    var cells: [Cell] = []
    var (scalar, byte) = (runScalar, runByte)
    while byte < text.count {
      let (value, width) = decodeScalar(text, byte)
      let kind = table[value].kind
      if kind == UnicodeTable.Kind.space.rawValue || kind == UnicodeTable.Kind.ideograph.rawValue
        || value == 0x5B && special(text, byte) != nil
      {
        break
      }
      if kind != UnicodeTable.Kind.dropped.rawValue, let decoded = Unicode.Scalar(value) {
        let source = TokenizerSource(
          start: scalar, end: scalar + 1, byteStart: byte, byteEnd: byte + width)
        cells.append(Cell(scalar: decoded, source: source))
      }
      scalar += 1
      byte += width
    }
    normalize(&cells, rules)
    isReordered = rules == .google
    defer { isReordered = false }
    for cell in cells {
      if rules.classify(cell.scalar) == .punctuation {
        endWord()
        append(cell.scalar.value, cell.source)
        endWord()
      } else {
        append(cell.scalar.value, cell.source)
      }
    }
    endWord()
    beginRun(scalar, byte)
    return (scalar, byte)
  }

  private func normalize(_ cells: inout [Cell], _ rules: UnicodeRules) {
    if rules == .google { cells = lowercase(cells) }
    cells = cells.flatMap { cell in
      rules.decompose(cell.scalar).enumerated().map { index, part in
        Cell(scalar: part, source: cell.source, isFirst: cell.isFirst && index == 0)
      }
    }
    order(&cells, rules)
    var kept: [Cell] = []
    for cell in cells {
      if rules.classify(cell.scalar) != .mark {
        kept.append(cell)
      } else if rules == .google, let last = kept.indices.last {
        kept[last].source.end = max(kept[last].source.end, cell.source.end)
        kept[last].source.byteEnd = max(kept[last].source.byteEnd, cell.source.byteEnd)
      }
    }
    cells = rules == .huggingface ? lowercase(kept, finalSigma: false) : kept
  }

  private func lowercase(_ cells: [Cell], finalSigma: Bool = true) -> [Cell] {
    let scalars = cells.map(\.scalar)
    return cells.indices.flatMap { index in
      let mapping = scalars[index].properties.lowercaseMapping.unicodeScalars
      let isFinal =
        finalSigma && scalars[index] == "\u{03A3}" && UnicodeRules.isFinalSigma(scalars, at: index)
      return (isFinal ? ["\u{03C2}"] : Array(mapping)).enumerated().map { place, part in
        Cell(scalar: part, source: cells[index].source, isFirst: place == 0)
      }
    }
  }

  /// Puts runs of marks into canonical order.
  ///
  /// The Rust library notes for each scalar only whether it stands for the next source scalar or
  /// for the same one as the scalar before it, so that after a change of order sources go by
  /// position.
  private func order(_ cells: inout [Cell], _ rules: UnicodeRules) {
    var start = 0
    while start < cells.count {
      var end = start
      while end < cells.count, rules.isReorderable(cells[end].scalar) { end += 1 }
      if end > start + 1 {
        let sources = cells[start..<end].filter(\.isFirst).map(\.source)
        // Swift's sort is stable.
        cells[start..<end].sort {
          $0.scalar.properties.canonicalCombiningClass
            < $1.scalar.properties.canonicalCombiningClass
        }
        if rules == .huggingface {
          var next = sources.makeIterator()
          for i in start..<end {
            if cells[i].isFirst, let source = next.next() {
              cells[i].source = source
            } else if i > 0 {
              cells[i].source = cells[i - 1].source
            }
          }
        }
      }
      start = max(end, start + 1)
    }
  }
}

extension UnicodeRules {
  /// Whether a capital sigma becomes ς: a cased scalar stands before it and none behind,
  /// case-ignorable ones not counted.
  ///
  /// The rule Final_Sigma of the Unicode Standard, section 3.13, which Python's `lower()` follows
  /// and Rust's `to_lowercase` of single scalars does not.
  static func isFinalSigma(_ scalars: [Unicode.Scalar], at index: Int) -> Bool {
    func isCased(_ scalar: Unicode.Scalar?) -> Bool { scalar?.properties.isCased ?? false }
    return isCased(scalars[..<index].last { !$0.properties.isCaseIgnorable })
      && !isCased(scalars[(index + 1)...].first { !$0.properties.isCaseIgnorable })
  }
}
