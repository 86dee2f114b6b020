import Foundation
import Model
import TestSupport
import Testing
import Text

import Trainer

/// A folder with the files that the recipes below name.
private func makeFolder() throws -> TemporaryFolder {
  let folder = try TemporaryFolder()
  for name in ["train.tsv", "dev.tsv"] {
    try Data("text\tlabel\n".utf8).write(to: folder.url.appending(path: name))
  }
  try FileManager.default.createDirectory(
    at: folder.url.appending(path: "model"), withIntermediateDirectories: false)
  return folder
}

private let smallest = """
  task: classification
  model: {path: model}
  data: {train: train.tsv}

  """

private func recipe(_ yaml: String, _ overrides: [String] = []) throws -> Recipe {
  let folder = try makeFolder()
  defer { withExtendedLifetime(folder) {} }
  return try Recipe(yaml: yaml, folder: folder.url, overrides: overrides)
}

/// The sentences of everything that is wrong with `yaml`, the folder's path left out.
private func problems(_ yaml: String, _ overrides: [String] = []) throws -> [String] {
  let folder = try makeFolder()
  defer { withExtendedLifetime(folder) {} }
  do {
    _ = try Recipe(yaml: yaml, folder: folder.url, overrides: overrides)
    return []
  } catch {
    return error.problems.map {
      $0.description.replacingOccurrences(of: folder.url.path, with: "FOLDER")
    }
  }
}

@Suite struct RecipeTests {
  @Test func `the smallest recipe is filled in as Hugging Face does`() throws {
    let recipe = try recipe(smallest)
    #expect(recipe.classification.kind == .softmax)
    #expect(recipe.head.usesPooler)
    #expect(recipe.head.dropout == nil)
    #expect(recipe.head.initialization == .normal)
    #expect(recipe.optimizer.name == .adamW)
    #expect(recipe.optimizer.learningRate == 5e-5)
    #expect(recipe.optimizer.epsilon == 1e-8)
    #expect(recipe.optimizer.clipNorm == 1)
    #expect(recipe.schedule.name == .linear)
    #expect(recipe.data.tokenizer == .huggingface)
    #expect(recipe.data.maxLength == 128)
    #expect(recipe.batch.leaves == 8)
    #expect(recipe.length == .epochs(3))
  }

  @Test func `the 2019 dialect is the 2019 recipe`() throws {
    let recipe = try recipe(smallest, ["model.dialect=seed2019"])
    #expect(recipe.classification.kind == .binarySigmoid)
    #expect(recipe.classification.isClipped)
    #expect(!recipe.head.usesPooler)
    #expect(recipe.head.dropout == 0)
    #expect(recipe.head.initialization == .glorotUniform)
    #expect(recipe.data.tokenizer == .character)
    #expect(recipe.data.lowercase == false)
    #expect(recipe.data.maxCharacters == 100)
    #expect(recipe.optimizer.name == .adamKeras)
    #expect(recipe.optimizer.learningRate == 1e-5)
    #expect(recipe.optimizer.epsilon == 1e-7)
    #expect(recipe.optimizer.clipNorm == nil)
    #expect(recipe.schedule.name == .constant)
    #expect(recipe.length == .epochs(5))
  }

  @Test func `google warms up over a tenth, decays weights and clips at 1`() throws {
    let recipe = try recipe(smallest, ["model.dialect=google"])
    #expect(recipe.schedule.name == .google)
    #expect(recipe.schedule.warmupFraction == 0.1)
    #expect(recipe.optimizer.weightDecay == 0.01)
    #expect(recipe.optimizer.epsilon == 1e-6)
    #expect(recipe.optimizer.clipNorm == 1)
    #expect(recipe.head.initialization == .truncatedNormal)
  }

  @Test(arguments: Dialect.allCases.map(\.rawValue), ["classification", "pair", "regression"])
  func `a resolved recipe reads back as itself and writes the same bytes`(
    dialect: String, task: String
  ) throws {
    let folder = try makeFolder()
    defer { withExtendedLifetime(folder) {} }
    var yaml = "task: \(task)\nmodel: {path: model, dialect: \(dialect)}\n"
    yaml += "data: {train: train.tsv, dev: dev.tsv}\nthreads: 2\nmemoryLimit: 3G\n"
    let first = try Recipe(yaml: yaml, folder: folder.url)
    let second = try Recipe(yaml: first.yaml, folder: URL(filePath: "/"))
    #expect(first == second)
    #expect(first.yaml == second.yaml)
  }

