import Foundation
import Model
import Text

/// Texts of which words are hidden.
package struct TextRows: TaskRows {
  private let rows: RowFile

  package var file: String { rows.file }
  package var count: Int { rows.rows.count }
  package var unit: RowUnit { rows.unit }
  package var unread: UnreadRows? { rows.unread }

  init(_ input: any RowInput, _ layout: RowLayout) throws {
    // A file of bare texts has one a line, here for training as well.
    if input.rowEnding == "txt" {
      rows = try RowFile.read(
        input, format: .tsv, columns: [RequestedColumn(.number(1))], header: .absent,
        keepsUnread: true)
    } else {
      rows = try RowFile.read(
        input, format: layout.format,
        columns: [RequestedColumn(ColumnReference(layout.columns.text))], header: layout.header,
        keepsUnread: true)
    }
  }

  private init(_ rows: RowFile) { self.rows = rows }

  package func labels(_ recipe: Recipe) throws -> [String] { [] }

  package var reported: [DataReport.Row] {
    rows.rows.map { DataReport.Row(line: $0.number, text: $0.values[0] ?? "", label: nil) }
  }

  package func filtered(_ isKept: (Int) -> Bool) -> TextRows { TextRows(rows.filtered(isKept)) }

  package func examples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet {
    let definition = context.definition, tokenizer = context.tokenizer
    guard let section = definition.masking else {
      preconditionFailure("masking without its section")
    }
    let texts = rows.rows.map { context.cut($0.values[0]) }
    let tokenized =
      withLabel
      ? try context.tokenize(texts)
      : texts.map { Self.tokens(of: $0, tokenizer) }
    let masker = Masker(section, tokenizer.vocabulary)
    var report = TruncationReport()
    var fingerprint = RowFingerprint()
    var sequences: [SequenceInput] = [], whole: [[Int32]] = []
    var ranges: [Range<Int>] = []
    for (text, tokens) in zip(texts, tokenized) {
      fingerprint.add(text)
      let first = sequences.count
      // Nothing is lost: a long text is several windows.
      for window in try tokenizer.windows(tokens, limit: definition.maxLength, overlap: 0)
      where !tokens.ids.isEmpty {
        let input = SequenceInput(
          ids: window.ids, segments: window.segments, exampleID: UInt64(sequences.count))
        report.add(tokens: window.ids.count - 2, cut: 0)
        whole.append(window.ids)
        sequences.append(
          withLabel ? masker.masked(input, step: .max, seed: 0) : masker.asked(input))
      }
      ranges.append(first..<sequences.count)
    }
    return ExampleSet(
      file: file, sequences: sequences, rows: ranges, truncation: report,
      fingerprint: fingerprint.text,
      decoder: MaskedDecoder(
        masker: masker, whole: whole, targets: sequences.map(\.target),
        vocabulary: tokenizer.vocabulary))
  }
}

extension TextRows {
  /// The tokens of a text in which `[MASK]` stands for a hidden word, whatever the tokenizer makes of brackets.
  fileprivate static func tokens(of text: String, _ tokenizer: Tokenizer) -> TokenizedText {
    var whole = TokenizedText(ids: [], spans: [], byteSpans: [], scalarCount: 0)
    func append(_ part: TokenizedText) {
      whole.ids += part.ids
      whole.spans += part.spans.map {
        $0.lowerBound + whole.scalarCount..<$0.upperBound + whole.scalarCount
      }
      let bytes = whole.byteSpans.last?.upperBound ?? 0
      whole.byteSpans += part.byteSpans.map { $0.lowerBound + bytes..<$0.upperBound + bytes }
      whole.scalarCount += part.scalarCount
    }
    let mark = "[MASK]"
    let hidden = TokenizedText(
      ids: [tokenizer.vocabulary.mask], spans: [0..<mark.count], byteSpans: [0..<mark.count],
      scalarCount: mark.count)
    for (number, part) in text.components(separatedBy: mark).enumerated() {
      if number > 0 { append(hidden) }
      append(tokenizer.tokenize(part))
    }
    return whole
  }
}

/// Hides tokens: a function of seed, step and example (dynamic masking, as RoBERTa).
struct Masker: Sendable {
  private let section: Recipe.Masking
  private let mask: Int32
  private let specials: Set<Int32>
  private let count: UInt32
  /// Whether each word of the vocabulary continues the one before it.
  private let continues: [Bool]

