import Foundation

/// What a person should know of labelled rows before training on them: duplicates, contradictions, leakage, what tokens lose.
package struct DataReport: Sendable, Equatable, Codable {
  /// A row as far as the report goes.
  package struct Row: Sendable {
    /// Its number, in what its split's `unit` counts.
    package var line: Int
    package var text: String
    /// What is learnt of it, as text; nil where it has none.
    package var label: String?
    /// What the balance counts in it; nil: its label.
    package var classes: [String]?
    /// Rows of one group belong together when rows are dealt to splits: its text, if nothing else is said.
    package var group: String

    package init(
      line: Int, text: String, label: String?, classes: [String]? = nil, group: String? = nil
    ) {
      self.line = line
      self.text = text
      self.label = label
      self.classes = classes
      self.group = group ?? text
    }

    fileprivate var counted: [String] { classes ?? label.map { [$0] } ?? [] }
  }

  /// The rows of one file.
  package struct Split: Sendable {
    /// `train`, `dev` or `test`.
    package var name: String
    package var file: String
    /// What the numbers of its rows count.
    package var unit: RowUnit
    package var rows: [Row]

    package init(name: String, file: String, unit: RowUnit = .line, rows: [Row]) {
      self.name = name
      self.file = file
      self.unit = unit
      self.rows = rows
    }
  }

  package struct Finding: Sendable, Equatable, Codable {
    /// Such as `duplicates`, `conflicts`, `leakage`, `unknown`, `truncation`, `balance`, `entities`.
    package var kind: String
    package var file: String
    /// Rows (or characters) that it concerns, and of how many.
    package var count: Int
    package var total: Int
    /// Numbers of the first of them.
    package var lines: [Int]
    /// What `lines` are.
    package var unit: RowUnit
    package var sentence: String
    package var remedy: String

    /// `rows`: the numbers of all that it concerns (or of the first of `count`), at least one, ascending.
    package init(
      kind: String, file: String, unit: RowUnit = .line, rows: [Int], count: Int? = nil, total: Int,
      sentence: String, remedy: String
    ) {
      (self.kind, self.file, self.unit, self.total) = (kind, file, unit, total)
      (self.count, lines) = (count ?? rows.count, Array(rows.prefix(5)))
      (self.sentence, self.remedy) = (sentence, remedy)
    }
  }

  package struct Statistics: Sendable, Equatable, Codable {
    package var name: String
    package var file: String
    package var rows: Int
    /// Tokens of a row without special ones: median, ninth decile, 99th percentile, longest.
    package var lengths: [Int]
    /// Rows by label (entities by type, triples by predicate), where these are few.
    package var labels: [String: Int]?
    /// The share of tokens that the vocabulary does not know.
    package var unknownShare: Double
    /// Rows of 0–15, 16–31, 32–63, 64–127, 128–255, 256–511 and more tokens.
    package var histogram: [Int]
  }

  package private(set) var findings: [Finding] = []
  package private(set) var statistics: [Statistics] = []
  /// The accuracy that is possible on each split where equal texts have different labels; 1 where none do.
  package private(set) var ceilings: [String: Double] = [:]

  /// More labels than these are no classes.
  private static let fewLabels = 50

  /// Reports on `splits`, the training rows first.
  ///
  /// What is cut, only the tasks know: see `add`.
  ///
  /// `tokenize` gives the tokens of each of some texts; what it throws is thrown.
  package init(
    splits: [Split], vocabulary: Vocabulary, tokenize: ([String]) throws -> [TokenizedText]
  ) rethrows {
    var earlier: [(split: Split, texts: Set<String>)] = []
    for split in splits {
      inspectLabels(split)
      inspectBalance(split)
      for other in earlier { inspectLeakage(split, from: other.split, other.texts) }
      earlier.append((split, Set(split.rows.map(\.text))))
      try inspectTokens(split, vocabulary, tokenize: tokenize)
    }
  }

  private static func percent(_ count: Int, of total: Int) -> String {
    total == 0 ? "0 %" : String(format: "%.1f %%", 100 * Double(count) / Double(total))
  }

  // MARK: Equal texts

  private mutating func inspectLabels(_ split: Split) {
    var groups: [String: [Int]] = [:]
    for (number, row) in split.rows.enumerated() { groups[row.text, default: []].append(number) }
    var repeated: [Int] = [], conflicting: [Int] = []
    var reachable = 0
    for group in groups.values {
      var counts: [String: Int] = [:]
      for number in group { counts[split.rows[number].label ?? "", default: 0] += 1 }
      reachable += counts.values.max() ?? 0
      if group.count > 1 { repeated += group.dropFirst() }
      if counts.count > 1 { conflicting += group }
    }
    let total = split.rows.count
    ceilings[split.name] = total == 0 ? 1 : Double(reachable) / Double(total)
    add(
      "duplicates", split, repeated,
      "\(repeated.count) of \(total) rows (\(Self.percent(repeated.count, of: total))) repeat the text of an earlier one",
      split.name == "train"
        ? "leave them out with --drop-duplicates (data.dropDuplicates: true)"
        : "leave them out of the file")
    let best = String(format: "%.2f %%", 100 * (ceilings[split.name] ?? 1))
    add(
      "conflicts", split, conflicting,
      "\(conflicting.count) of \(total) rows share their text with a row of another label; at most \(best) of the rows can be predicted right",
      "decide which label is right, or leave the rows out")
    let empty = split.rows.indices.filter {
      split.rows[$0].text.allSatisfy { $0.isWhitespace || $0 == "\u{1F}" }
    }
    add(
      "empty", split, empty, "\(empty.count) of \(total) rows have no text",
      "write it, or remove the rows")
  }

  private func counts(_ split: Split) -> [String: Int] {
    Dictionary(split.rows.lazy.flatMap(\.counted).map { ($0, 1) }, uniquingKeysWith: +)
  }

  private mutating func inspectBalance(_ split: Split) {
    let counts = counts(split)
    guard counts.count > 1, counts.count <= Self.fewLabels, let most = counts.values.max(),
      let least = counts.min(by: { ($0.value, $0.key) < ($1.value, $1.key) }),
      most > 10 * least.value
    else { return }
    let rare = split.rows.indices.filter { split.rows[$0].counted.contains(least.key) }
    let name = DataProblem.quoted(least.key)
    let areLabels = split.rows.allSatisfy { $0.classes == nil }
    add(
      "balance", split, rare,
      areLabels
        ? "the label \(name) has \(least.value) of \(split.rows.count) rows, the most frequent one \(most)"
        : "\(name) occurs \(least.value) times in \(split.rows.count) rows, the most frequent one \(most) times",
      areLabels
        ? "choose the best model by f1Macro, or set training.classWeights: balanced"
        : "give more rows that have it, or expect little of it")
  }

  /// The rows of `split` whose text is one of `texts`, those of a split before it.
  private mutating func inspectLeakage(
    _ split: Split, from other: Split, _ texts: Set<String>
  ) {
    let leaked = split.rows.indices.filter { texts.contains(split.rows[$0].text) }
    let total = split.rows.count
    let isTrain = other.name == "train"
    add(
      "leakage", split, leaked,
      "\(leaked.count) of \(total) rows (\(Self.percent(leaked.count, of: total))) stand verbatim in \(other.file): "
        + (isTrain
          ? "what is measured on them is memory" : "the best model was chosen by its rows"),
      isTrain
        ? "leave those out of the training rows with data.dropLeaked: true, or split anew with data.split"
        : "leave them out of one of the two files, or split anew with data.split")
  }

  // MARK: Tokens

  private mutating func inspectTokens(
    _ split: Split, _ vocabulary: Vocabulary,
    tokenize: ([String]) throws -> [TokenizedText]
  ) rethrows {
    let texts = split.rows.map { $0.text.replacing("\u{1F}", with: " ") }
    var lengths: [Int] = [], touched: [Int] = []
    var unknown: [Unicode.Scalar: Int] = [:]
    var unknownTokens = 0, tokens = 0
    let special = vocabulary.unknown
    for (number, tokenized) in try tokenize(texts).enumerated() {
      lengths.append(tokenized.count)
      tokens += tokenized.count
      guard tokenized.ids.contains(special) else { continue }
      touched.append(number)
      let scalars = Array(texts[number].unicodeScalars)
      for (id, span) in zip(tokenized.ids, tokenized.spans) where id == special {
        unknownTokens += 1
        // Of an unknown word the characters that the vocabulary lacks, or all if it has each.
        let lacking = scalars[span].filter { vocabulary.id(of: String($0)) == nil }
        for scalar in lacking.isEmpty ? Array(scalars[span]) : Array(lacking) {
          unknown[scalar, default: 0] += 1
        }
      }
    }
    if unknownTokens * 1000 > tokens {
      let frequent = unknown.sorted { (-$0.value, $0.key) < (-$1.value, $1.key) }.prefix(10)
      var all = Dictionary(uniqueKeysWithValues: frequent.map { ($0.key, 0) })
      for scalar in texts.lazy.flatMap(\.unicodeScalars) { all[scalar]? += 1 }
      let shown = frequent.map {
        "\(DataProblem.quoted(String($0.key))) \($0.value) of \(all[$0.key] ?? 0)"
      }
      add(
        "unknown", split, touched,
        "\(unknownTokens) of \(tokens) tokens (\(Self.percent(unknownTokens, of: tokens))) are unknown to the vocabulary, in \(touched.count) rows; most often (of the character's occurrences) \(shown.joined(separator: ", "))",
        "use the vocabulary's case (data.lowercase) or another tokenizer, or replace these characters",
        count: unknownTokens, total: tokens)
    }
    let sorted = lengths.sorted()
    func quantile(_ share: Double) -> Int {
      sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
    }
    let labels = counts(split)
    let bounds = [16, 32, 64, 128, 256, 512]
    statistics.append(
      Statistics(
        name: split.name, file: split.file, rows: split.rows.count,
        lengths: [quantile(0.5), quantile(0.9), quantile(0.99), sorted.last ?? 0],
        labels: labels.isEmpty || labels.count > Self.fewLabels ? nil : labels,
        unknownShare: tokens == 0 ? 0 : Double(unknownTokens) / Double(tokens),
        histogram: (0...bounds.count).map { part in
          lengths.count { length in
            (part == 0 || length >= bounds[part - 1])
              && (part == bounds.count || length < bounds[part])
          }
        }))
  }

  private mutating func add(
    _ kind: String, _ split: Split, _ rows: [Int], _ sentence: String, _ remedy: String,
    count: Int? = nil, total: Int? = nil
  ) {
    guard !rows.isEmpty else { return }
    findings.append(
      Finding(
        kind: kind, file: split.file, unit: split.unit,
        rows: rows.sorted().map { split.rows[$0].line }, count: count,
        total: total ?? split.rows.count, sentence: sentence, remedy: remedy))
  }

  /// Adds what a task found in its rows.
  package mutating func add(_ findings: [Finding]) { self.findings += findings }
}

