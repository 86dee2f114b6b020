import Foundation
import Model
import Text

/// The rows of a run, split and filtered as its recipe says: a function of the files and the recipe, the same on every rank.
package struct DataFiles {
  private(set) var train: any TaskRows
  private(set) var dev: (any TaskRows)?
  private(set) var test: (any TaskRows)?
  /// Sentences on what was left out.
  private(set) var notes: [String] = []

  /// Reads all files, each problem noted by `attempt`; nil if any cannot be read.
  init?(_ recipe: Recipe, _ findings: inout Findings) {
    let layout = recipe.layout, data = recipe.data
    let train = findings.attempt { try layout.read(data.train, withLabel: true) }
    let dev = findings.attempt { try data.dev.map { try layout.read($0, withLabel: true) } }
    let test = findings.attempt { try data.test.map { try layout.read($0, withLabel: true) } }
    guard let train, let dev, let test else { return nil }
    (self.train, self.dev, self.test) = (train, dev, test)
    split(recipe)
    drop(recipe)
  }

  /// Puts groups of rows that belong together, such as those of equal text, by a draw of the split's seed into train, dev or test.
  private mutating func split(_ recipe: Recipe) {
    let (devShare, testShare) = (recipe.data.splitDev ?? 0, recipe.data.splitTest ?? 0)
    guard devShare + testShare > 0 else { return }
    let philox = Philox(seed: recipe.data.splitSeed)
    var parts: [String: Int] = [:]
    let places = train.reported.map { row -> Int in
      if let part = parts[row.group] { return part }
      let words = philox.block(
        SIMD4(UInt32(parts.count), 0, 0, RandomPurpose.dataSplit.word()))
      let draw = Double(UInt64(words[0]) << 32 | UInt64(words[1])) * 0x1p-64
      let part = draw < devShare ? 1 : draw < devShare + testShare ? 2 : 0
      parts[row.group] = part
      return part
    }
    let whole = train
    func take(_ part: Int) -> any TaskRows { whole.filtered { places[$0] == part } }
    train = take(0)
    if devShare > 0 { dev = take(1) }
    if testShare > 0 { test = take(2) }
    let counts = (0..<3).map { part in places.count { $0 == part } }
    notes.append(
      "\(whole.file): split by seed \(recipe.data.splitSeed) into \(counts[0]) training, \(counts[1]) dev and \(counts[2]) test rows; \(whole.unit == .question ? "questions on one text" : "equal texts") stay together"
    )
  }

  private mutating func drop(_ recipe: Recipe) {
    let data = recipe.data
    if data.dropsLeaked {
      let known = Set([dev, test].compactMap { $0 }.flatMap { $0.reported.map(\.text) })
      dropRows("whose text stands in the dev or test rows") { known.contains($0.text) }
    }
    if data.dropsDuplicates {
      var seen: Set<String> = []
      dropRows("that repeat an earlier one's text") { !seen.insert($0.text).inserted }
    }
  }

  private mutating func dropRows(_ what: String, _ isDropped: (DataReport.Row) -> Bool) {
    let dropped = train.reported.map(isDropped)
    let count = dropped.count { $0 }
    train = train.filtered { !dropped[$0] }
    notes.append("\(train.file): \(count) of \(dropped.count) training rows \(what) are left out")
  }

  /// What every rank must hold alike of the rows before the ranks of a host tokenize them together.
  var fingerprint: String {
    var hash = RowFingerprint()
    for rows in [train, dev, test].compactMap({ $0 }) {
      hash.add("\(rows.count) \(rows.unread?.count ?? 0)")
      for row in rows.reported {
        hash.add(row.text)
        hash.add(row.label)
      }
    }
    return hash.text
  }

  /// The report on all rows.
  func report(_ context: TaskContext) throws -> DataReport {
    let splits = [("train", train), ("dev", dev), ("test", test)].compactMap { name, rows in
      rows.map { DataReport.Split(name: name, file: $0.file, unit: $0.unit, rows: $0.reported) }
    }
    return try DataReport(
      splits: splits, vocabulary: context.tokenizer.vocabulary, tokenize: context.tokenize)
  }

  /// Keeps the rows that examples were made of.
  mutating func keep(train: any TaskRows, dev: (any TaskRows)?, test: (any TaskRows)?) {
    (self.train, self.dev, self.test) = (train, dev, test)
  }

  /// The examples of `rows`, and the rows that they are of; up to `limit` rows that are wrong are left out, and said.
  ///
  /// - Throws: `DataErrors` with all problems where more rows are wrong, or a problem is not of a row.
  package static func examples(
    _ rows: any TaskRows, _ context: TaskContext, skippingUpTo limit: Int
  ) throws -> (rows: any TaskRows, set: ExampleSet) {
    var rows = rows
    // Rows that could not be taken apart are none already; they count, if there are not too many of them.
    let unread = rows.unread.flatMap { $0.count <= limit ? $0 : nil }
    var skipped: Set<Int> = [], said = unread?.said ?? []
    var first: DataErrors?
    while true {
      do {
        let set =
          unread == nil
          ? try rows.allExamples(context, withLabel: true)
          : try rows.examples(context, withLabel: true)
        let count = skipped.count + (unread?.count ?? 0)
        guard count > 0 else { return (rows, set) }
        let note = "\(set.file): \(count) rows are left out (data.skipBad):"
        return (rows, set.noting(([note] + said).joined(separator: "\n  ")))
      } catch let error as DataErrors {
        // An error shows its first problems only, so a file with many is read several times.
        let whole = first ?? unread.map { $0.errors.merged(with: error) } ?? error
        first = whole
        let wrong = error.problems.compactMap(\.row)
        guard wrong.count == error.problems.count, !wrong.isEmpty else { throw whole }
        skipped.formUnion(wrong)
        said += error.problems.map(\.description)
        guard rows.unread == nil || unread != nil, skipped.count + (unread?.count ?? 0) <= limit
        else {
          throw whole.advising(
            "Correct these rows, or leave wrong ones out with --skip-bad N (data.skipBad), at most N of each file."
          )
        }
        let numbers = rows.reported.map(\.line)
        let left = rows.filtered { !skipped.contains(numbers[$0]) }
        // Every time round has fewer rows, so this ends; and a file of wrong rows alone is no file of rows.
        guard left.count > 0, left.count < rows.count else { throw whole }
        rows = left
      }
    }
  }
}

