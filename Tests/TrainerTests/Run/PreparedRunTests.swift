import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// What stops `task` from starting, the folder's path left out.
private func refusal(
  _ task: MadeUpTask, _ overrides: [String] = []
) -> (Trainer.ExitStatus?, String) {
  do {
    _ = try PreparedRun(Recipe(contentsOf: task.recipe, overrides: overrides), threads: 1)
    return (nil, "")
  } catch {
    let text = "\(error)".replacingOccurrences(of: task.url.path + "/", with: "")
    return (Trainer.ExitStatus(error), text)
  }
}

@Suite struct PreparedRunTests {
  /// The tiny model as one of `segments` segments and `positions` positions, with the row counts of its tables to match.
  private func model(_ folder: URL, changing old: String, to new: String) throws -> URL {
    let model = folder.appending(path: "model")
    try FileManager.default.copyItem(at: Fixtures.url("tiny_hf"), to: model)
    let url = model.appending(path: "config.json")
    let text = try String(contentsOf: url, encoding: .utf8)
    #expect(text.contains(old))
    try text.replacing(old, with: new).write(to: url, atomically: true, encoding: .utf8)
    return model
  }

  @Test func `two texts are refused by a model with one segment`() throws {
    let task = try MadeUpTask()
    let folder = try model(
      task.url, changing: #""type_vocab_size": 2"#, to: #""type_vocab_size": 1"#)
    try task.write("a\tb\tlabel\ngood\tbad\tpos\nbad\tbook\tneg\n", to: "pairs.tsv")
    try task.write(
      """
      task: pair
      model: {path: "\(folder.path)", initialize: random}
      data: {train: pairs.tsv, columns: {text: a, text2: b, label: label}, maxLength: 24}

      """, to: "pairs.yaml")
    let recipe = try Recipe(contentsOf: task.url.appending(path: "pairs.yaml"))
    let error = #expect(throws: PreparationErrors.self) { try PreparedRun(recipe, threads: 1) }
    #expect(
      "\(error.map { "\($0)" } ?? "")".contains(
        "pairs.tsv: example 1 has the segment 1, and the model knows 1 (type_vocab_size). "))
  }
  @Test func `an unknown label is an error of its line, with the nearest label`() throws {
    let task = try MadeUpTask()
    try task.write("text\tlabel\ngood\tpos\nbad\tnge\n", to: "dev.tsv")
    let (status, sentence) = refusal(task)
    #expect(status == .data)
    #expect(
      sentence.hasPrefix("dev.tsv:3: column \"label\": \"nge\": is not a label of this model: "))
    #expect(sentence.contains("The labels are \"neg\", \"pos\"") || sentence.contains("use one of"))
  }

  @Test func `problems of all files are reported together`() throws {
    let task = try MadeUpTask()
    try task.write("text\tlabel\ngood\tmaybe\nit is a very good film\tpos\n", to: "dev.tsv")
    try task.write("", to: "test.tsv")
    let (status, sentence) = refusal(task, ["data.truncation=error", "data.maxLength=6"])
    #expect(status == .data)
    #expect(sentence.contains("test.tsv: the file is empty"))
    // Of a file that can be read, labels and lengths, though another cannot.
    #expect(sentence.contains("dev.tsv:2: column \"label\": \"maybe\": is not a label"))
    #expect(sentence.contains("dev.tsv:3: column \"text\": "))
    #expect(sentence.contains(#/train\.tsv:\d+: column "text": /#))
    #expect(sentence.components(separatedBy: "test.tsv").count == 2)
  }

  @Test
  func
    `rows of a readable file are checked by the recipe's labels where the training file cannot be read`()
    throws
  {
    let task = try MadeUpTask()
    try task.write("text\tlabel\ngood\n", to: "train.tsv")
    try task.write("text\tlabel\ngood\tmaybe\n", to: "dev.tsv")
    let (_, sentence) = refusal(task, ["data.labels=[neg, pos]"])
    #expect(sentence.contains("train.tsv:2: "))
    #expect(sentence.contains("dev.tsv:2: column \"label\": \"maybe\": is not a label"))
    // Without labels nothing can be said of the other.
    #expect(!refusal(task).1.contains("dev.tsv"))
  }

  @Test(arguments: [
    (["data.columns.label=lable"], Trainer.ExitStatus.data, "lable"),
    (
      ["data.maxLength=100"], .usage,
      "data.maxLength is 100, the model has 64 positions. Give at most 64."
    ),
    (
      ["model.frozenLayers=3"], .usage,
      "model.frozenLayers is 3, the model has 2 layers. Give at most 2."
    ),
    (["model.frozen=[encodre]"], .usage, "no tensor's name starts with \"encodre\""),
    (["model.frozen=[bert, classifier]"], .usage, "Every tensor is frozen"),
    (["batch.dropLast=true", "batch.size=64"], .data, "44 rows make no step of batch.size 64"),
    (["data.truncation=error", "data.maxLength=4"], .data, "truncation error cuts nothing"),
    (["task=regression"], .data, "is not a number: give a number with a point, such as 3.5"),
    (["data.labels=[a, b]"], .data, "is not a label of this model"),
  ])
  func `what cannot be trained is a sentence`(
    overrides: [String], status: Trainer.ExitStatus, part: String
  ) throws {
    let (found, sentence) = refusal(try MadeUpTask(), overrides)
    #expect(found == status)
    #expect(sentence.contains(part), "\(sentence)")
  }

  @Test func `a model that does not say its case is read by its vocabulary, with a note`() throws {
    let overrides = ["data.lowercase=null", "model.initialize=random"]
    let task = try MadeUpTask()
    let prepared = try PreparedRun(
      Recipe(contentsOf: task.recipe, overrides: overrides), threads: 1)
    #expect(prepared.definition.lowercase)
    #expect(
      prepared.notes.contains(
        "uncased, because the vocabulary has no entry with a capital letter"))
  }

  @Test func `one label is no classification, and three are not binary`() throws {
    let task = try MadeUpTask()
    try task.write("text\tlabel\ngood\tpos\n", to: "train.tsv")
    #expect(refusal(task).1.contains("the rows have 1 different labels: \"pos\""))
    try task.write("text\tlabel\ngood\tpos\nbad\tneg\nit\tmid\n", to: "train.tsv")
    #expect(
      refusal(task, ["classification.kind=binary-sigmoid"]).1
        .contains("binary-sigmoid has two labels, the rows have 3: \"mid\", \"neg\", \"pos\""))
  }

  @Test func `bytes that are no UTF-8 are refused with their line`() throws {
    let task = try MadeUpTask()
    var bytes = Data("text\tlabel\ngo".utf8)
    bytes.append(0xFF)
    bytes.append(contentsOf: "od\tpos\n".utf8)
    try task.write(bytes, to: "train.tsv")
    let (status, sentence) = refusal(task)
    #expect(status == .data)
    #expect(sentence.contains("train.tsv:2"))
  }

  @Test func `a vocabulary that is missing or too large is refused`() throws {
    let task = try MadeUpTask()
    let model = task.url.appending(path: "model")
    try FileManager.default.copyItem(at: Fixtures.url("tiny_hf"), to: model)
    let vocabulary = model.appending(path: "vocab.txt")
    let text = try String(contentsOf: vocabulary, encoding: .utf8)
    try Data((text + "one\ntwo\n").utf8).write(to: vocabulary)
    let larger = refusal(task, ["model.path=\(model.path)"])
    #expect(larger.0 == .data)
    #expect(larger.1.contains("but the model has 196 word embeddings"))
    try FileManager.default.removeItem(at: vocabulary)
    #expect(refusal(task, ["model.path=\(model.path)"]).1.contains("there is no vocab.txt"))
  }

  @Test func `the plan counts steps, rows and tokens`() throws {
    let task = try MadeUpTask()
    let prepared = try PreparedRun(
      Recipe(contentsOf: task.recipe, overrides: ["epochs=3"]), threads: 1)
    #expect(prepared.totalSteps == 18)
    #expect(prepared.train.sequences.map(\.exampleID) == (0..<44).map { UInt64($0) })
    #expect((0..<1).contains(prepared.paddingAvoided) && prepared.paddingAvoided > 0)
    let steps = try PreparedRun(
      Recipe(contentsOf: task.recipe, overrides: ["epochs=null", "steps=5"]), threads: 1)
    #expect(steps.totalSteps == 5)
    let dropped = try PreparedRun(
      Recipe(contentsOf: task.recipe, overrides: ["batch.dropLast=true"]), threads: 1)
    #expect(dropped.totalSteps == 10)
  }
}
