import Foundation
import Text

/// The labels of a classification in the order of the outputs, and what a cell says in their terms.
package struct LabelVocabulary: Sendable {
  package let labels: [String]
  private let numbers: [String: Int]

  package init(_ labels: [String]) {
    self.labels = labels
    numbers = Dictionary(zip(labels, labels.indices), uniquingKeysWith: { first, _ in first })
  }

  /// Number of the label.
  package func number(of label: String) -> Int? { numbers[label] }

  /// The distinct labels of `cells` in order: by value if all are numbers, else by their bytes.
  package static func sorted(_ cells: some Sequence<String>) -> [String] {
    let distinct = Array(Set(cells))
    let values = distinct.compactMap { text in Double(text).flatMap { $0.isFinite ? $0 : nil } }
    func precedes(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }
    guard values.count == distinct.count else { return distinct.sorted(by: precedes) }
    return zip(values, distinct).sorted {
      // "1" and "1.0" are two labels of one value.
      $0.0 != $1.0 ? $0.0 < $1.0 : precedes($0.1, $1.1)
    }.map(\.1)
  }

  /// The labels that a multi-label cell names; spaces around each are dropped, an empty cell has none.
  package static func split(_ cell: String, separator: String) -> [String] {
    cell.components(separatedBy: separator)
      .map { $0.trimmingCharacters(in: CharacterSet(charactersIn: " ")) }
      .filter { !$0.isEmpty }
  }

  /// What is said of a label that is not one.
  func remedy(for label: String) -> String {
    if let meant = suggestion(for: label, among: labels) {
      return "did you mean \(DataProblem.quoted(meant))? The labels are \(DataProblem.list(labels))"
    }
    return "use one of \(DataProblem.list(labels)), or name it in data.labels and train with it"
  }
}
