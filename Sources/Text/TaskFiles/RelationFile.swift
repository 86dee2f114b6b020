import Foundation

/// Texts with their (subject, predicate, object) triples, as DuIE and the recipes of 2019 write them.
///
/// JSON Lines or one JSON array of `{"text": …, "spo_list": […]}`, where a triple is a list of three texts or an object with `subject`,
/// `predicate` and `object`; other keys are passed over. For prediction `text` alone is needed; triples that are there are read.
package struct RelationFile: Sendable {
  package struct Triple: Sendable, Hashable, Decodable {
    package var subject: String
    package var predicate: String
    package var object: String

    package init(_ subject: String, _ predicate: String, _ object: String) {
      self.subject = subject
      self.predicate = predicate
      self.object = object
    }

    private enum Key: String, CodingKey { case subject, predicate, object }

    package init(from decoder: any Decoder) throws {
      if var list = try? decoder.unkeyedContainer() {
        guard list.count == 3 else {
          throw DecodingError.dataCorrupted(
            .init(
              codingPath: decoder.codingPath,
              debugDescription: "a triple has three texts, this one has \(list.count ?? 0)"))
        }
        subject = try list.decode(String.self)
        predicate = try list.decode(String.self)
        object = try list.decode(String.self)
        return
      }
      let keys = try decoder.container(keyedBy: Key.self)
      subject = try keys.decode(String.self, forKey: .subject)
      predicate = try keys.decode(String.self, forKey: .predicate)
      object = try keys.decode(String.self, forKey: .object)
    }
  }

  package struct Row: Sendable, Equatable {
    /// Its line, or its number in the array.
    package let line: Int
    package let text: String
    package let triples: [Triple]
    /// Whether the file says what the triples are; without it there are none here.
    package let hasTriples: Bool

    package init(line: Int, text: String, triples: [Triple], hasTriples: Bool = true) {
      self.line = line
      self.text = text
      self.triples = triples
      self.hasTriples = hasTriples
    }
  }

  package let file: String
  /// What the numbers of the rows count.
  package let unit: RowUnit
  package let rows: [Row]
  /// Lines of rows, read for prediction, whose `spo_list` is no list of triples.
  package let unreadable: [Int]
  /// Rows that could not be read and are not among `rows`.
  package let unread: UnreadRows?

  package init(
    file: String, unit: RowUnit = .line, rows: [Row], unreadable: [Int] = [],
    unread: UnreadRows? = nil
  ) {
    self.file = file
    self.unit = unit
    self.rows = rows
    self.unreadable = unreadable
    self.unread = unread
  }

  private struct Labelled: Decodable { let text: String, spo_list: [Triple] }

  /// A row to predict: its triples may be absent, or of a kind that is not read.
  private struct Bare: Decodable {
    let text: String
    let triples: [Triple]?
    let isUnreadable: Bool

    private enum Key: String, CodingKey { case text, spo_list }

    init(from decoder: any Decoder) throws {
      let keys = try decoder.container(keyedBy: Key.self)
      text = try keys.decode(String.self, forKey: .text)
      do {
        triples = try keys.decodeIfPresent([Triple].self, forKey: .spo_list)
        isUnreadable = false
      } catch {
        (triples, isUnreadable) = (nil, true)
      }
    }
  }

  private static let expected =
    "write {\"text\": \"…\", \"spo_list\": [[\"subject\", \"predicate\", \"object\"], …]}, one a line"

  /// Reads `input`.
  ///
  /// Throws all its problems together; with `keepsUnread` those of single rows are `unread`, if there are others.
  package static func read(
    _ input: any RowInput, withTriples: Bool, keepsUnread: Bool = false
  ) throws(DataErrors) -> RelationFile {
    guard withTriples else {
      let found = try JSONObjects.read(
        input, as: Bare.self, expected: expected, keepsUnread: keepsUnread)
      return RelationFile(
        file: found.file, unit: found.unit,
        rows: found.items.map {
          Row(
            line: $0.line, text: $0.value.text, triples: $0.value.triples ?? [],
            hasTriples: $0.value.triples != nil)
        }, unreadable: found.items.filter(\.value.isUnreadable).map(\.line), unread: found.unread)
    }
    let found = try JSONObjects.read(
      input, as: Labelled.self, expected: expected, keepsUnread: keepsUnread)
    return RelationFile(
      file: found.file, unit: found.unit,
      rows: found.items.map {
        Row(line: $0.line, text: $0.value.text, triples: $0.value.spo_list)
      }, unread: found.unread)
  }
}