extension UnreadRows {
  /// A line for each problem that is known, and how many are not.
  fileprivate var said: [String] {
    let more = errors.count - errors.problems.count
    return errors.problems.map(\.description) + (more > 0 ? ["and \(more) more problems"] : [])
  }
}

extension ExampleSet {
  /// The same with one more note.
  func noting(_ note: String) -> ExampleSet {
    ExampleSet(
      file: file, sequences: sequences, rows: rows, truncation: truncation,
      fingerprint: fingerprint, notes: notes + [note], findings: findings, decoder: decoder)
  }
}

extension ExampleSet {
  /// What was cut off when these examples were made: of a reading task questions only, of masked words nothing, since they have windows.
  func truncationFindings(_ definition: TaskDefinition, _ unit: RowUnit) -> [DataReport.Finding] {
    guard truncation.cutRows > 0 else { return [] }
    let (cut, rows) = (truncation.cutRows, truncation.rows)
    let isReading = definition.task == .reading
    return [
      DataReport.Finding(
        kind: "truncation", file: file, unit: unit, rows: truncation.firstCut, count: cut,
        total: rows,
        sentence: isReading
          ? "\(cut) of \(rows) questions are longer than reading.maxQuestion; \(truncation.cutTokens) of their tokens are not read"
          : "\(cut) of \(rows) rows are longer than data.maxLength \(definition.maxLength) allows; \(truncation.cutTokens) tokens are not read",
        remedy: isReading
          ? "raise reading.maxQuestion"
          : definition.task == .tagging
            ? "raise data.maxLength, or split the sentences"
            : "raise data.maxLength, or keep both ends with data.truncation: head+tail(n)")
    ]
  }
}
