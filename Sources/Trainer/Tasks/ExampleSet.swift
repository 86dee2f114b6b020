import Crypto
import Foundation
import Model
import Text

/// A file's rows as inputs of the model, with what it takes to read the outputs.
package struct ExampleSet: Sendable {
  package let file: String
  /// In the order of the rows; `exampleID` is the sequence's number in the file, from 0.
  package let sequences: [SequenceInput]
  /// For each row its sequences: one, several windows of it, or none where the row was left out.
  package let rows: [Range<Int>]
  /// What did not fit.
  package let truncation: TruncationReport
  /// SHA-256 over the parsed rows, hexadecimal.
  package let fingerprint: String
  /// Sentences on rows that were left out or mended.
  package let notes: [String]
  /// What was not found in the rows where they say that it is: for the data report.
  package let findings: [DataReport.Finding]
  package let decoder: any ExampleDecoder
  /// Where the examples stand in the file; nil where nobody asked.
  package private(set) var places: ExamplePlaces?

  package init(
    file: String, sequences: [SequenceInput], rows: [Range<Int>]? = nil,
    truncation: TruncationReport, fingerprint: String, notes: [String] = [],
    findings: [DataReport.Finding] = [], decoder: any ExampleDecoder
  ) {
    self.file = file
    self.sequences = sequences
    self.rows = rows ?? sequences.indices.map { $0..<$0 + 1 }
    self.truncation = truncation
    self.fingerprint = fingerprint
    self.notes = notes
    self.findings = findings
    self.decoder = decoder
  }

  /// Makes sure that a model of `configuration` has parameters for every token.
  ///
  /// - Throws: `RunError` naming the first example for which it has not.
  func check(_ configuration: BertConfiguration) throws {
    for (number, sequence) in sequences.enumerated() {
      guard let obstacle = configuration.obstacle(to: sequence) else { continue }
      throw RunError(
        .data,
        "\(file): example \(number + 1) \(obstacle). Take a model that was made for such inputs, or see that its configuration belongs to its weights and its task."
      )
    }
  }

  /// The examples that have something to learn, the first `limit` of them.
  package func learnable(limit: Int?) throws -> ExampleSet {
    let known = sequences.filter { !$0.target.isEmpty }
    guard !known.isEmpty else {
      throw DataErrors(
        DataProblem(
          file: file, rule: "none of the \(rows.count) rows has anything to learn",
          remedy: findings.first.map { "\($0)" } ?? notes.first ?? "look at the rows"))
    }
    let kept = Array(known.prefix(limit ?? known.count))
    var set = ExampleSet(
      file: file, sequences: kept, truncation: truncation, fingerprint: fingerprint, notes: notes,
      findings: findings, decoder: decoder)
    set.places = places
    return set
  }

  /// The set with the places of `source`, whose rows it was made from.
  func placed(in source: any TaskRows) -> ExampleSet {
    var numbers: [Int] = []
    for (row, range) in zip(source.reported, rows) {
      for _ in range { numbers.append(row.line) }
    }
    var set = self
    set.places = ExamplePlaces(file: file, unit: source.unit.rawValue, numbers: numbers)
    return set
  }

  /// The places in `sequences` of those of neighbouring rows.
  package func sequences(ofRows rows: Range<Int>) -> Range<Int> {
    guard let first = self.rows[rows].first, let last = self.rows[rows].last else { return 0..<0 }
    return first.lowerBound..<last.upperBound
  }

  /// What is predicted for each of neighbouring rows, one JSON object each or a line of the task's own result file, from the
  /// outputs of their sequences.
  package func answers(
    ofRows rows: Range<Int>, from outputs: [HeadOutput], asTable: Bool = false
  ) throws -> [String] {
    let first = sequences(ofRows: rows).lowerBound
    return try rows.map { row in
      let range = self.rows[row]
      let said = outputs[range.lowerBound - first..<range.upperBound - first]
      return asTable
        ? try decoder.result(ofRow: row, from: said) : decoder.prediction(ofRow: row, from: said)
    }
  }

  /// Tokens of all rows.
  package var tokenCount: Int { sequences.reduce(0) { $0 + $1.tokenCount } }
}

/// Reads what a head says of one set of examples, and knows what should have been said.
package protocol ExampleDecoder: Sendable {
  /// The task's metrics by name, of all outputs in order; one that the examples do not define is absent. The loss is not
  /// among them.
  func metrics(_ outputs: [HeadOutput]) -> [String: Double]

  /// What `example` is at step `step`: for some tasks a draw by (seed, step, example).
  func input(_ example: SequenceInput, step: Int, seed: UInt64) -> SequenceInput

  /// What a person should know of the predictions beside their metrics, such as that they are all the same.
  func warning(_ outputs: [HeadOutput]) -> String?

  /// What is predicted for row `row`, from the outputs of its sequences, as one JSON object.
  func prediction(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) -> String

  /// The same as a line of the task's own result file; of a task that has none, `prediction`.
  func result(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) throws -> String
}

