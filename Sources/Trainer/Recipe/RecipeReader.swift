import Text

/// Reads one section of a recipe: typed values by key, every problem noted, unknown keys found at the end.
///
/// A key is known because it was asked for, so reading code is the one list of a section's keys.
final class RecipeReader {
  /// What all sections of one recipe share: the problems found and the keys asked for.
  final class Findings {
    var problems: [RecipeProblem] = []
    /// Full paths of the keys asked for, in order.
    var keys: [String] = []

    func add(_ place: RecipePlace, _ message: String) {
      problems.append(RecipeProblem(place: place, message: message))
    }
  }

  let findings: Findings
  /// The section's path with a dot at its end; empty at the root.
  private let prefix: String
  private var entries: [String: (keyPlace: RecipePlace, value: LocatedNode)] = [:]
  private var order: [String] = []
  private var known: [String] = []
  /// The full path of `key`.
  func path(of key: String) -> String { prefix + key }

  /// The section's place.
  let place: RecipePlace

  /// Reads the root section `document`.
  init(_ document: LocatedNode, findings: Findings = Findings()) {
    self.findings = findings
    prefix = ""
    place = document.place
    take(document, name: "the recipe")
  }

  private init(_ node: LocatedNode?, prefix: String, parent: RecipeReader) {
    findings = parent.findings
    self.prefix = prefix
    place = node?.place ?? parent.place
    if let node { take(node, name: "`\(prefix.dropLast())`") }
  }

  private func take(_ node: LocatedNode, name: String) {
    switch node.node {
    case .section(let pairs):
      for pair in pairs {
        entries[pair.key] = (pair.place, pair.value)
        order.append(pair.key)
      }
    case _ where node.node.isNull: break
    default:
      findings.add(node.place, "\(name) must be a section of keys; found \(node.node.kind).")
    }
  }

  /// Notes every key of this section that nothing asked for.
  func finish() {
    for key in order where !known.contains(key) {
      guard let entry = entries[key] else { continue }
      let meant = suggestion(for: key, among: known)
      let remedy =
        meant.map { "Did you mean `\(prefix)\($0)`?" }
        ?? "Known keys here: \(known.joined(separator: ", "))."
      findings.add(entry.keyPlace, "unknown key `\(prefix)\(key)`. \(remedy)")
    }
  }

  /// Where the value of `key` stands, or the section if it is absent.
  func place(of key: String) -> RecipePlace { entries[key]?.value.place ?? place }

  /// The keys that are given, in their order.
  var givenKeys: [String] { order.filter(has) }

  /// Whether `key` is given as a text.
  func isText(_ key: String) -> Bool {
    if case .scalar? = entries[key]?.value.node { return has(key) }
    return false
  }

  /// Whether `key` is given.
  func has(_ key: String) -> Bool { entries[key].map { !$0.value.node.isNull } ?? false }

  /// The subsection `key`, empty if absent.
  func section(_ key: String) -> RecipeReader {
    known.append(key)
    return RecipeReader(entries[key]?.value, prefix: "\(prefix)\(key).", parent: self)
  }

  // MARK: Values

  /// The value of `key` as `read` understands it; nil if absent or (noted) of another kind.
  private func value<T>(_ key: String, _ expected: String, _ read: (RecipeNode) -> T?) -> T? {
    known.append(key)
    findings.keys.append(prefix + key)
    guard let value = entries[key]?.value, !value.node.isNull else { return nil }
    guard let result = read(value.node) else {
      findings.add(
        value.place, "`\(prefix)\(key)` must be \(expected); found \(value.node.kind).")
      return nil
    }
    return result
  }

  func string(_ key: String) -> String? {
    value(key, "a text") { node in
      if case .scalar(let text, _) = node { text } else { nil }
    }
  }

  func integer(_ key: String, _ range: ClosedRange<Int>) -> Int? {
    value(key, Self.words(range)) { node in
      guard case .scalar(let text, isQuoted: false) = node,
        let number = Int(text.replacing("_", with: "")), range.contains(number)
      else { return nil }
      return number
    }
  }

  func number(_ key: String, _ range: NumberRange) -> Double? {
    value(key, range.description) { node in
      guard case .scalar(let text, isQuoted: false) = node, let number = Double(text),
        range.contains(number)
      else { return nil }
      return number
    }
  }

  func flag(_ key: String) -> Bool? {
    value(key, "true or false") { node in
      guard case .scalar(let text, isQuoted: false) = node else { return nil }
      return Bool(text)
    }
  }