extension DataReport.Finding: CustomStringConvertible {
  /// `file:line: finding (lines …): remedy`, or `file: question 4: finding (questions …): remedy`.
  package var description: String {
    let more = count > lines.count ? ", …" : ""
    let places = lines.map { "\($0)" }.joined(separator: ", ")
    return
      "\(unit.place(lines[0], in: file)): \(sentence) (\(unit.rawValue)s \(places)\(more)): \(remedy)"
  }
}

extension DataReport {
  /// For a person: a paragraph on each file, then the findings.
  package var text: String {
    var lines: [String] = []
    for split in statistics {
      lines.append(
        "\(split.name): \(split.rows) rows of \(split.file); tokens: half have up to \(split.lengths[0]), nine tenths up to \(split.lengths[1]), the longest \(split.lengths[3]); unknown: \(String(format: "%.2f %%", 100 * split.unknownShare))"
      )
      let names = ["<16", "<32", "<64", "<128", "<256", "<512", "more"]
      lines.append(
        "  lengths  " + zip(names, split.histogram).map { "\($0) \($1)" }.joined(separator: "  "))
      if let labels = split.labels {
        let counts = labels.sorted { (-$0.value, $0.key) < (-$1.value, $1.key) }.prefix(12)
        lines.append("  labels   " + counts.map { "\($0.key) \($0.value)" }.joined(separator: "  "))
      }
    }
    lines += findings.isEmpty ? ["no findings"] : findings.map { "- \($0)" }
    return lines.joined(separator: "\n")
  }

  /// As JSON, keys in order.
  package func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(self) + Data("\n".utf8)
  }
}
