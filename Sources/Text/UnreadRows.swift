/// Rows of a file that could not be taken apart, and so are not among its rows: lines with too many fields, of broken JSON, that are not UTF-8.
package struct UnreadRows: Sendable, Equatable {
  /// How many rows they are.
  package let count: Int
  /// What is wrong with them; a row may have several problems.
  package let errors: DataErrors
}

/// Gathers the problems of rows that cannot be taken apart while a file is read.
struct UnreadRowCollector {
  /// Problems of the file as a whole are added here, and checked at once.
  var problems = DataProblemCollector()
  private(set) var count = 0
  /// Whether what is behind a problem is not known either, so that its row cannot be passed over.
  private var isFatal = false

  /// Counts a row with `problem`; a `fatal` one hides what is behind it.
  mutating func add(_ problem: DataProblem, fatal: Bool = false) {
    problems.add(problem)
    countRow()
    isFatal = isFatal || fatal
  }

  /// Counts a row whose problems were added to `problems`.
  mutating func countRow() { count += 1 }

  /// The rows that were not read, where the others can be used without them; nil if all were.
  ///
  /// Throws all problems where none may be passed over (not `isKept`), one hides what is behind it, or no row is left.
  func result(isKept: Bool, rowsLeft: Int) throws(DataErrors) -> UnreadRows? {
    guard isKept, !isFatal, rowsLeft > 0 else {
      try problems.check()
      return nil
    }
    guard count > 0 else { return nil }
    return UnreadRows(
      count: count, errors: DataErrors(problems: problems.problems, count: problems.count))
  }
}

extension DataErrors {
  /// These problems of a file and `others` of it, in the order of its rows.
  package func merged(with others: DataErrors) -> DataErrors {
    // Stable: problems of one row stay as they are.
    let all = (problems + others.problems).enumerated().sorted {
      ($0.element.place, $0.offset) < ($1.element.place, $1.offset)
    }
    return DataErrors(
      problems: all.prefix(DataProblemCollector.shown).map(\.element),
      count: count + others.count, advice: advice ?? others.advice)
  }
}

extension DataProblem {
  /// Where it stands among the problems of its file; problems of the whole file come first.
  fileprivate var place: Int { line ?? row ?? 0 }
}
