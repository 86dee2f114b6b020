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
