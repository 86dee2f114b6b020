/// Something a file of weights, or a folder around it, holds that cannot be used.
///
/// The description is one sentence: the file, what was found there, and what would work.
package struct WeightsError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The rule that was broken: what a caller may want to tell apart.
  package enum Rule: String, Sendable {
    case ambiguous, checksum, configuration, elementType, family, format, missing, notFinite, output
    case shape, truncated, version
  }

  package let rule: Rule
  /// The file or folder, as the user would name it.
  package let file: String
  package let finding: String
  package let remedy: String

  package init(_ rule: Rule, _ file: String, _ finding: String, _ remedy: String) {
    self.rule = rule
    self.file = file
    self.finding = finding
    self.remedy = remedy
  }

  package var description: String { "\(file): \(finding); \(remedy)." }
}

extension WeightsError {
  /// The remedy for files that were cut short or changed on their way.
  static let fetchAgain = "fetch or copy the file again"

  static func truncated(_ file: String, _ place: String, needed: Int, available: Int) -> Self {
    WeightsError(
      .truncated, file, "\(place) needs \(needed) bytes where \(available) are left", fetchAgain)
  }

  static func malformed(_ file: String, _ finding: String) -> Self {
    WeightsError(.format, file, finding, fetchAgain)
  }
}