  @Test(arguments: Dialect.allCases.map(\.rawValue), [true, false])
  func `a resolved recipe of relations keeps whether sigmoids are clipped`(
    dialect: String, isClipped: Bool
  ) throws {
    let folder = try makeFolder()
    defer { withExtendedLifetime(folder) {} }
    let yaml =
      "task: relation\nmodel: {path: model, dialect: \(dialect)}\ndata: {train: train.tsv}\n"
    let bare = try Recipe(yaml: yaml, folder: folder.url)
    let first = try Recipe(
      yaml: yaml + "classification: {clipped: \(isClipped)}\n", folder: folder.url)
    let second = try Recipe(yaml: first.yaml, folder: URL(filePath: "/"))
    #expect(first == second && second.classification.isClipped == isClipped)
    let isDefault = bare.classification.isClipped == isClipped
    #expect((first.resultDigest == bare.resultDigest) == isDefault)
  }

  @Test func `texts that YAML would read otherwise keep their letters`() throws {
    let labels = [
      "no", "1", "1e3", "null", "", " a", "a: b", "#x", "\"", "\\", "日本", "é", "\u{2028}", "-", "~",
    ]
    let json = String(decoding: try JSONEncoder().encode(labels), as: UTF8.self)
    let folder = try makeFolder()
    defer { withExtendedLifetime(folder) {} }
    let first = try Recipe(
      yaml: smallest, folder: folder.url, overrides: ["data.labels=\(json)"])
    #expect(first.data.labels == labels)
    #expect(try Recipe(yaml: first.yaml, folder: folder.url).data.labels == labels)
  }

  @Test func `an override replaces a value, and creates what is absent`() throws {
    let recipe = try recipe(
      smallest, ["optimizer.learningRate=2e-5", "epochs=7", "data.columns.label=3", "seed=9"])
    #expect(recipe.optimizer.learningRate == 2e-5)
    #expect(recipe.length == .epochs(7))
    #expect(recipe.data.columns.label == "3")
    #expect(recipe.seed == 9)
  }

