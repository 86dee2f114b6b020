import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

private func recipe(_ overrides: [String] = []) throws -> Recipe {
  let task = try MadeUpTask(train: 2, dev: 1, test: 1)
  return try Recipe(contentsOf: task.recipe, overrides: overrides)
}

/// Rows as examples of the task that `overrides` make of the recipe.
private struct Reader {
  let recipe: Recipe
  let context: TaskContext

  func examples(_ rows: RowFile, withLabel: Bool) throws -> ExampleSet {
    try LabelledRows(rows, recipe.layout).examples(context, withLabel: withLabel)
  }
}

private func reader(_ overrides: [String], labels: [String]) throws -> Reader {
  let vocabulary = try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt"))
  let recipe = try recipe(overrides)
  let definition = TaskDefinition(
    recipe, labels: labels, lowercase: true, configuration: tinyConfiguration(dropout: 0.1))
  return Reader(
    recipe: recipe,
    context: TaskContext(
      definition,
      tokenizer: Tokenizer(vocabulary: vocabulary, kind: definition.tokenizer, lowercase: true),
      threads: 2))
}

@Suite struct TaskTests {
  @Test(arguments: [
    (["b", "a", "a"], ["a", "b"]), (["10", "9", "-1"], ["-1", "9", "10"]),
    (["10", "9", "x"], ["10", "9", "x"]), (["1.0", "1"], ["1", "1.0"]), (["é", "z"], ["z", "é"]),
  ])
  func `labels are sorted, numbers by value`(cells: [String], labels: [String]) {
    #expect(LabelVocabulary.sorted(cells) == labels)
  }

  @Test func `rows become inputs whose number is that of the row`() throws {
    let rows = RowFile(
      file: "f",
      rows: [
        Row(line: 2, values: ["a good movie", "pos"]), Row(line: 3, values: ["bad", "neg"]),
      ])
    let set = try reader([], labels: ["neg", "pos"]).examples(rows, withLabel: true)
    #expect(set.sequences.map(\.exampleID) == [0, 1])
    #expect(set.sequences.map(\.target) == [[1], [0]])
    #expect(set.sequences[0].ids == [7, 42, 84, 86, 8])
    #expect(set.tokenCount == 8)
  }

  @Test func `a multi-label cell sets one output a label, and may be empty`() throws {
    let reader = try reader(["classification.kind=multi-label"], labels: ["a", "b", "c"])
    let rows = RowFile(
      file: "f",
      rows: [
        Row(line: 1, values: ["x", "c, a"]), Row(line: 2, values: ["x", ""]),
      ])
    let set = try reader.examples(rows, withLabel: true)
    #expect(set.sequences.map(\.target) == [[1, 0, 1], [0, 0, 0]])
    let bad = RowFile(file: "f", rows: [Row(line: 7, values: ["x", "a,d"])])
    #expect(throws: DataErrors.self) { try reader.examples(bad, withLabel: true) }
  }

  @Test
  func `a head's dropout is the recipe's, the model's own for classifiers, or its hidden one`()
    throws
  {
    func dropout(_ overrides: [String], classifier: Float?) throws -> Float {
      var configuration = tinyConfiguration(dropout: 0.1)
      configuration.classifierDropout = classifier
      return TaskDefinition(
        try recipe(overrides), labels: ["a", "b"], lowercase: true, configuration: configuration
      ).head.dropout
    }
    #expect(try dropout([], classifier: nil) == 0.1)
    #expect(try dropout([], classifier: 0.3) == 0.3)
    #expect(try dropout(["head.dropout=0.2"], classifier: 0.3) == 0.2)
    #expect(try dropout(["model.dialect=google"], classifier: 0.3) == 0.1)
    for dialect in Dialect.allCases {
      for task in ["event-subject", "reading", "relation"] {
        let overrides = ["task=\(task)", "model.dialect=\(dialect.rawValue)"]
        #expect(try dropout(overrides, classifier: 0.3) == 0)
      }
    }
  }

  @Test func `characters are cut before tokens are made`() throws {
    let reader = try reader(["data.maxCharacters=6"], labels: ["a", "b"])
    let rows = RowFile(file: "f", rows: [Row(line: 1, values: ["a good movie", "a"])])
    #expect(try reader.examples(rows, withLabel: true).sequences[0].ids == [7, 42, 84, 8])
  }

  @Test func `what is cut is counted`() throws {
    let reader = try reader(["data.maxLength=4"], labels: ["a", "b"])
    let rows = RowFile(
      file: "f",
      rows: [
        Row(line: 1, values: ["a good movie", "a"]), Row(line: 2, values: ["a", "b"]),
      ])
    let report = try reader.examples(rows, withLabel: true).truncation
    #expect(report.cutRows == 1 && report.cutTokens == 1 && report.longest == 5)
  }

