import Foundation
import Model
import Text

/// Texts with their triples.
package struct RelationRows: TaskRows {
  private let relations: RelationFile

  package var file: String { relations.file }
  package var count: Int { relations.rows.count }
  package var unit: RowUnit { relations.unit }
  package var unread: UnreadRows? { relations.unread }

  package init(_ relations: RelationFile) { self.relations = relations }

  init(_ input: any RowInput, _ layout: RowLayout, withLabel: Bool) throws {
    guard layout.isPlainText(input, withLabel: withLabel) else {
      relations = try RelationFile.read(input, withTriples: withLabel, keepsUnread: true)
      return
    }
    let texts = try layout.plainTexts(input)
    relations = RelationFile(
      file: input.rowName,
      rows: texts.enumerated().map {
        RelationFile.Row(line: $0 + 1, text: $1, triples: [], hasTriples: false)
      })
  }

  package var reported: [DataReport.Row] {
    relations.rows.map { row in
      let triples = row.triples.map { "\($0.subject)|\($0.predicate)|\($0.object)" }.sorted()
      return DataReport.Row(
        line: row.line, text: row.text, label: triples.joined(separator: "; "),
        classes: row.triples.map(\.predicate))
    }
  }

  package func filtered(_ isKept: (Int) -> Bool) -> RelationRows {
    RelationRows(
      RelationFile(
        file: file, unit: unit,
        rows: relations.rows.enumerated().filter { isKept($0.offset) }.map(\.element),
        unreadable: relations.unreadable, unread: relations.unread))
  }

  /// The predicates, in order.
  package func labels(_ recipe: Recipe) throws -> [String] {
    let labels = LabelVocabulary.sorted(relations.rows.flatMap { $0.triples.map(\.predicate) })
    guard !labels.isEmpty else {
      throw DataErrors(
        DataProblem(file: file, rule: "no row has a triple", remedy: "give rows with triples"))
    }
    return labels
  }

  private var notes: [String] {
    guard let first = relations.unreadable.first else { return [] }
    return [
      "\(file): the spo_list of \(relations.unreadable.count) rows, the first in line \(first), is no list of triples; their predictions have no new and lack"
    ]
  }

  package func examples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet {
    let definition = context.definition
    guard let relation = definition.relation else {
      preconditionFailure("relations without their section")
    }
    let labels = LabelVocabulary(definition.labels)
    let rows = relations.rows.map { relation.repairsTitles ? TitleRepair.repaired($0) : $0 }
    let texts = rows.map { context.cutForTraining($0.text) }
    let tokenized = try context.tokenize(texts)
    var problems = DataProblemCollector()
    var report = TruncationReport()
    var fingerprint = RowFingerprint()
    var sequences: [SequenceInput] = [], golds: [RelationDecoder.Gold] = []
    var lost = 0, empty = 0, lines: [Int] = []
    for (number, row) in rows.enumerated() {
      // The elements of an array have numbers, but no lines.
      let line = unit == .line ? row.line : nil
      if withLabel, row.text.isBlank {
        problems.add(.empty(file, line: line, row: row.line, unit: unit, column: "text"))
      }
      let input: AssembledInput
      do {
        input = try context.tokenizer.assemble(
          tokenized[number], nil, limit: context.limit, truncation: context.truncation)
      } catch let error as TruncationError {
        problems.add(
          DataProblem(
            error, file: file, line: line, row: row.line, unit: unit, column: "text"))
        continue
      }
      report.add(input, row: row.line)
      let finder = SpanFinder(
        text: texts[number], spans: input.spans, ids: input.ids, lowercase: definition.lowercase)
      func place(_ part: String) -> (first: Int, last: Int)? {
        relation.matching == .text
          ? finder.tokens(covering: part)
          : finder.tokens(matching: context.tokenizer.tokenize(part).ids)
      }
      var gold = RelationDecoder.Gold(
        text: texts[number], spans: input.spans, triples: row.hasTriples ? row.triples : nil,
        relations: [])
      for triple in row.triples where withLabel {
        fingerprint.add(triple.subject)
        fingerprint.add(triple.predicate)
        fingerprint.add(triple.object)
        guard let predicate = labels.number(of: triple.predicate) else {
          problems.add(
            DataProblem(
              file: file, line: line, row: row.line, unit: unit, column: "predicate",
              value: triple.predicate, rule: "is not a predicate of this model",
              remedy: labels.remedy(for: triple.predicate)))
          continue
        }
        if let subject = place(triple.subject), let object = place(triple.object) {
          gold.relations.append(
            RelationDecoder.Placed(subject: subject, object: object, predicate: predicate))
        } else {
          lost += 1
          if lines.last != row.line { lines.append(row.line) }
        }
      }
      fingerprint.add(row.text)
      if withLabel, gold.relations.isEmpty { empty += 1 }
      golds.append(gold)
      sequences.append(
        SequenceInput(
          ids: input.ids, segments: input.segments, exampleID: UInt64(number),
          target: relation.method == .gplinker ? gold.linkerTarget : gold.target(first: nil)))
    }
    try problems.check()
    let finding = DataReport.Finding(
      kind: "entities", file: file, unit: unit, rows: lines, total: rows.count,
      sentence:
        "\(lost) triples have a subject or object that is not found in what is read of their text; \(empty) rows have none that is and are not learnt from",
      remedy: "raise data.maxLength or data.maxCharacters, or correct these rows")
    return ExampleSet(
      file: file, sequences: sequences, truncation: report, fingerprint: fingerprint.text,
      notes: notes, findings: lines.isEmpty ? [] : [finding],
      decoder: RelationDecoder(definition, relation, golds))
  }
}

/// The recipe of 2019's `repair`: lower case, no title marks, and a subject that is part of a title becomes the title.
enum TitleRepair {
  /// Works and songs have predicates of their own; an album that is no song was not sung, written or composed.
  private static let album = "所属专辑", songs: Set = ["歌手", "作词", "作曲"]

  static func repaired(_ row: RelationFile.Row) -> RelationFile.Row {
    let text = row.text.lowercased()
    let titles = titles(in: text)
    var albums: Set<String> = [], sung: Set<String> = []
    var triples: [RelationFile.Triple] = []
    for var triple in row.triples {
      triple.subject = plain(triple.subject)
      triple.object = plain(triple.object)
      for title in titles
      where title.contains(triple.subject) && occurrences(of: triple.subject, in: text) == 1 {
        triple.subject = title
      }
      if triple.predicate == album {
        albums.insert(triple.object)
        sung.insert(triple.subject)
      }
      triples.append(triple)
    }
    triples.removeAll {
      songs.contains($0.predicate) && albums.contains($0.subject) && !sung.contains($0.subject)
    }
    return RelationFile.Row(
      line: row.line, text: text, triples: triples, hasTriples: row.hasTriples)
  }

  private static func plain(_ text: String) -> String {
    text.trimmingCharacters(in: CharacterSet(charactersIn: "《》"))
      .trimmingCharacters(in: .whitespacesAndNewlines).lowercased()
  }

  private static func titles(in text: String) -> [String] {
    var titles: [String] = []
    var open: String?
    for character in text {
      if character == "《" {
        open = ""
      } else if character == "》", let title = open {
        titles.append(title.trimmingCharacters(in: .whitespacesAndNewlines))
        open = nil
      } else {
        open?.append(character)
      }
    }
    return titles
  }

  private static func occurrences(of part: String, in text: String) -> Int {
    part.isEmpty ? 0 : text.components(separatedBy: part).count - 1
  }
}
