import Foundation
import Model
import Text

/// Texts with the type of an event and the entity that it happened to.
package struct EventSubjectRows: TaskRows {
  private let rows: RowFile
  private let hasID: Bool
  private let hasEntity: Bool

  package var file: String { rows.file }
  package var count: Int { rows.rows.count }
  package var unit: RowUnit { rows.unit }
  package var unread: UnreadRows? { rows.unread }

  init(_ input: any RowInput, _ layout: RowLayout, withLabel: Bool) throws {
    let columns = layout.columns
    var requested = [
      RequestedColumn(ColumnReference(columns.text)),
      RequestedColumn(ColumnReference(columns.type ?? "type")),
    ]
    hasID = columns.id != nil
    hasEntity = withLabel
    if let id = columns.id { requested.append(RequestedColumn(ColumnReference(id))) }
    if withLabel { requested.append(RequestedColumn(ColumnReference(columns.label))) }
    rows = try RowFile.read(
      input, format: layout.format, columns: requested, header: layout.header,
      keepsUnread: true)
  }

  private init(_ rows: RowFile, hasID: Bool, hasEntity: Bool) {
    (self.rows, self.hasID, self.hasEntity) = (rows, hasID, hasEntity)
  }

  package var reported: [DataReport.Row] {
    rows.rows.map {
      DataReport.Row(
        line: $0.number, text: "\($0.values[1] ?? "")\u{1F}\($0.values[0] ?? "")",
        label: hasEntity ? entity($0) : nil, classes: [])
    }
  }

  package func filtered(_ isKept: (Int) -> Bool) -> EventSubjectRows {
    EventSubjectRows(rows.filtered(isKept), hasID: hasID, hasEntity: hasEntity)
  }

  private func entity(_ row: Row) -> String { hasEntity ? (row.values.last ?? nil) ?? "" : "" }

  package func labels(_ recipe: Recipe) throws -> [String] { [] }

  /// Characters of these rows' entities beside ideographs, Latin letters, digits and `*`, but for the comma: what may stand
  /// inside of an answer.
  package var entityCharacters: String {
    let all = Set(rows.rows.flatMap { entity($0).unicodeScalars })
    let odd = all.filter { !EventSubjectDecoder.isPlain($0) && $0 != "，" }
    return String(String.UnicodeScalarView(odd.sorted()))
  }

  /// The types of these rows' events but those whose rows are left out, sorted.
  package func types(but dropped: [String]) -> [String] {
    LabelVocabulary.sorted(rows.rows.compactMap { $0.values[1] }).filter { !dropped.contains($0) }
  }

  package func examples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet {
    let definition = context.definition
    guard let section = definition.eventSubject else {
      preconditionFailure("event subjects without their section")
    }
    // Every row is predicted, of whatever type.
    let kept =
      withLabel
      ? rows.rows.filter { !section.dropped.contains($0.values[1] ?? "") } : rows.rows
    func isKnown(_ type: String) -> Bool {
      !section.dropped.contains(type) && definition.eventTypes?.contains(type) ?? true
    }
    // The type comes first, so that it is never cut off.
    let prefixes = kept.map { "___\($0.values[1] ?? "")___" }
    let texts = zip(prefixes, kept).map { $0 + context.cutForTraining($1.values[0]) }
    let tokenized = try context.tokenize(texts)
    var problems = DataProblemCollector()
    var report = TruncationReport()
    var fingerprint = RowFingerprint()
    var sequences: [SequenceInput] = [], sources: [EventSubjectDecoder.Source] = []
    var lost: [Int] = []
    for (number, row) in kept.enumerated() {
      row.values.forEach { fingerprint.add($0) }
      if (row.values[0] ?? "").isBlank {
        problems.add(
          .empty(
            file, line: row.line, row: row.number, unit: rows.unit,
            column: definition.columns.text))
      }
      let input: AssembledInput
      do {
        input = try context.tokenizer.assemble(
          tokenized[number], nil, limit: context.limit, truncation: context.truncation)
      } catch let error as TruncationError {
        problems.add(
          DataProblem(
            error, file: file, line: row.line, row: row.number, unit: rows.unit,
            column: definition.columns.text))
        continue
      }
      report.add(input, row: row.number)
      let prefix = prefixes[number].unicodeScalars.count
      let source = EventSubjectDecoder.Source(
        id: hasID ? row.values[2] : nil, text: texts[number], prefix: prefix, spans: input.spans,
        entity: withLabel ? entity(row) : nil, hasKnownType: isKnown(row.values[1] ?? ""))
      var target: [Float] = []
      if withLabel {
        if let place = place(row, source, input, section.matching, context) {
          target = [Float(place.first), Float(place.last)]
        } else {
          lost.append(row.number)
        }
      }
      sources.append(source)
      sequences.append(
        SequenceInput(
          ids: input.ids, segments: input.segments, exampleID: UInt64(number), target: target))
    }
    try problems.check()
    var notes: [String] = []
    let dropped = rows.rows.count - kept.count
    if dropped > 0 {
      notes.append(
        "\(file): \(dropped) rows of the types \(section.dropped.joined(separator: ", ")) are left out"
      )
    }
    let finding = DataReport.Finding(
      kind: "entities", file: file, unit: rows.unit, rows: lost, total: kept.count,
      sentence:
        "the entity of \(lost.count) rows does not occur in what is read of their text; they are not learnt from",
      remedy: "raise data.maxLength or data.maxCharacters, or correct these rows")
    return ExampleSet(
      file: file, sequences: sequences, truncation: report, fingerprint: fingerprint.text,
      notes: notes, findings: lost.isEmpty ? [] : [finding],
      decoder: EventSubjectDecoder(definition, sources))
  }

  /// The tokens of the row's entity: in the whole sequence as the recipe of 2019 searches it, or in the text behind the type.
  private func place(
    _ row: Row, _ source: EventSubjectDecoder.Source, _ input: AssembledInput,
    _ matching: Recipe.Matching, _ context: TaskContext
  ) -> (first: Int, last: Int)? {
    let entity = entity(row)
    if matching == .tokens {
      let finder = SpanFinder(
        text: source.text, spans: input.spans, ids: input.ids, lowercase: false)
      return finder.tokens(matching: context.tokenizer.tokenize(entity).ids)
    }
    // The prefix is out of bounds: its tokens are shown to the finder as special ones.
    let scalars = Array(source.text.unicodeScalars)
    let hidden =
      String(repeating: "\u{0}", count: source.prefix)
      + String(String.UnicodeScalarView(scalars[source.prefix...]))
    let spans = input.spans.map { $0.lowerBound < source.prefix ? 0..<0 : $0 }
    return SpanFinder(
      text: hidden, spans: spans, ids: input.ids, lowercase: context.definition.lowercase
    ).tokens(covering: entity)
  }
}

