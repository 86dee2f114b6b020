import Foundation
import TestSupport
import Testing
import Text
import Trainer

/// The report says of each task what was cut off when its inputs were made, and nothing else.
@Suite struct TruncationFindingTests {
  static func findings(_ name: String, _ overrides: [String]) throws -> [DataReport.Finding] {
    let (folder, recipe) = try MadeUpFamily.named(name).written(dropout: 0)
    defer { withExtendedLifetime(folder) {} }
    return try PreparedRun(Recipe(contentsOf: recipe, overrides: overrides), threads: 1)
      .report.findings.filter { $0.kind == "truncation" }
  }

  /// Each of these was longer than `data.maxLength` as one joined text.
  @Test(arguments: [
    // Texts of at most 8 and 11 tokens, each with a room of 11.
    ("siamese", 13),
    // Ten tokens and a question of three, in windows.
    ("reading", 14),
    // Eleven tokens in windows of 6.
    ("masked-lm", 8),
    // Sentences of 6 or 7 tokens.
    ("tagging softmax", 9),
  ])
  func `what is read in windows or by itself is not cut`(name: String, length: Int) throws {
    #expect(try Self.findings(name, ["data.maxLength=\(length)"]).isEmpty)
  }

  @Test(arguments: [
    // Of texts of 4 + 3i mod 5 and 5 + 5i mod 7 tokens four are read.
    (
      "siamese", ["data.maxLength=6"], 32, 2,
      "32 of 32 rows are longer than data.maxLength 6 allows; 188 tokens are not read"
    ),
    // Half of the sentences lose one token, the others two.
    (
      "tagging crf", ["data.maxLength=7"], 32, 1,
      "32 of 32 rows are longer than data.maxLength 7 allows; 48 tokens are not read"
    ),
    // "the hotel ?"
    (
      "reading", ["reading.maxQuestion=2"], 32, 1,
      "32 of 32 questions are longer than reading.maxQuestion; 32 of their tokens are not read"
    ),
  ])
  func `what is cut is counted row by row`(
    name: String, overrides: [String], count: Int, first: Int, sentence: String
  ) throws {
    let found = try Self.findings(name, overrides)
    // The file is training and dev rows at once.
    #expect(found.count == 2)
    for finding in found {
      #expect(finding.count == count && finding.total == 32 && finding.lines.count == 5)
      #expect(finding.lines.first == first)
      #expect(finding.sentence == sentence)
    }
    #expect(found[0].unit == (name == "reading" ? .question : .line))
  }

  @Test func `a joined pair loses what the two texts together have too much`() throws {
    let found = try Self.findings(
      "siamese", ["pair.mode=joined", "pair.comparison=null", "data.maxLength=10"])
    // [CLS] 4 + 3i mod 5 [SEP] 5 + 5i mod 7 [SEP].
    #expect(found.count == 2 && found[0].sentence.hasSuffix("; 220 tokens are not read"))
    #expect(found[0].lines == [2, 3, 4, 5, 6])
  }
}