extension ExampleDecoder {
  package func input(_ example: SequenceInput, step: Int, seed: UInt64) -> SequenceInput {
    example
  }

  package func warning(_ outputs: [HeadOutput]) -> String? { nil }

  package func result(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) throws -> String {
    prediction(ofRow: row, from: outputs)
  }
}

/// A task's file as it was parsed, before it is known which labels there are.
package protocol TaskRows: Sendable {
  var file: String { get }
  var count: Int { get }
  /// What the numbers of the rows count.
  var unit: RowUnit { get }

  /// Those that could not be taken apart and are not among the rows.
  var unread: UnreadRows? { get }

  /// The rows as the data report reads them, one for each in order.
  var reported: [DataReport.Row] { get }

  /// The rows that are kept, by their number.
  func filtered(_ isKept: (Int) -> Bool) -> Self

  /// The labels that these rows have, in order, if they make a task such as the recipe's.
  ///
  /// Ask for `allLabels`, which speaks of unread rows too.
  /// - Throws: `DataErrors` if they do not.
  func labels(_ recipe: Recipe) throws -> [String]

  /// The rows as inputs, with targets if `withLabel`; unread rows are passed over.
  ///
  /// - Throws: `DataErrors` with all that is wrong with the rows.
  func examples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet
}

extension TaskRows {
  package var unit: RowUnit { .line }
  package var unread: UnreadRows? { nil }

  /// `labels`, where these are wrong with what is wrong with unread rows.
  package func allLabels(_ recipe: Recipe) throws -> [String] {
    try merging { try labels(recipe) }
  }

  /// `examples`, of which unread rows should have been.
  ///
  /// - Throws: `DataErrors` with all that is wrong with the file.
  package func allExamples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet {
    let set = try merging { try examples(context, withLabel: withLabel) }
    if let unread { throw unread.errors }
    return set
  }

  private func merging<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as DataErrors {
      throw unread.map { $0.errors.merged(with: error) } ?? error
    }
  }
}

extension DataProblem {
  /// A row that has no text, or lacks one of its texts.
  static func empty(
    _ file: String, line: Int? = nil, row: Int? = nil, unit: RowUnit = .line, column: String?
  ) -> DataProblem {
    DataProblem(
      file: file, line: line, row: row, unit: unit, column: column, rule: "the text is empty",
      remedy: "write it, or remove the row")
  }
}

extension StringProtocol {
  /// Whether there is nothing but white space.
  var isBlank: Bool { allSatisfy(\.isWhitespace) }
}

/// What turns rows into examples.
package struct TaskContext: Sendable {
  package let definition: TaskDefinition
  package let tokenizer: Tokenizer
  package let threads: Int
  package let truncation: Truncation
  /// Whether the rows are learnt from; else they are evaluated or predicted.
  package let isTraining: Bool
  /// Who tokenizes with this process; nil: nobody.
  let sharing: SharedTokenization?

  package init(
    _ definition: TaskDefinition, tokenizer: Tokenizer, threads: Int, isTraining: Bool = false,
    sharing: SharedTokenization? = nil
  ) {
    guard let truncation = Truncation(rawValue: definition.truncation) else {
      preconditionFailure("the truncation \(definition.truncation) was checked when it was read")
    }
    self.definition = definition
    self.tokenizer = tokenizer
    self.threads = threads
    self.truncation = truncation
    self.isTraining = isTraining
    self.sharing = sharing
  }

  /// The tokens of each of `texts`, in order.
  ///
  /// Collective where ranks tokenize together.
  package func tokenize(_ texts: [String]) throws -> [TokenizedText] {
    try sharing?.tokenize(texts, with: tokenizer, threads: threads)
      ?? tokenizer.tokenize(texts, threads: threads)
  }

  /// Tokens of an input of relations and event subjects, special tokens included.
  package var limit: Int {
    isTraining ? definition.maxLength : definition.evaluationLength ?? definition.maxLength
  }

  /// `text` as far as it is learnt from; whole where it is evaluated or predicted.
  ///
  /// Source: bert_in_keras, whose relations and event subjects cut characters in `data_generator` and nowhere else.
  package func cutForTraining(_ text: String?) -> String { isTraining ? cut(text) : text ?? "" }

  /// `text` as far as it is read: the 2019 recipes cut characters before they tokenize.
  package func cut(_ text: String?) -> String {
    let text = text ?? ""
    guard let limit = definition.maxCharacters else { return text }
    return String(String.UnicodeScalarView(text.unicodeScalars.prefix(limit)))
  }
}

/// SHA-256 over the values of rows, each with its length, so that no two sets of rows share the bytes.
package struct RowFingerprint {
  private var hash = SHA256()

  package init() {}

  package mutating func add(_ value: String?) {
    let bytes = Data((value ?? "").utf8)
    var length = value == nil ? UInt64.max : UInt64(bytes.count)
    withUnsafeBytes(of: &length) { hash.update(bufferPointer: $0) }
    hash.update(data: bytes)
  }

  /// Hexadecimal.
  package var text: String {
    hash.finalize().hex
  }
}