  /// One of the raw values of `T`, with a suggestion.
  func choice<T: RawRepresentable & CaseIterable>(_ key: String, _ type: T.Type) -> T?
  where T.RawValue == String {
    choice(key, among: T.allCases.map(\.rawValue)).flatMap(T.init(rawValue:))
  }

  /// One of `words`, with a suggestion; or what begins like `pattern`, such as `f1.TYPE`, up to its full stop.
  func choice(_ key: String, among words: [String], or pattern: String? = nil) -> String? {
    guard let word = string(key) else { return nil }
    if words.contains(word) { return word }
    if let pattern, let stop = pattern.firstIndex(of: ".") {
      let beginning = pattern[...stop]
      if word.hasPrefix(beginning), word.count > beginning.count { return word }
    }
    let words = words + [pattern].compactMap { $0 }
    let meant = suggestion(for: word, among: words).map { " Did you mean \($0)?" } ?? ""
    findings.add(
      place(of: key),
      "`\(prefix)\(key)` must be one of \(words.joined(separator: ", ")); found \"\(word)\".\(meant)"
    )
    return nil
  }

  /// A list of texts; a single text is a list of one.
  func strings(_ key: String) -> [String]? {
    value(key, "a list of texts") { node in
      switch node {
      case .scalar(let text, _): return [text]
      case .list(let items):
        let texts = items.compactMap { item -> String? in
          if case .scalar(let text, _) = item.node { text } else { nil }
        }
        return texts.count == items.count ? texts : nil
      case .section: return nil
      }
    }
  }

  /// A list of numbers of `range`, `count` of them.
  func numbers(_ key: String, count: Int, _ range: NumberRange) -> [Double]? {
    value(key, "a list of \(count) numbers, each \(range.description)") { node in
      guard case .list(let items) = node, items.count == count else { return nil }
      let numbers = items.compactMap { item -> Double? in
        guard case .scalar(let text, isQuoted: false) = item.node, let number = Double(text),
          range.contains(number)
        else { return nil }
        return number
      }
      return numbers.count == count ? numbers : nil
    }
  }

  /// A section whose keys are numbers and whose values are numbers, such as `{1000: 1, 2000: 0.1}`.
  func points(_ key: String) -> [(step: Int, value: Double)]? {
    value(key, "a section of step: multiplier") { node in
      guard case .section(let pairs) = node else { return nil }
      let points = pairs.compactMap { pair -> (step: Int, value: Double)? in
        guard let step = Int(pair.key), step >= 0,
          case .scalar(let text, isQuoted: false) = pair.value.node, let value = Double(text),
          value.isFinite, value >= 0
        else { return nil }
        return (step, value)
      }
      return points.count == pairs.count ? points.sorted { $0.step < $1.step } : nil
    }
  }

  /// A section of texts by name.
  func texts(_ key: String) -> [String: String]? {
    value(key, "a section of name: text") { node in
      guard case .section(let pairs) = node else { return nil }
      let texts = pairs.compactMap { pair -> (String, String)? in
        if case .scalar(let text, _) = pair.value.node { (pair.key, text) } else { nil }
      }
      return texts.count == pairs.count ? Dictionary(texts) { $1 } : nil
    }
  }

  /// A section of numbers of `range` by name.
  func numbersByName(_ key: String, _ range: NumberRange) -> [String: Double]? {
    value(key, "a section of name: number, each \(range.description)") { node in
      guard case .section(let pairs) = node else { return nil }
      let numbers = pairs.compactMap { pair -> (String, Double)? in
        guard case .scalar(let text, isQuoted: false) = pair.value.node, let number = Double(text),
          range.contains(number)
        else { return nil }
        return (pair.key, number)
      }
      return numbers.count == pairs.count ? Dictionary(numbers) { $1 } : nil
    }
  }

  private static func words(_ range: ClosedRange<Int>) -> String {
    range.upperBound == Int.max
      ? "a whole number of at least \(range.lowerBound) and below 2⁶³"
      : "a whole number from \(range.lowerBound) to \(range.upperBound)"
  }
}

/// The numbers that a key admits, and how a message says it.
struct NumberRange {
  let description: String
  let contains: @Sendable (Double) -> Bool

  static let positive = NumberRange(description: "a finite number above 0") {
    $0 > 0 && $0.isFinite
  }
  static let nonNegative = NumberRange(description: "a number of at least 0") {
    $0 >= 0 && $0.isFinite
  }
  static let any = NumberRange(description: "a number") { $0.isFinite }
  /// Of [0, 1).
  static let fraction = NumberRange(description: "a number of at least 0 and below 1") {
    // Below 1 in single precision as well, in which it is computed with.
    $0 >= 0 && Float($0) < 1
  }
}
