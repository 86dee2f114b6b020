import Foundation
import Yams

/// A recipe's YAML as a tree in which every key and value knows where it was written.
indirect enum RecipeNode: Sendable {
  /// `text` as written; `isQuoted` tells "5" from 5.
  case scalar(text: String, isQuoted: Bool)
  case list([LocatedNode])
  case section([(key: String, place: RecipePlace, value: LocatedNode)])

  /// What was found, for messages.
  var kind: String {
    switch self {
    case .scalar(let text, _): "\"\(text)\""
    case .list: "a list"
    case .section: "a section"
    }
  }

  /// Whether the node stands for "nothing given": an empty value, `~` or `null`.
  var isNull: Bool {
    if case .scalar(let text, isQuoted: false) = self { return ["", "~", "null"].contains(text) }
    return false
  }
}

/// A node and its place.
struct LocatedNode: Sendable {
  var node: RecipeNode
  var place: RecipePlace
}

/// Where a piece of a recipe was written: a file's line and column, or a `--set` option.
package struct RecipePlace: Sendable, Equatable, CustomStringConvertible {
  package let description: String
  /// Whether it was given on the command line: paths there are relative to the working directory.
  let isOverride: Bool

  init(file: String, line: Int, column: Int) {
    self.init("\(file):\(line):\(column)")
  }

  init(_ description: String, isOverride: Bool = false) {
    self.description = description
    self.isOverride = isOverride
  }
}

extension LocatedNode {
  /// Bytes that a recipe file may have.
  private static let sizeLimit = 1 << 20
  /// Nodes that a recipe may have, aliases expanded: a guard against files that unfold without end.
  private static let nodeLimit = 100_000

  /// The tree of the YAML file at `url`.
  static func read(_ url: URL) throws(RecipeErrors) -> LocatedNode {
    let name = url.relativePath
    let bytes: Data
    do {
      bytes = try Data(contentsOf: url)
    } catch {
      let exists = FileManager.default.fileExists(atPath: url.path)
      throw RecipeErrors(
        RecipePlace(name),
        exists
          ? "the recipe cannot be read: \(error.localizedDescription) Give the path of a YAML file."
          : "the recipe is not there. Give the path of a YAML file.")
    }
    guard bytes.count <= sizeLimit else {
      throw RecipeErrors(
        RecipePlace(name),
        "the recipe file has \(bytes.count) bytes; a recipe has at most \(sizeLimit). Is this the recipe?"
      )
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw RecipeErrors(
        RecipePlace(name), "the recipe file is not valid UTF-8. Save it as UTF-8.")
    }
    return try parse(text, file: name)
  }

  /// The tree of `yaml`; an empty text is an empty section.
  static func parse(_ yaml: String, file: String) throws(RecipeErrors) -> LocatedNode {
    do {
      guard let root = try Yams.compose(yaml: yaml) else {
        return LocatedNode(node: .section([]), place: RecipePlace(file: file, line: 1, column: 1))
      }
      var budget = nodeLimit
      return try LocatedNode(root, file: file, budget: &budget)
    } catch let error as RecipeErrors {
      throw error
    } catch let error as YamlError {
      throw RecipeErrors(yaml: error, file: file)
    } catch {
      throw RecipeErrors(RecipePlace(file), "\(error)")
    }
  }

  private init(_ node: Node, file: String, budget: inout Int) throws {
    place = RecipePlace(file: file, line: node.mark?.line ?? 1, column: node.mark?.column ?? 1)
    budget -= 1
    guard budget >= 0 else {
      throw RecipeErrors(
        place, "the recipe has more than \(Self.nodeLimit) values once its aliases are expanded.")
    }
    switch node {
    case .scalar(let scalar):
      self.node = .scalar(
        text: scalar.string, isQuoted: scalar.style != .plain && scalar.style != .any)
    case .sequence(let items):
      var list: [LocatedNode] = []
      for item in items { list.append(try LocatedNode(item, file: file, budget: &budget)) }
      self.node = .list(list)
    case .mapping(let pairs):
      var section: [(key: String, place: RecipePlace, value: LocatedNode)] = []
      for (key, value) in pairs {
        let keyPlace = RecipePlace(
          file: file, line: key.mark?.line ?? 1, column: key.mark?.column ?? 1)
        guard let name = key.scalar?.string else {
          throw RecipeErrors(keyPlace, "a key must be a word; found \(Self.kind(of: key)).")
        }
        section.append(
          (name, keyPlace, try LocatedNode(value, file: file, budget: &budget)))
      }
      self.node = .section(section)
    case .alias:
      throw RecipeErrors(place, "an alias refers to nothing. Define its anchor first.")
    }
  }

  private static func kind(of node: Node) -> String {
    node.sequence == nil ? "a section" : "a list"
  }

  /// This tree with `--set path=value` applied: the value is YAML and replaces what stood at `path`.
  func setting(_ assignment: String) throws(RecipeErrors) -> LocatedNode {
    let place = RecipePlace("--set \(assignment)", isOverride: true)
    guard let equals = assignment.firstIndex(of: "="), equals != assignment.startIndex else {
      throw RecipeErrors(
        place, "an override has the form key=value, such as optimizer.learningRate=2e-5.")
    }
    let path = assignment[..<equals].split(separator: ".", omittingEmptySubsequences: false)
    let text = String(assignment[assignment.index(after: equals)...])
    var value: LocatedNode
    do {
      value = try Self.parse(text, file: "value")
    } catch {
      throw RecipeErrors(place, "the value \"\(text)\" is not YAML. Quote it.")
    }
    if text.isEmpty { value.node = .scalar(text: "", isQuoted: false) }
    return replacing(path.map(String.init)[...], by: value.placed(at: place), place: place)
  }

  private func replacing(
    _ path: ArraySlice<String>, by value: LocatedNode, place: RecipePlace
  ) -> LocatedNode {
    guard let key = path.first else { return value }
    var entries: [(key: String, place: RecipePlace, value: LocatedNode)] = []
    // What is no section is replaced by one: `--set data.test=…` after `data: null` does what it says.
    if case .section(let found) = node { entries = found }
    let rest = path.dropFirst()
    if let at = entries.firstIndex(where: { $0.key == key }) {
      entries[at].value = entries[at].value.replacing(rest, by: value, place: place)
    } else {
      let empty = LocatedNode(node: .section([]), place: place)
      entries.append((key, place, empty.replacing(rest, by: value, place: place)))
    }
    return LocatedNode(node: .section(entries), place: self.place)
  }

  private func placed(at place: RecipePlace) -> LocatedNode {
    switch node {
    case .scalar: LocatedNode(node: node, place: place)
    case .list(let items):
      LocatedNode(node: .list(items.map { $0.placed(at: place) }), place: place)
    case .section(let entries):
      LocatedNode(
        node: .section(entries.map { ($0.key, place, $0.value.placed(at: place)) }), place: place)
    }
  }
}