/// The subject of an event from two distributions over the tokens.
struct EventSubjectDecoder: ExampleDecoder {
  struct Source: Sendable {
    let id: String?
    /// With the type before it, which takes `prefix` scalars.
    let text: String
    let prefix: Int
    let spans: [Range<Int>]
    /// nil where it is not known.
    let entity: String?
    /// Whether its type is one of the training rows'.
    let hasKnownType: Bool
  }

  private let sources: [Source]
  private let characters: Set<Unicode.Scalar>

  init(_ definition: TaskDefinition, _ sources: [Source]) {
    self.sources = sources
    characters = Set((definition.entityCharacters ?? "").unicodeScalars)
  }

  /// Ideographs, Latin letters, digits and `*`.
  static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x4E00...0x9FA5, 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2A: true
    default: false
    }
  }

  /// The likeliest start, and the likeliest end from there to the first character that no entity contains; nil for an
  /// event of a type that was not learnt.
  ///
  /// Source: bert_in_keras, `subject_extract.py`: a start is never such a character, [CLS] or [SEP].
  func answer(_ source: Source, _ values: [Float]) -> String? {
    guard source.hasKnownType else { return nil }
    let count = source.spans.count, scalars = Array(source.text.unicodeScalars)
    func isBarrier(_ token: Int) -> Bool {
      source.spans[token].contains {
        !Self.isPlain(scalars[$0]) && !characters.contains(scalars[$0])
      }
    }
    func isText(_ token: Int) -> Bool {
      !source.spans[token].isEmpty && source.spans[token].lowerBound >= source.prefix
    }
    let candidates = (0..<count).filter { isText($0) && !isBarrier($0) }
    let start = candidates.max { (values[$0], $1) < (values[$1], $0) }
    guard let start else { return "" }
    var end = start
    for token in start..<count where isText(token) {
      if values[count + token] > values[count + end] { end = token }
      if isBarrier(token) { break }
    }
    return SpanFinder.text(scalars, source.spans, start, end)
  }

  func metrics(_ outputs: [HeadOutput]) -> [String: Double] {
    guard !sources.isEmpty else { return [:] }
    let correct = zip(sources, outputs).count { source, output in
      answer(source, output.values).map { $0 == source.entity } ?? false
    }
    return ["accuracy": Double(correct) / Double(sources.count)]
  }

  func prediction(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) -> String {
    guard let output = outputs.first else { preconditionFailure("row \(row) has no output") }
    let id = sources[row].id.map { "\"id\":\(JSONText.quoted($0))," } ?? ""
    let entity = answer(sources[row], output.values).map { JSONText.quoted($0) } ?? "null"
    return "{\(id)\"entity\":\(entity)}"
  }

  /// `"id","entity"`, as `subject_extract.py` writes its `result.txt`; `NaN` where there is no answer.
  func result(ofRow row: Int, from outputs: ArraySlice<HeadOutput>) throws -> String {
    guard let output = outputs.first else { preconditionFailure("row \(row) has no output") }
    guard let id = sources[row].id else {
      throw RunError(
        .usage,
        "A result file names each row, and this model was trained without data.columns.id. Write the predictions to a .jsonl file."
      )
    }
    return [id, answer(sources[row], output.values) ?? "NaN"].map {
      "\"\($0.replacing("\"", with: "\"\""))\""
    }.joined(separator: ",")
  }
}
