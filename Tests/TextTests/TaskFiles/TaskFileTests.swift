import Foundation
import TestSupport
import Testing
import Text

/// Files of the tasks: what is read of them, and what is said of those that are wrong.
@Suite struct TaskFileTests {
  /// A file of that content; the name stands in messages.
  static func file(_ text: String, _ name: String, _ body: (URL) throws -> Void) throws {
    try file(Data(text.utf8), name, body)
  }

  static func file(_ data: Data, _ name: String, _ body: (URL) throws -> Void) throws {
    let folder = try TemporaryFolder()
    let url = URL(filePath: name, relativeTo: URL(filePath: folder.url.path + "/"))
    try data.write(to: url)
    try body(url)
  }

  static func problems(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "nothing was thrown"
    } catch {
      return "\(error)"
    }
  }

  // MARK: BIO

  @Test func `tagged sentences are read with the line of their first token`() throws {
    let text = "\u{FEFF}北 B-LOC\r\n京 I-LOC\r\n\r\n\r\n好\tO\n1 x B-PER"
    try Self.file(text, "a.bio") { url in
      let file = try BIOFile.read(url, withTags: true)
      #expect(
        file.sentences == [
          BIOFile.Sentence(line: 1, tokens: ["北", "京"], tags: ["B-LOC", "I-LOC"]),
          BIOFile.Sentence(line: 5, tokens: ["好", "1"], tags: ["O", "B-PER"]),
        ])
      let bare = try BIOFile.read(url, withTags: false)
      #expect(bare.sentences.map(\.tokens) == [["北", "京"], ["好", "1"]])
      #expect(bare.sentences.map(\.tags) == [[], []])
    }
  }

  @Test func `malformed tags name their line, or are mended and counted`() throws {
    let text = "a I-PER\nb O\nc I-LOC\nd B-LOC\ne I-PER\nf\ng X-LOC\n\nh B-\n"
    try Self.file(text, "a.bio") { url in
      #expect(
        Self.problems { _ = try BIOFile.read(url, withTags: true) } == """
          a.bio:1: "I-PER": continues an entity but starts a sentence: correct the tag to B-PER, or set tagging.continuation: repair
          a.bio:3: "I-LOC": continues an entity but follows O: correct the tag to B-LOC, or set tagging.continuation: repair
          a.bio:5: "I-PER": continues an entity but follows B-LOC: correct the tag to B-PER, or set tagging.continuation: repair
          a.bio:6: "f": a line has a token and its tag, this one has a single field: add the tag (O outside of entities), or make the line blank if a sentence ends here
          a.bio:7: "X-LOC": is no BIO tag: use O, B-TYPE for the first token of an entity, I-TYPE inside
          a.bio:9: "B-": is no BIO tag: use O, B-TYPE for the first token of an entity, I-TYPE inside
          6 problems.
          """)
    }
    try Self.file("a I-PER\nb I-PER\nc I-LOC\n", "a.bio") { url in
      let file = try BIOFile.read(url, withTags: true, continuation: .repair)
      #expect(file.sentences[0].tags == ["B-PER", "I-PER", "B-LOC"])
      #expect(file.repaired == 2)
    }
  }

  @Test(arguments: [
    (Data("\n\n".utf8), "there is no sentence in it"), (Data(), "the file is empty"),
    (Data([0x61, 0x20, 0x4F, 0x0A, 0xFF, 0x20, 0x4F]), "a.bio:2: byte 0xFF"),
    (Data([0x61, 0x00, 0x20, 0x4F]), "is NUL"), (Data([0xFF, 0xFE, 0x61, 0x00]), "UTF-16"),
  ])
  func `what is no tagged text is refused`(data: Data, part: String) throws {
    try Self.file(data, "a.bio") { url in
      let said = Self.problems { _ = try BIOFile.read(url, withTags: true) }
      #expect(said.contains(part), "\(said)")
    }
  }

  // MARK: Relations

  @Test(arguments: [
    """
    {"text":"甲是乙","spo_list":[["甲","是","乙"]],"postag":[]}
    {"text":"丙","spo_list":[{"subject":"丙","predicate":"p","object":"丙","subject_type":"x"}]}
    """,
    """
    [{"text":"甲是乙","spo_list":[["甲","是","乙"]]},
     {"text":"丙","spo_list":[{"object":"丙","predicate":"p","subject":"丙"}]}]
    """,
  ])
  func `triples are lists or objects, in lines or in an array`(text: String) throws {
    try Self.file(text, "a.json") { url in
      let file = try RelationFile.read(url, withTriples: true)
      #expect(file.rows.map(\.line) == [1, 2])
      #expect(file.rows.map(\.text) == ["甲是乙", "丙"])
      #expect(
        file.rows.map(\.triples) == [
          [RelationFile.Triple("甲", "是", "乙")], [RelationFile.Triple("丙", "p", "丙")],
        ])
      // Rows to predict keep theirs, for what is new and what is missing.
      let bare = try RelationFile.read(url, withTriples: false)
      #expect(bare.rows.map(\.triples) == file.rows.map(\.triples))
    }
  }

  @Test func `every row that is no row of triples is named`() throws {
    let text = """
      {"text":"甲","spo_list":[["甲","是"]]}
      {"text":"甲"}
      {"text":5,"spo_list":[]}
      {"text":"甲","spo_list":[{"subject":"甲","predicate":"p"}]}
      {"text":"甲","spo_list":[
      """
    try Self.file(text, "a.jsonl") { url in
      let said = Self.problems { _ = try RelationFile.read(url, withTriples: true) }
      for part in [
        "a.jsonl:1: ", "spo_list.[0]: a triple has three texts, this one has 2",
        "a.jsonl:2: \"{\\\"text\\\":\\\"甲\\\"}\": the object lacks the key \"spo_list\"",
        "a.jsonl:3: ", "text is of another type",
        "a.jsonl:4: ", "spo_list.[0] lacks the key \"object\"", "a.jsonl:5: ", "is not JSON",
        "5 problems.",
      ] { #expect(said.contains(part), "\(part) is not in\n\(said)") }
    }
    try Self.file("[{\"text\":\"a\"},{\"text\":1,\"spo_list\":[]}]", "a.json") { url in
      let said = Self.problems { _ = try RelationFile.read(url, withTriples: true) }
      #expect(
        said.contains("a.json: element 1: the object lacks the key \"spo_list\""))
      #expect(said.contains("a.json: element 2: text is of another type"))
    }
    for (text, part) in [("[]", "there is no object in it"), ("[{", "is not JSON")] {
      try Self.file(text, "a.json") { url in
        let said = Self.problems { _ = try RelationFile.read(url, withTriples: true) }
        #expect(said.contains(part), "\(said)")
      }
    }
  }

  // MARK: Reading

  static func squad(_ qas: String, context: String = "甲在😀北京。") -> String {
    "{\"version\":\"1\",\"data\":[{\"title\":\"t\",\"paragraphs\":[{\"context\":\"\(context)\",\"qas\":[\(qas)]}]}]}"
  }

  @Test func `answers stand at scalars, and those that do not are set apart`() throws {
    let text = Self.squad(
      """
      {"id":"1","question":"?","answers":[{"text":"北京","answer_start":3},{"text":"北京","answer_start":2}]},
      {"id":2,"question":"?","answers":{"text":"甲","answer_start":0}},
      {"id":"3","question":"?","answers":[],"is_impossible":true},
      {"id":"4","question":"?","answers":[{"text":"甲","answer_start":-1}]},
      {"id":"5","question":"?","answers":[{"text":"甲","answer_start":9223372036854775807}]}
      """)
    try Self.file(text, "a.json") { url in
      let file = try ReadingFile.read(url, withAnswers: true)
      #expect(file.questions.map(\.id) == ["1", "2", "3", "4", "5"])
      #expect(
        file.questions.map(\.answers) == [
          [ReadingFile.Answer(text: "北京", start: 3)], [ReadingFile.Answer(text: "甲", start: 0)],
          [], [], [],
        ])
      #expect(file.questions.map(\.isImpossible) == [false, false, true, false, false])
      #expect(file.questions.map(\.texts) == [["北京", "北京"], ["甲"], [], ["甲"], ["甲"]])
      #expect(file.misplaced.count == 3)
      #expect(
        file.misplaced[0]
          == "question 1: the answer \"北京\" does not stand at scalar 2 of its context")
    }
  }

  @Test(arguments: [
    ("{\"data\":[]}", "there is no question in it"), ("{\"data\":5}", "data is of another type"),
    ("[1]", "is of another type"),
    ("{\"data\":[{\"paragraphs\":[{\"qas\":[]}]}]}", "lacks the key \"context\""),
    ("{\"data\":[", "is not JSON"),
    (squad("{\"id\":\"1\",\"question\":\"\"}"), "the question 1 is empty"),
    (
      squad("{\"id\":\"1\",\"question\":\"a\"},{\"id\":\"1\",\"question\":\"b\"}"),
      "\"1\": is the id of two questions"
    ),
  ])
  func `what is not SQuAD's form is refused with the place`(text: String, part: String) throws {
    try Self.file(text, "a.json") { url in
      let said = Self.problems { _ = try ReadingFile.read(url, withAnswers: true) }
      #expect(said.hasPrefix("a.json: ") && said.contains(part), "\(said)")
    }
  }
}
