import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// GPLinker as a method of the relation task: its recipe, its targets, its files.
@Suite struct GPLinkerTaskTests {
  let task: MadeUpTask

  init() throws { task = try MadeUpTask(train: 2, dev: 1, test: 1) }

  func recipe(_ overrides: [String]) throws -> Recipe {
    try Recipe(contentsOf: task.recipe, overrides: overrides)
  }

  static func definition(_ recipe: Recipe) -> TaskDefinition {
    TaskDefinition(
      recipe, labels: ["位于", "属于"], lowercase: true, configuration: tinyConfiguration())
  }

  @Test(arguments: [
    ("conditioning", "mean"), ("startThreshold", "0.5"), ("endThreshold", "0.4"),
    ("subjectPower", "2"), ("objectPower", "1"),
  ])
  func `what only the cascade reads is refused`(key: String, value: String) throws {
    let keys = ["task=relation", "relation.\(key)=\(value)"]
    let error = try #require(
      #expect(throws: RecipeErrors.self) {
        try recipe(keys + ["relation.method=gplinker"])
      })
    #expect(
      error.problems.map(\.description) == [
        "--set relation.\(key)=\(value): `relation.\(key)` applies to `relation.method: cascade`. Leave it out."
      ])
    #expect(try recipe(keys + ["relation.method=cascade"]) == recipe(keys))
  }

  @Test func `a clipped loss and a method that there is not are refused`() throws {
    func said(_ overrides: [String]) throws -> [String] {
      let error = #expect(throws: RecipeErrors.self) { try recipe(overrides) }
      return try #require(error).problems.map(\.description)
    }
    #expect(
      try said(["task=relation", "relation.method=gplinker", "classification.clipped=true"]) == [
        "--set classification.clipped=true: `classification.clipped` applies to `relation.method: cascade`, whose outputs are sigmoids. Leave it out."
      ])
    #expect(
      try said(["task=relation", "relation.method=gplinkr"]) == [
        "--set relation.method=gplinkr: `relation.method` must be one of cascade, gplinker; found \"gplinkr\". Did you mean gplinker?"
      ])
    #expect(
      try said(["relation.method=gplinker"]) == [
        "--set relation.method=gplinker: `relation.method` applies to `task: relation`. Leave it out."
      ])
  }

  @Test func `the cascade is named in no file, GPLinker in all`() throws {
    let cascade = try recipe(["task=relation"])
    let linker = try recipe(["task=relation", "relation.method=gplinker"])
    #expect(!cascade.yaml.contains("method") && cascade.yaml.contains("conditioning: mean"))
    #expect(try recipe(["task=relation", "relation.method=cascade"]).yaml == cascade.yaml)
    #expect(linker.yaml.contains("method: gplinker") && !linker.yaml.contains("conditioning"))
    #expect(linker.resultDigest != cascade.resultDigest)
    for recipe in [cascade, linker] {
      #expect(try Recipe(yaml: recipe.yaml, folder: task.url) == recipe)
      // Beside the weights.
      let definition = Self.definition(recipe), data = try definition.encoded()
      #expect(try JSONDecoder().decode(TaskDefinition.self, from: data) == definition)
      let said = try #require(
        JSONSerialization.jsonObject(with: data) as? [String: Any])
      let section = try #require(said["relation"] as? [String: Any])
      #expect(section["method"] as? String == (recipe == linker ? "gplinker" : nil))
    }
    #expect(Self.definition(linker).head.kind == .gplinker)
    #expect(Self.definition(linker).head.outputs == 2)
  }

  @Test func `powers of the sigmoids are bert4keras' or the recipe's, and otherwise named nowhere`()
    throws
  {
    func powers(_ overrides: [String]) throws -> [Int?] {
      let recipe = try recipe(["task=relation"] + overrides)
      #expect(try Recipe(yaml: recipe.yaml, folder: task.url) == recipe)
      guard case .relation(let relation) = Self.definition(recipe).head.kind else { return [] }
      #expect(
        recipe.yaml.contains("Power")
          == (relation.subjectPower != nil || relation.objectPower != nil))
      return [relation.subjectPower, relation.objectPower]
    }
    #expect(try powers([]) == [nil, nil])
    #expect(try powers(["model.dialect=bert4keras"]) == [2, 4])
    #expect(try powers(["model.dialect=bert4keras", "relation.objectPower=1"]) == [2, 1])
    #expect(try powers(["relation.subjectPower=3"]) == [3, nil])
    #expect(throws: RecipeErrors.self) { try powers(["relation.subjectPower=0"]) }
  }

  @Test func `all triples of a row are learnt at every step, a repeated text at its first place`()
    throws
  {
    // 北京 is tokens 1–2 and again 10–11, 上海 4–5, 山城 7–8; 天山 is not there.
    let row = """
      {"text":"北京，上海，山城，北京","spo_list":[["北京","位于","山城"],["上海","属于","北京"],["北京","属于","天山"],["北京","位于","山城"]]}
      {"text":"北京，上海","spo_list":[["北京","属于","天山"]]}

      """
    let task = try DecodedTask(
      ["task=relation", "relation.method=gplinker"], labels: ["位于", "属于"])
    let set = try task.examples(row, "rows.jsonl", withLabel: true)
    let target = Head.linkerTarget([
      ((1, 2), (7, 8), 0), ((4, 5), (1, 2), 1), ((1, 2), (7, 8), 0),
    ])
    #expect(set.sequences[0].target == target)
    for step in 0..<20 {
      #expect(set.decoder.input(set.sequences[0], step: step, seed: 4) == set.sequences[0])
    }
    // A row without a triple that is found is not learnt from, as with the cascade.
    #expect(set.sequences[1].target.isEmpty)
  }

  @Test func `triples of GPLinker are mirrored, left out and compared as the cascade's are`() throws
  {
    let task = try DecodedTask(
      [
        "task=relation", "relation.method=gplinker", "relation.symmetric={妻子: 丈夫}",
        "relation.excludedSubjects={歌手: 所属专辑}",
      ], labels: ["妻子", "所属专辑", "歌手"])
    let set = try task.examples(
      #"{"text":"北京，上海，山城","spo_list":[["北京","妻子","上海"],["山城","妻子","北京"]]}"# + "\n", "rows.jsonl")
    let places = [
      HeadSpan(start: 1, end: 2, score: 1), HeadSpan(start: 4, end: 5, score: 1),
      HeadSpan(start: 4, end: 5, score: 1, isObject: true),
      HeadSpan(start: 7, end: 8, score: 1, isObject: true),
    ]
    // 北京 and 上海: wife, album. 上海, which is an album alone, and 山城: singer.
    let pairs: [Float] =
      [1, 1, 0, 1, 1, 0] + [0, 0, 0, 0, 0, 0] + [0, 0, 0, 0, 0, 0] + [0, 0, 1, 0, 0, 1]
    let said = try set.said(task.definition.head.linkerTriples(places, pairs))
    #expect(
      said["spo_list_pred"] as? [[String]] == [
        ["北京", "妻子", "上海"], ["上海", "丈夫", "北京"], ["北京", "所属专辑", "上海"],
      ])
    #expect(said["new"] as? [[String]] == [["上海", "丈夫", "北京"], ["北京", "所属专辑", "上海"]])
    #expect(said["lack"] as? [[String]] == [["山城", "妻子", "北京"]])
  }
}
