import Yams

/// One thing that is wrong with a recipe.
package struct RecipeProblem: Sendable, Equatable, CustomStringConvertible {
  package let place: RecipePlace
  package let message: String

  package var description: String { "\(place): \(message)" }
}

/// All that is wrong with a recipe, reported together; one line each.
package struct RecipeErrors: Error, Sendable, CustomStringConvertible {
  package let problems: [RecipeProblem]

  package var description: String { problems.map(\.description).joined(separator: "\n") }

  init(_ problems: [RecipeProblem]) { self.problems = problems }

  init(_ place: RecipePlace, _ message: String) {
    problems = [RecipeProblem(place: place, message: message)]
  }

  /// A syntax error, with the place that the parser names.
  init(yaml error: YamlError, file: String) {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      self.init(
        RecipePlace(file: file, line: mark.line, column: mark.column),
        "this is not YAML: \(problem). Check the indentation and the quotes here.")
    case .duplicatedKeysInMapping(let duplicates, let context):
      let keys = duplicates.map { "`\($0)`" }.joined(separator: ", ")
      self.init(
        RecipePlace(file: file, line: context.mark.line, column: context.mark.column),
        "a section may give each key once; given twice: \(keys).")
    default:
      self.init(RecipePlace(file), "this is not YAML: \(error).")
    }
  }
}

/// Finds the word that was probably meant.
package enum Suggestion {
  /// The candidate nearest to `word` by edit distance, if it is near enough to be meant.
  package static func nearest(to word: String, among candidates: [String]) -> String? {
    let folded = Array(word.lowercased().utf8)
    let ranked = candidates.map { ($0, distance(folded, Array($0.lowercased().utf8))) }
    guard let best = ranked.min(by: { $0.1 < $1.1 }) else { return nil }
    // One slip for every three letters of the longer word.
    return best.1 <= max(1, max(folded.count, best.0.utf8.count) / 3) ? best.0 : nil
  }

  /// Insertions, removals, replacements and swaps of neighbours that turn `a` into `b`
  /// (optimal string alignment).
  package static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
    var before = [Int](repeating: 0, count: b.count + 1)
    var last = Array(0...b.count)
    for i in 1...a.count {
      var row = [Int](repeating: i, count: b.count + 1)
      for j in 1...b.count {
        let replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
        row[j] = min(replaced, last[j] + 1, row[j - 1] + 1)
        if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
          row[j] = min(row[j], before[j - 2] + 1)
        }
      }
      before = last
      last = row
    }
    return last[b.count]
  }
}