  init(_ section: Recipe.Masking, _ vocabulary: Vocabulary) {
    self.section = section
    mask = vocabulary.mask
    specials = [
      vocabulary.padding, vocabulary.classification, vocabulary.separator, vocabulary.mask,
    ]
    count = UInt32(vocabulary.count)
    continues = (0..<vocabulary.count).map { vocabulary.tokens[$0].hasPrefix("##") }
  }

  /// `example` with the share of its tokens hidden, at least one; special tokens never are.
  ///
  /// Eight tenths of them become [MASK], one tenth a random word, one tenth stay as they are.
  /// Source: Devlin and others, "BERT" (2019), section 3.1. With whole words, the `##` pieces of a word share its fate.
  func masked(_ example: SequenceInput, step: UInt32, seed: UInt64) -> SequenceInput {
    let philox = Philox(seed: seed)
    func words(_ token: Int, _ part: UInt32) -> SIMD4<UInt32> {
      philox.block(
        SIMD4(
          UInt32(token) << 1 | part, UInt32(example.exampleID), step,
          RandomPurpose.masking.word()))
    }
    var groups: [[Int]] = []
    for (token, id) in example.ids.enumerated() where !specials.contains(id) {
      if section.wholeWords, continues[Int(id)], let last = groups.last?.last, last == token - 1 {
        groups[groups.count - 1].append(token)
      } else {
        groups.append([token])
      }
    }
    let total = groups.reduce(0) { $0 + $1.count }
    let wanted = max(1, Int((section.share * Double(total)).rounded()))
    // The groups in a random order, as many as fit.
    let keyed = groups.map { (key: words($0[0], 0)[0], tokens: $0) }
    let order = keyed.sorted { ($0.key, $0.tokens[0]) < ($1.key, $1.tokens[0]) }.map(\.tokens)
    var result = example
    result.target = [Float](repeating: -1, count: example.ids.count)
    var left = wanted
    for group in order where left > 0 && (group.count <= left || left == wanted) {
      left -= group.count
      for token in group {
        let draw = words(token, 1)
        result.target[token] = Float(example.ids[token])
        // A shift binds closer than a product.
        let tenth = (UInt64(draw[0]) * 10) >> 32
        if tenth < 8 {
          result.ids[token] = mask
        } else if tenth == 8 {
          result.ids[token] = Int32((UInt64(draw[1]) * UInt64(count)) >> 32)
        }
      }
    }
    return result
  }

  /// `example` with its own [MASK] tokens asked for.
  func asked(_ example: SequenceInput) -> SequenceInput {
    var result = example
    result.target = example.ids.map { $0 == mask ? -2 : -1 }
    return result
  }
}

/// What stands at hidden places.
struct MaskedDecoder: ExampleDecoder {
  let masker: Masker
  /// The ids of each sequence before anything was hidden.
  let whole: [[Int32]]
  let targets: [[Float]]
  let vocabulary: Vocabulary

  func input(_ example: SequenceInput, step: Int, seed: UInt64) -> SequenceInput {
    var fresh = example
    fresh.ids = whole[Int(example.exampleID)]
    return masker.masked(fresh, step: UInt32(step), seed: seed)
  }

  func metrics(_ outputs: [HeadOutput]) -> [String: Double] {
    var correct = 0, count = 0
    for (target, output) in zip(targets, outputs) {
      for (place, word) in target.filter({ $0 >= 0 }).enumerated() {
        count += 1
        if output.values[place * 10] == word { correct += 1 }
      }
    }
    return count == 0 ? [:] : ["accuracy": Double(correct) / Double(count)]
  }

  func prediction(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) -> String {
    let masks = outputs.flatMap { output in
      stride(from: 0, to: output.values.count, by: 10).map { start in
        let words = stride(from: start, to: start + 10, by: 2).map {
          "{\"token\":\(JSONText.quoted(vocabulary.tokens[Int(output.values[$0])])),\"probability\":\(output.values[$0 + 1])}"
        }
        return "[\(words.joined(separator: ","))]"
      }
    }
    return "{\"masks\":[\(masks.joined(separator: ","))]}"
  }
}