  @Test func `the fingerprint knows every value and where it ends`() throws {
    let reader = try reader([], labels: ["a", "b"])
    func fingerprint(_ values: [[String?]]) throws -> String {
      let rows = values.enumerated().map { Row(line: $0.offset, values: $0.element) }
      return try reader.examples(RowFile(file: "f", rows: rows), withLabel: true).fingerprint
    }
    let first = try fingerprint([["x", "a"], ["y", "b"]])
    #expect(try fingerprint([["x", "a"], ["y", "b"]]) == first)
    #expect(try fingerprint([["y", "b"], ["x", "a"]]) != first)
    #expect(try fingerprint([["xa", "a"], ["y", "b"]]) != first)
    #expect(first.utf8.count == 64)
  }

  @Test func `a definition reads back as itself, and a damaged one is refused`() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let file = folder.url.appending(path: TaskDefinition.fileName)
    let definition = TaskDefinition(
      try recipe(), labels: ["neg", "pos"], lowercase: true,
      configuration: tinyConfiguration(dropout: 0.25))
    #expect(definition.head.dropout == 0.25)
    try definition.encoded().write(to: file)
    #expect(try TaskDefinition(folder: folder.url) == definition)
    var wrong = definition
    wrong.labels = ["neg"]
    for bytes in [Data(), Data("{}".utf8), try wrong.encoded()] {
      try bytes.write(to: file)
      #expect(throws: RunError.self) { try TaskDefinition(folder: folder.url) }
    }
  }

  @Test func `outputs become labels and probabilities that sum to one`() throws {
    var definition = TaskDefinition(
      try recipe(), labels: ["a", "b", "c"], lowercase: true,
      configuration: tinyConfiguration(dropout: 0))
    guard case .label(1, let probabilities) = definition.prediction([0, 2, -1e4]) else {
      Issue.record("not label 1")
      return
    }
    #expect(abs(probabilities.reduce(0, +) - 1) < 1e-15)
    #expect(abs(probabilities[1] - 1 / (1 + exp(-2))) < 1e-15)
    // Of equals the first.
    guard case .label(0, _) = definition.prediction([3, 3, 3]) else {
      Issue.record("not label 0")
      return
    }
    definition = TaskDefinition(
      try recipe(["classification.kind=binary-sigmoid", "classification.threshold=0.8"]),
      labels: ["a", "b"], lowercase: true, configuration: tinyConfiguration(dropout: 0))
    guard case .label(0, let two) = definition.prediction([1]) else {
      Issue.record("0.73 is below the threshold")
      return
    }
    #expect(abs(two[1] - 1 / (1 + exp(-1))) < 1e-15)
  }

  @Test(arguments: ["normal", "truncated-normal", "glorot-uniform"])
  func `drawn weights have their distribution, and depend on the seed alone`(name: String) throws {
    let kind = try #require(Recipe.HeadInitialization(rawValue: name))
    var table = ParameterTable()
    table.add("x.weight", [200, 300], decays: true)
    table.add("x.bias", [200], decays: false)
    table.add("x.LayerNorm.weight", [200], decays: false)
    func draw(_ seed: UInt64) -> [Float] {
      let arena = Arena(count: table.count)
      ParameterInitialization(seed: seed).fill(
        Set(table.parameters.map(\.name)), of: table, in: arena, purpose: .headInitialisation
      ) { ParameterInitialization.distribution(kind, shape: $0.shape, range: 0.02) }
      return Array(arena.elements)
    }
    let all = draw(1)
    #expect(draw(1) == all)
    #expect(draw(2) != all)
    #expect(all[60_000..<60_200].allSatisfy { $0 == 0 })
    #expect(all[60_200...].allSatisfy { $0 == 1 })
    let weights = all[..<60_000].map(Double.init)
    let deviation = (weights.reduce(0) { $0 + $1 * $1 } / 60_000).squareRoot()
    let limit = (6.0 / 500).squareRoot()
    // A normal cut at two deviations has 0.8796 of its deviation; a uniform one limit/√3. The deviation of
    // 60,000 draws is within 1 % by more than three of its own deviations.
    let expected = [
      "normal": 0.02, "truncated-normal": 0.02 * 0.8796, "glorot-uniform": limit / 3.squareRoot(),
    ]
    #expect(abs(deviation / (expected[name] ?? 0) - 1) < 0.01)
    #expect(abs(weights.reduce(0, +) / 60_000) < 4 * deviation / 60_000.0.squareRoot())
    let bound = weights.map(abs).max() ?? 0
    if kind == .truncatedNormal { #expect(bound <= 0.04) }
    if kind == .glorotUniform { #expect(bound <= limit) }
    if kind == .normal { #expect(bound > 0.06) }
  }
}
