import Foundation
import TestSupport
import Testing
import Text
import Trainer

/// What a row says to be in its text and is not is in the data report, with its line.
@Suite struct EntityFindingTests {
  static let cases = [
    (
      "relation mean", "{\"text\":\"北京是大国的城市\",\"spo_list\":[[\"天山\",\"属于\",\"大国\"]]}\n", 33,
      "1 triples have a subject or object that is not found in what is read of their text; 1 rows have none that is and are not learnt from"
    ),
    (
      "relation gplinker", "{\"text\":\"北京是大国的城市\",\"spo_list\":[[\"大国\",\"属于\",\"天山\"]]}\n", 33,
      "1 triples have a subject or object that is not found in what is read of their text; 1 rows have none that is and are not learnt from"
    ),
    (
      "event-subject", "\"32\",\"大山公司卖\",\"高价\",\"小国公司\"\n", 34,
      "the entity of 1 rows does not occur in what is read of their text; they are not learnt from"
    ),
  ]

  @Test(arguments: cases)
  func `an entity that its text lacks is found`(
    name: String, row: String, line: Int, sentence: String
  ) throws {
    let family = MadeUpFamily.named(name)
    let (folder, recipe) = try family.written(dropout: 0)
    defer { withExtendedLifetime(folder) {} }
    func findings() throws -> [DataReport.Finding] {
      try PreparedRun(Recipe(contentsOf: recipe), threads: 1).report.findings.filter {
        $0.kind == "entities"
      }
    }
    #expect(try findings().isEmpty)
    try Data((family.rows + row).utf8).write(to: folder.url.appending(path: family.file))
    // The file is training and dev rows at once.
    let found = try findings()
    #expect(found.count == 2)
    for finding in found {
      #expect(finding.lines == [line] && finding.count == 1 && finding.total == 33)
      #expect(finding.sentence == sentence)
      #expect(finding.remedy.hasPrefix("raise data.maxLength"))
      #expect(finding.description.contains("/\(family.file):\(line): "))
    }
  }
}