  @Test func `paths are relative to the recipe, and to the working directory in an override`()
    throws
  {
    let folder = try makeFolder()
    defer { withExtendedLifetime(folder) {} }
    let recipe = try Recipe(yaml: smallest, folder: folder.url)
    #expect(recipe.data.train.path == folder.url.appending(path: "train.tsv").path)
    let here = FileManager.default.currentDirectoryPath
    #expect(throws: RecipeErrors.self) {
      try Recipe(yaml: smallest, folder: folder.url, overrides: ["data.train=no-such.tsv"])
    }
    do {
      _ = try Recipe(yaml: smallest, folder: folder.url, overrides: ["data.train=no-such.tsv"])
    } catch {
      #expect(error.description.contains("\(here)/no-such.tsv does not exist"))
    }
  }

  @Test(arguments: [
    (
      "optimiser.learningRate=1e-5",
      "--set optimiser.learningRate=1e-5: unknown key `optimiser`. Did you mean `optimizer`?"
    ),
    (
      "optimizer.learnRate=1e-5",
      "--set optimizer.learnRate=1e-5: unknown key `optimizer.learnRate`. Did you mean `optimizer.learningRate`?"
    ),
    (
      "checkpoint.zzz=1",
      "--set checkpoint.zzz=1: unknown key `checkpoint.zzz`. Known keys here: everySteps, everyMinutes, keep."
    ),
    (
      "epochs=three",
      "--set epochs=three: `epochs` must be a whole number from 1 to 1000000; found \"three\"."
    ),
    (
      "epochs=[1]",
      "--set epochs=[1]: `epochs` must be a whole number from 1 to 1000000; found a list."
    ),
    (
      "optimizer.learningRate=-1",
      "--set optimizer.learningRate=-1: `optimizer.learningRate` must be a number of at least 0; found \"-1\"."
    ),
    (
      "optimizer.learningRate=nan",
      "--set optimizer.learningRate=nan: `optimizer.learningRate` must be a number of at least 0; found \"nan\"."
    ),
    (
      "optimizer.name=adamx",
      "--set optimizer.name=adamx: `optimizer.name` must be one of adam-keras, adamw, google, adam-bert4keras, adam-warmup, lamb; found \"adamx\". Did you mean adamw?"
    ),
    (
      "optimizer.betas=[0.9]",
      "--set optimizer.betas=[0.9]: `optimizer.betas` must be a list of 2 numbers, each a number of at least 0 and below 1; found a list."
    ),
    ("optimizer=5", "--set optimizer=5: `optimizer` must be a section of keys; found \"5\"."),
    (
      "head.pooler=yes",
      "--set head.pooler=yes: `head.pooler` must be true or false; found \"yes\"."
    ),
    (
      "data.split.seed=2",
      "--set data.split.seed=2: `data.split.seed` applies where `data.split.dev` or `data.split.test` is given. Leave it out."
    ),
    (
      "training.adversarialSteps=3",
      "--set training.adversarialSteps=3: `training.adversarialSteps` applies to `training.adversarial`. Leave it out."
    ),
    (
      "training={adversarial: 1, adversarialAlpha: 2}",
      "--set training={adversarial: 1, adversarialAlpha: 2}: `training.adversarialAlpha` is 2.0, longer than the radius `training.adversarial` of 1.0. Give at most the radius."
    ),
    (
      "training={focal: 2, rDrop: 1}",
      "--set training={focal: 2, rDrop: 1}: `training.focal` and `training.rDrop` have no accepted meaning together. Leave one out."
    ),
    (
      "training={focal: 2, labelSmoothing: 0.1}",
      "--set training={focal: 2, labelSmoothing: 0.1}: `training.focal` and `training.labelSmoothing` have no accepted meaning together. Leave one out."
    ),
    ("training={focal: 2, classWeights: balanced}", nil),
    ("batch.leaves=6", "--set batch.leaves=6: `batch.leaves` must be a power of two; found 6."),
    (
      "batch.leavesAtOnce=16",
      "--set batch.leavesAtOnce=16: `batch.leavesAtOnce` is 16 of 8 leaves. Give at most 8."
    ),
    ("steps=5", nil),
    (
      "schedule.points={1: 1}",
      "--set schedule.points={1: 1}: `schedule.points` applies to the piecewise schedule. Set `schedule.name: piecewise`."
    ),
    (
      "schedule.minimumRate=1e-5",
      "--set schedule.minimumRate=1e-5: `schedule.minimumRate` applies to the two-epoch and adam-warmup schedules. Leave it out."
    ),
    (
      "data.columns.text2=b",
      "--set data.columns.text2=b: `data.columns.text2` needs `task: pair` (or regression). Leave it out, or change the task."
    ),
    (
      "data.evaluationLength=64",
      "--set data.evaluationLength=64: `data.evaluationLength` applies to `task: relation` and `task: event-subject`. Leave it out."
    ),
    (
      "data.labels=[a]",
      "--set data.labels=[a]: `data.labels` has 1; softmax needs at least 2 labels."
    ),
    ("data.labels=[a, b, a]", "--set data.labels=[a, b, a]: `data.labels` gives \"a\" twice."),
    (
      "data.truncation=hugging",
      "--set data.truncation=hugging: `data.truncation` must be one of google, bert4keras, huggingface, only-first, only-second, head+tail(n), error; found \"hugging\"."
    ),
    (
      "evaluation.patience=2",
      "--set evaluation.patience=2: `evaluation.patience` needs rows to evaluate on. Give `data.dev`, or leave it out."
    ),
    (
      "memoryLimit=lots",
      "--set memoryLimit=lots: `memoryLimit` must be a size such as 1500M or 3G; found \"lots\"."
    ),
    (
      "classification.clipped=true",
      "--set classification.clipped=true: `classification.clipped` applies to sigmoid heads. Leave it out, or set `classification.kind: binary-sigmoid`."
    ),
    (
      "noequals",
      "--set noequals: an override has the form key=value, such as optimizer.learningRate=2e-5."
    ),
    ("seed=[", "--set seed=[: the value \"[\" is not YAML. Quote it."),
  ])
  func `a wrong value is a sentence`(override: String, sentence: String?) throws {
    #expect(try problems(smallest, [override]) == (sentence.map { [$0] } ?? []))
  }

  @Test(arguments: [
    ("relation", "dropout=0.1"), ("relation", "pooler=false"), ("masked-lm", "dropout=0.1"),
    ("tagging", "pooler=true"), ("event-subject", "pooler=true"), ("reading", "pooler=true"),
  ])
  func `a key of the head that its task does not read is refused`(
    task: String, setting: String
  ) throws {
    let key = setting.split(separator: "=")[0]
    #expect(
      try problems(smallest, ["task=\(task)", "head.\(setting)"]) == [
        "--set head.\(setting): `head.\(key)` does not apply to `task: \(task)`. Leave it out."
      ])
    #expect(try problems(smallest, ["task=\(task)"]) == [])
    #expect(
      try problems(smallest, ["task=pair", "pair.mode=siamese", "head.\(setting)"]) == [
        "--set head.\(setting): `head.\(key)` does not apply to `pair.mode: siamese`. Leave it out."
      ])
  }

  @Test func `every problem is reported, each with its line and column`() throws {
    let yaml = """
      task: clasification
      model:
        path: model
        dialekt: google
      data:
        train: missing.tsv
        maxLength: long
      epochs: 2
      steps: 10
      """
    #expect(
      try problems(yaml) == [
        "recipe.yaml:1:7: `task` must be one of classification, pair, regression, tagging, relation, event-subject, reading, masked-lm; found \"clasification\". Did you mean classification?",
        "recipe.yaml:4:3: unknown key `model.dialekt`. Did you mean `model.dialect`?",
        "recipe.yaml:6:10: `data.train`: FOLDER/missing.tsv does not exist. Correct the path; it starts at the recipe's folder.",
        "recipe.yaml:7:14: `data.maxLength` must be a whole number of at least 3 and below 2⁶³; found \"long\".",
        "recipe.yaml:9:8: `steps` and `epochs` say the same thing. Leave one out.",
      ])
  }

  @Test func `a length on the command line replaces the other one of the file`() throws {
    let task = try MadeUpTask()
    let recipe = task.recipe
    let yaml = try String(contentsOf: recipe, encoding: .utf8)
    #expect(yaml.contains("epochs: "))
    #expect(try Recipe(contentsOf: recipe, overrides: ["steps=7"]).length == .steps(7))
    #expect(throws: RecipeErrors.self) {
      try Recipe(contentsOf: recipe, overrides: ["steps=7", "epochs=2"])
    }
  }

  @Test func `what cannot be left out is named`() throws {
    #expect(
      try problems("") == [
        "recipe.yaml:1:1: `task` is missing: one of classification, pair, regression, tagging, relation, event-subject, reading, masked-lm.",
        "recipe.yaml:1:1: `model.path` is missing: the folder of a model.",
        "recipe.yaml:1:1: `data.train` is missing: the file of training rows.",
      ])
  }

  @Test(arguments: [
    ("task: [", "this is not YAML"),
    ("a: 1\n b: 2", "this is not YAML"),
    ("task: pair\ntask: pair", "given twice: `task`"),
    ("- 1", "the recipe must be a section of keys; found a list."),
    ("a: &a [*a]", "undefined alias"),
    ("? [x]\n: 1", "a key must be a word; found a list."),
  ])
  func `what is no recipe is refused with a place`(yaml: String, part: String) throws {
    let found = try problems(yaml).joined(separator: "\n")
    #expect(found.contains("recipe.yaml:"))
    #expect(found.contains(part))
  }

  @Test func `aliases that unfold without end are refused`() throws {
    var yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in 1...8 {
      let references = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
      yaml += "a\(level): &a\(level) [\(references)]\n"
    }
    #expect(try problems(yaml).first?.contains("more than 100000 values") == true)
  }

  @Test func `a recipe file that is missing, too large or not UTF-8 is refused`() throws {
    let folder = try makeFolder()
    defer { withExtendedLifetime(folder) {} }
    let file = folder.url.appending(path: "r.yaml")
    func sentence() -> String {
      do { _ = try Recipe(contentsOf: file) } catch { return error.description }
      return ""
    }
    #expect(sentence().contains("the recipe is not there. Give the path of a YAML file."))
    try Data([0x61, 0xFF]).write(to: file)
    #expect(sentence().contains("the recipe file is not valid UTF-8. Save it as UTF-8."))
    try Data(count: 2 << 20).write(to: file)
    #expect(sentence().contains("a recipe has at most 1048576"))
  }

  @Test func `every key is documented`() throws {
    let page = try String(
      contentsOf: Fixtures.root.appending(path: "Documentation/Recipes.md"), encoding: .utf8)
    #expect(Recipe.keys.count > 40)
    for key in Recipe.keys { #expect(page.contains("| `\(key)` |"), "\(key) is not documented") }
    // And no key is documented that does not exist.
    for line in page.split(separator: "\n") where line.hasPrefix("| `") {
      let key = line.dropFirst(3).prefix { $0 != "`" }
      #expect(Recipe.keys.contains(String(key)), "\(key) is documented and does not exist")
    }
  }
}
