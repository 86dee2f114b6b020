import Foundation
import Text

extension RecipeReader {
  /// The file or folder that `key` names, which must exist; `what` it is if the recipe cannot do without.
  func path(_ key: String, folder: URL, what: String? = nil) -> URL? {
    guard let text = string(key) else {
      if let what, !has(key) {
        findings.add(place, "`\(path(of: key))` is missing: \(what).")
      }
      return nil
    }
    let place = place(of: key)
    let base = place.isOverride ? FileManager.default.currentDirectoryPath : folder.path
    let url = URL(filePath: text.hasPrefix("/") ? text : "\(base)/\(text)").standardizedFileURL
    // A TensorFlow checkpoint is named by a prefix that is no file itself.
    let exists = [url.path, url.path + ".index"].contains {
      FileManager.default.fileExists(atPath: $0)
    }
    if !exists {
      let start = place.isOverride ? "working directory" : "recipe's folder"
      findings.add(
        place,
        "`\(path(of: key))`: \(url.path) does not exist. Correct the path"
          + (text.hasPrefix("/") ? "." : "; it starts at the \(start)."))
    }
    return url
  }

  /// Bytes, as a whole number with an optional unit: `1500M`, `3G`, `2GiB`.
  func memory(_ key: String) -> Int? {
    guard let text = string(key) else { return nil }
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }.lowercased()
    let factors = [
      "": 1, "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30,
      "gib": 1 << 30,
    ]
    if let number = Int(digits), number > 0, let factor = factors[unit] {
      let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
      if !overflow { return bytes }
    }
    findings.add(
      place(of: key), "`\(path(of: key))` must be a size such as 1500M or 3G; found \"\(text)\".")
    return nil
  }

  /// A truncation policy in the spelling of `Truncation`.
  func truncation(_ key: String) -> Truncation? {
    guard let text = string(key) else { return nil }
    if let truncation = Truncation(rawValue: text) { return truncation }
    let words = [
      "google", "bert4keras", "huggingface", "only-first", "only-second", "head+tail(n)", "error",
    ]
    let meant = suggestion(for: text, among: words).map { " Did you mean \($0)?" } ?? ""
    findings.add(
      place(of: key),
      "`\(path(of: key))` must be one of \(words.joined(separator: ", ")); found \"\(text)\".\(meant)"
    )
    return nil
  }

  /// Notes labels that cannot be a vocabulary of this task.
  func checkLabels(_ labels: [String]?, task: Recipe.Task, kind: Recipe.ClassificationKind) {
    guard let labels else { return }
    let place = place(of: "labels")
    guard [.classification, .pair, .relation, .tagging].contains(task) else {
      findings.add(
        place, "`data.labels` does not apply to `task: \(task.rawValue)`. Leave it out.")
      return
    }
    var seen: Set<String> = []
    for label in labels where !seen.insert(label).inserted {
      findings.add(place, "`data.labels` gives \"\(label)\" twice.")
    }
    guard task == .classification || task == .pair else { return }
    let least = kind == .multiLabel ? 1 : 2
    if labels.count < least || (kind == .binarySigmoid && labels.count > 2) {
      let needed = kind == .binarySigmoid ? "exactly 2" : "at least \(least)"
      findings.add(
        place, "`data.labels` has \(labels.count); \(kind.rawValue) needs \(needed) labels.")
    }
  }
}
