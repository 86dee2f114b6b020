import Collective
import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

/// Wrong rows of each task: named with their place, or left out up to a limit.
@Suite struct SkippedRowsTests {
  /// A made-up family whose dev rows are `dev`, prepared with `overrides`, alone or as one of several ranks.
  struct Case {
    let family: MadeUpFamily
    let folder: TemporaryFolder
    let recipe: URL
    let dev: String

    init(_ name: String, dev rows: String) throws {
      family = MadeUpFamily.named(name)
      (folder, recipe) = try family.written(dropout: 0)
      dev = folder.url.appending(path: "dev-\(family.file)").path
      try Data(rows.utf8).write(to: URL(filePath: dev))
    }

    func prepared(_ overrides: [String] = [], group: RankGroup? = nil) throws -> PreparedRun {
      try PreparedRun(
        Recipe(contentsOf: recipe, overrides: ["data.dev=\(dev)"] + overrides), threads: 1,
        group: group)
    }

    /// What is said when nothing may be skipped, and the note when `limit` rows may; without the folder.
    func said(skipping limit: Int) throws -> (error: String, run: PreparedRun, note: String) {
      let error = #expect(throws: PreparationErrors.self) { try prepared() }
      let run = try prepared(["data.skipBad=\(limit)"])
      let note = run.notes.first { $0.contains("data.skipBad") } ?? ""
      return (shortened(error?.description ?? ""), run, shortened(note))
    }

    func shortened(_ text: String) -> String {
      text.replacing(folder.url.path + "/", with: "").replacing(folder.url.path, with: "")
    }
  }

  static let advice =
    "\nCorrect these rows, or leave wrong ones out with --skip-bad N (data.skipBad), at most N of each file."

  /// Two tags of one sentence are unknown: it is one row.
  static let tagged = "the O\nhotel B-LOC\n\nthe O\nbook B-ORG\nwas O\nroom B-ORG\n\nfilm B-PER\n"

  @Test func `an unknown type inside a sentence takes out the whole sentence`() throws {
    let found = try Case("tagging softmax", dev: Self.tagged).said(skipping: 1)
    let sentences = """
      dev-rows.bio:5: "B-ORG": is not a tag of this model: use one of "B-LOC", "B-PER", "I-LOC", "I-PER", "O", or leave other types out with tagging.types
      """
    #expect(found.error.contains(sentences))
    #expect(found.error.contains("dev-rows.bio:7: \"B-ORG\""))
    #expect(found.error.hasSuffix("2 problems." + Self.advice))
    #expect(found.run.dev?.sequences.count == 2)
    #expect(found.note.hasPrefix("dev-rows.bio: 1 rows are left out (data.skipBad):"))
    #expect(found.note.contains("dev-rows.bio:5: ") && found.note.contains("dev-rows.bio:7: "))
  }

  @Test func `a file of malformed sentences alone is an error that cannot be skipped`() throws {
    let wrong = try Case("tagging crf", dev: "the O\nbook I-PER\n\nfilm B_PER\n")
    let error = #expect(throws: PreparationErrors.self) { try wrong.prepared(["data.skipBad=5"]) }
    let said = wrong.shortened(error?.description ?? "")
    #expect(said.contains("dev-rows.bio:2: \"I-PER\": continues an entity but follows O"))
    #expect(said.contains("dev-rows.bio:4: \"B_PER\": is no BIO tag"))
  }

