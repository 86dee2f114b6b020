import Testing
import Text

@Test(arguments: [("the", false), ("The", true), ("##X", true), ("[MASK2]", false), ("北", false)])
func `a vocabulary is cased when an entry outside brackets has a capital letter`(
  entry: String, isCased: Bool
) throws {
  let lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", entry]
  let vocabulary = try Vocabulary(bytes: Array(lines.joined(separator: "\n").utf8), name: "vocab")
  #expect(vocabulary.hasCapitals == isCased)
  #expect(vocabulary.caseNote.hasPrefix(isCased ? "cased" : "uncased"))
}