  @Test func `unknown predicates and empty texts are wrong, entities that are not found are not`()
    throws
  {
    let dev = """
      {"text":"北京是中国的城市","spo_list":[["北京","属于","中国"]]}
      {"text":"北京是中国的城市","spo_list":[["北京","是","中国"]]}
      {"text":"上海是大国的城市","spo_list":[["天山","属于","大国"]]}
      {"text":" ","spo_list":[]}
      """
    let found = try Case("relation mean", dev: dev).said(skipping: 2)
    #expect(
      found.error.hasPrefix(
        "dev-rows.jsonl:2: column \"predicate\": \"是\": is not a predicate of this model: "))
    #expect(
      found.error.contains(
        "dev-rows.jsonl:4: column \"text\": the text is empty: write it, or remove the row"))
    #expect(found.run.dev?.sequences.count == 2)
    #expect(found.note.hasPrefix("dev-rows.jsonl: 2 rows are left out (data.skipBad):"))
    let missing = try #require(found.run.report.findings.first { $0.kind == "entities" })
    #expect(missing.lines == [3] && missing.count == 1 && missing.total == 2)
    // Nor is anything said to be empty that was left out.
    #expect(!found.run.report.findings.contains { $0.kind == "empty" })
  }

  @Test func `a subject longer than what is read is counted with its line and not learnt from`()
    throws
  {
    let long = "{\"text\":\"北京是大国的城市\",\"spo_list\":[[\"北京是大国的城市\",\"属于\",\"大国\"]]}\n"
    let run = try Case("relation mean", dev: long).prepared(["data.maxLength=8"])
    let missing = try #require(
      run.report.findings.first { $0.kind == "entities" && $0.file.hasSuffix("dev-rows.jsonl") })
    #expect(missing.lines == [1] && missing.sentence.hasPrefix("1 triples have a subject or"))
    #expect(run.dev?.sequences.first?.target.isEmpty == true)
  }

  @Test func `elements of an array are told apart although they have no lines`() throws {
    let dev = """
      [{"text":"北京是中国的城市","spo_list":[["北京","是","中国"]]}, {"text":"北京是中国的城市","spo_list":[["北京","属于","中国"]]}]
      """
    let found = try Case("relation mean", dev: dev).said(skipping: 1)
    #expect(found.error.hasPrefix("dev-rows.jsonl: element 1: column \"predicate\": \"是\": "))
    #expect(found.run.dev?.sequences.count == 1)
  }

  @Test func `an event without text is wrong`() throws {
    let dev = "id,text,type,entity\n1,大山公司卖,高价,大山公司\n2,\"  \",高价,大山公司\n"
    let found = try Case("event-subject", dev: dev).said(skipping: 1)
    #expect(
      found.error.hasPrefix(
        "dev-rows.csv:3: column \"text\": the text is empty: write it, or remove the row"))
    #expect(found.run.dev?.sequences.count == 1)
    #expect(found.note.contains("dev-rows.csv:3: "))
  }

  @Test func `a question on no text is wrong and has a number instead of a line`() throws {
    func paragraph(_ id: String, _ context: String, _ answer: String) -> String {
      "{\"context\":\"\(context)\",\"qas\":[{\"id\":\"\(id)\",\"question\":\"the ?\",\"answers\":[{\"text\":\"\(answer)\",\"answer_start\":0}]}]}"
    }
    let dev =
      "{\"data\":[{\"paragraphs\":[\(paragraph("a", " ", "")),\(paragraph("b", "good", "good"))]}]}"
    let found = try Case("reading", dev: dev).said(skipping: 1)
    #expect(
      found.error.hasPrefix(
        "dev-rows.json: question 1: column \"context\": the text is empty: write it, or remove the row"
      ))
    #expect(found.run.dev?.rows.count == 1)
  }

  @Test(arguments: [("a", " "), ("", "b"), ("a", "")])
  func `a pair needs both texts`(first: String, second: String) throws {
    let dev = "text1\ttext2\tlabel\nthe hotel\tthe room\tsame\n\(first)\t\(second)\tsame\n"
    let found = try Case("siamese", dev: dev).said(skipping: 1)
    let column = first.isEmpty ? "text1" : "text2"
    #expect(
      found.error.hasPrefix("dev-rows.tsv:3: column \"\(column)\": the text is empty: "))
    #expect(found.run.dev?.sequences.count == 1)
  }

  @Test func `rows of a JSON array on one line are left out one by one`() throws {
    let task = try MadeUpTask()
    try task.write(
      "[{\"text\": \"good\", \"label\": \"pos\"}, {\"text\": \"\", \"label\": \"neg\"}, {\"text\": \"bad\", \"label\": \"neg\"}]",
      to: "train.json")
    let run = try PreparedRun(
      Recipe(
        contentsOf: task.recipe,
        overrides: [
          "data.train=\(task.url.appending(path: "train.json").path)", "data.skipBad=1",
        ]), threads: 1)
    #expect(run.train.sequences.count == 2)
    #expect(run.notes.contains { $0.contains("train.json:1: column \"text\": the text is empty") })
  }

  @Test(arguments: [1, 2, 3])
  func `all ranks leave out the same rows`(ranks: Int) throws {
    let tagged = try Case("tagging softmax", dev: Self.tagged)
    let (recipe, dev) = (tagged.recipe, tagged.dev)
    let found = try onRanks(ranks) { collective in
      let recipe = try Recipe(
        contentsOf: recipe, overrides: ["data.dev=\(dev)", "data.skipBad=5"])
      let run = try PreparedRun(
        recipe, threads: 1, group: RankGroup(collective, leaves: recipe.batch.leaves))
      return (run.dev?.fingerprint, run.notes, run.report.findings)
    }
    let alone = try tagged.prepared(["data.skipBad=5"])
    for (fingerprint, notes, findings) in found {
      #expect(fingerprint == alone.dev?.fingerprint && notes == alone.notes)
      #expect(findings == alone.report.findings)
    }
    #expect(alone.dev?.sequences.count == 2)
  }

  /// Rows whose problem is of a row that they do not have, or of the only one that they have.
  private struct Stubborn: TaskRows {
    let file = "f"
    var count: Int { reported.count }
    let reported: [DataReport.Row]
    let wrong: Int

    func filtered(_ isKept: (Int) -> Bool) -> Stubborn {
      Stubborn(
        reported: reported.indices.filter(isKept).map { reported[$0] }, wrong: wrong)
    }

    func labels(_ recipe: Recipe) throws -> [String] { [] }

    func examples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet {
      throw DataErrors(DataProblem(file: file, line: wrong, rule: "is wrong", remedy: "mend it"))
    }
  }

  @Test(arguments: [([1, 2], 7), ([1], 1), ([1, 2], 1)])
  func `leaving out rows ends with the error where none, or no row, would be left`(
    lines: [Int], wrong: Int
  ) throws {
    let task = try MadeUpTask(train: 2, dev: 1, test: 1)
    let definition = TaskDefinition(
      try Recipe(contentsOf: task.recipe), labels: ["neg", "pos"], lowercase: true,
      configuration: tinyConfiguration())
    let tokenizer = Tokenizer(
      vocabulary: try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt")),
      kind: definition.tokenizer, lowercase: true)
    let rows = Stubborn(
      reported: lines.map { DataReport.Row(line: $0, text: "good", label: nil) }, wrong: wrong)
    let error = #expect(throws: DataErrors.self) {
      try DataFiles.examples(
        rows, TaskContext(definition, tokenizer: tokenizer, threads: 1), skippingUpTo: 5)
    }
    #expect(error?.description == "f:\(wrong): is wrong: mend it")
  }
}
