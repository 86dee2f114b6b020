import Crypto
import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// Trains `task` into `name`; returns how it ended and all that was said.
@discardableResult
func train(
  _ task: MadeUpTask, _ name: String, _ overrides: [String] = [], threads: Int = 1,
  resumes: Bool = false, stops: Bool = false
) throws -> (outcome: TrainingRun.Outcome, messages: String) {
  let prepared = try PreparedRun(
    Recipe(contentsOf: task.recipe, overrides: overrides), threads: threads)
  let pool = ThreadPool(threads: threads)
  defer { pool.stop() }
  let engine = Engine(
    configuration: prepared.configuration, head: prepared.definition.head, pool: pool)
  let memory = try MemoryPlan(prepared, engine: engine, limit: 1 << 30)
  let requests = RunRequests()
  if stops { requests.stop() }
  var messages = ""
  let run = try TrainingRun(
    prepared, group: RankGroup.alone(leaves: prepared.recipe.batch.leaves),
    directory: RunDirectory(task.url.appending(path: name), resumes: resumes), engine: engine,
    memory: memory, requests: requests,
    output: TrainingRun.Output(isTerminal: false) { messages += $0 })
  return (try run.run(), messages)
}

/// The digest that a finished run ended with.
func digest(_ result: (outcome: TrainingRun.Outcome, messages: String)) throws -> String {
  guard case .finished(let digest) = result.outcome else {
    Issue.record("the run ended with \(result.outcome)")
    return ""
  }
  return digest
}

struct MetricsLine: Decodable, Equatable {
  var step: Int
  var epoch: Int
  var loss: Double?
  var learningRate: Double?
  var gradientNorm: Double?
  var gradientNorms: [Double]?
  var tokens: Int?
  var split: String?
  var accuracy: Double?
}

func metrics(_ task: MadeUpTask, _ name: String) throws -> [MetricsLine] {
  let data = try Data(contentsOf: task.url.appending(path: "\(name)/metrics.jsonl"))
  return try data.split(separator: 0x0A).map {
    try JSONDecoder().decode(MetricsLine.self, from: $0)
  }
}

@Suite struct TrainingRunTests {
  @Test func `weights do not depend on threads or on how many leaves are computed together`() throws
  {
    let task = try MadeUpTask()
    let digests = try [
      digest(train(task, "a")), digest(train(task, "b", threads: 2)),
      digest(train(task, "c", ["batch.leavesAtOnce=1"])),
      digest(train(task, "d", ["batch.leavesAtOnce=2"], threads: 3)),
      digest(train(task, "e", ["memoryLimit=1M", "batch.leavesAtOnce=8"], threads: 2)),
    ]
    #expect(Set(digests).count == 1)
    #expect(try digest(train(task, "f", ["seed=2"])) != digests[0])
    #expect(try digest(train(task, "g", ["batch.leaves=4"])) != "")
  }

  @Test func `a run that is stopped at every step ends with the bits of one that is not`() throws {
    let task = try MadeUpTask()
    let whole = try digest(train(task, "whole"))
    var rounds = 0
    var last = try train(task, "parts", stops: true).outcome
    while case .interrupted(let step) = last {
      rounds += 1
      #expect(step == rounds)
      last = try train(task, "parts", threads: rounds % 2 + 1, resumes: true, stops: true).outcome
    }
    // 6 steps an epoch, two epochs; the last evaluation and the test come with the resume.
    #expect(rounds == 12)
    #expect(last == .finished(weights: whole))
    #expect(try metrics(task, "parts") == metrics(task, "whole"))
    let best = { (name: String) in
      try Data(contentsOf: task.url.appending(path: "\(name)/best/model.safetensors"))
    }
    #expect(try best("parts") == best("whole"))
  }

  @Test func `resuming a finished run says so and changes nothing`() throws {
    let task = try MadeUpTask()
    let first = try digest(train(task, "run"))
    let again = try train(task, "run", resumes: true)
    #expect(try digest(again) == first)
    #expect(again.messages.contains("this run is complete: 12 steps were trained before"))
  }

  @Test func `the digest is that of the last checkpoint's weights`() throws {
    let task = try MadeUpTask()
    let digest = try digest(train(task, "run"))
    let file = task.url.appending(path: "run/checkpoints/step-00000012/model.safetensors")
    let hash = SHA256.hash(data: try Data(contentsOf: file))
    #expect(digest == hash.map { String(format: "%02x", $0) }.joined())
  }

  @Test func `metrics have one line a step and one an evaluation, with the schedule's rates`()
    throws
  {
    let task = try MadeUpTask()
    try train(task, "run", ["schedule.warmupSteps=3"])
    let lines = try metrics(task, "run")
    let steps = lines.filter { $0.split == nil }
    #expect(steps.map(\.step) == Array(1...12))
    #expect(steps.map(\.epoch) == Array(repeating: 1, count: 6) + Array(repeating: 2, count: 6))
    let schedule = Schedule.linear(peak: 2e-3, warmup: 3, total: 12)
    #expect(steps.map(\.learningRate) == (0..<12).map { schedule.rate(at: $0) })
    for line in steps {
      #expect((line.loss ?? 0) > 0 && (line.gradientNorm ?? 0) > 0 && (line.tokens ?? 0) > 0)
      // Embeddings, two layers, head.
      let norms = try #require(line.gradientNorms)
      #expect(norms.count == 4)
      let total = norms.reduce(0) { $0 + $1 * $1 }.squareRoot()
      #expect(abs(total / (line.gradientNorm ?? 0) - 1) < 1e-9)
    }
    // Every row once an epoch.
    let tokens = steps.map { $0.tokens ?? 0 }
    #expect(tokens[..<6].reduce(0, +) == tokens[6...].reduce(0, +))
    let evaluations = lines.filter { $0.split != nil }
    #expect(evaluations.map(\.split) == ["dev", "dev", "test"])
    #expect(evaluations.map(\.step) == [6, 12, 12])
    #expect(evaluations.allSatisfy { $0.accuracy != nil && $0.loss != nil })
  }

  @Test func `only the last checkpoints and the best stay`() throws {
    let task = try MadeUpTask()
    try train(
      task, "run",
      ["checkpoint.everySteps=1", "checkpoint.keep=2", "optimizer.learningRate=0", "epochs=2"])
    let names = try FileManager.default.contentsOfDirectory(
      atPath: task.url.appending(path: "run/checkpoints").path
    ).filter { $0.hasPrefix("step-") }.sorted()
    // With a learning rate of 0 nothing gets better after the first evaluation, at step 6.
    #expect(names == ["step-00000006", "step-00000011", "step-00000012"])
  }

  @Test func `training ends early when the evaluations get no better, and stays ended`() throws {
    let task = try MadeUpTask()
    let overrides = [
      "evaluation.everySteps=2", "evaluation.patience=2", "optimizer.learningRate=0",
    ]
    let result = try train(task, "run", overrides)
    #expect(result.messages.contains("stopped early after step 6"))
    #expect(try metrics(task, "run").filter { $0.split == nil }.count == 6)
    let again = try train(task, "run", overrides, resumes: true)
    #expect(try digest(again) == digest(result))
    #expect(try metrics(task, "run").filter { $0.split == nil }.count == 6)
  }

  @Test func `the best model alone predicts what the run measured`() throws {
    let task = try MadeUpTask()
    let result = try train(task, "run", ["epochs=4"])
    let model = try Ensemble(runs: [task.url.appending(path: "run")], threads: 1)
    let test = try model.evaluate(task.url.appending(path: "test.tsv")).evaluation
    let logged = try metrics(task, "run").last { $0.split == "test" }
    #expect(test["accuracy"] == logged?.accuracy)
    #expect(test["loss"] == logged?.loss)
    #expect(result.messages.contains("best accuracy"))
  }

  @Test func `without rows to choose by the last model is the best`() throws {
    let task = try MadeUpTask()
    try train(task, "run", ["data.dev=null", "data.test=null"])
    let best = task.url.appending(path: "run/best/model.safetensors")
    let last = task.url.appending(path: "run/checkpoints/step-00000012/model.safetensors")
    #expect(try Data(contentsOf: best) == Data(contentsOf: last))
  }

  @Test(arguments: [
    ["task=regression", "data.columns.label=label"],
    ["classification.kind=binary-sigmoid"],
    ["classification.kind=multi-label"],
    ["model.dialect=seed2019", "data.lowercase=true"],
    ["model.dialect=google"], ["model.dialect=bert4keras"], ["model.dialect=keras-bert"],
    ["model.initialize=random"], ["optimizer.name=lamb"],
    ["model.frozenLayers=1", "model.freezeEmbeddings=true", "model.frozen=[pooler]"],
  ])
  func `every kind of task trains, resumes to the same bits and predicts`(
    overrides: [String]
  ) throws {
    let task = try MadeUpTask(train: 20, dev: 6, test: 6)
    if overrides[0] == "task=regression" {
      for name in ["train", "dev", "test"] {
        let file = task.url.appending(path: "\(name).tsv")
        let text = try String(contentsOf: file, encoding: .utf8)
          .replacingOccurrences(of: "\tpos", with: "\t1.5")
          .replacingOccurrences(of: "\tneg", with: "\t-0.5")
        try task.write(text, to: "\(name).tsv")
      }
    }
    let all = overrides + ["epochs=1", "evaluation.everySteps=1"]
    let whole = try digest(train(task, "whole", all))
    try train(task, "parts", all, stops: true)
    #expect(try digest(train(task, "parts", all, resumes: true)) == whole)
    let model = try Ensemble(runs: [task.url.appending(path: "whole")], threads: 1)
    let output = task.url.appending(path: "p.jsonl")
    _ = try model.predict(task.url.appending(path: "test.tsv"), to: output)
    #expect(try Data(contentsOf: output).count { $0 == 0x0A } == 6)
  }

  @Test func `frozen tensors keep their bits`() throws {
    let task = try MadeUpTask()
    try train(task, "run", ["model.frozenLayers=1", "model.freezeEmbeddings=true"])
    let before = try Safetensors(Fixtures.url("tiny_hf/model.safetensors"))
    let after = try Safetensors(task.url.appending(path: "run/best/model.safetensors"))
    func values(_ source: Safetensors, _ name: String, _ count: Int) throws -> [Float] {
      let arena = Arena(count: count)
      try source.read(name, into: arena.elements)
      return Array(arena.elements)
    }
    for tensor in after.tensors where before.tensor(tensor.name) != nil {
      let count = tensor.shape.reduce(1, *)
      let same = try values(before, tensor.name, count) == values(after, tensor.name, count)
      // The last layer's key bias has no part in the loss of a head that reads [CLS].
      let isFrozen =
        tensor.name.contains("embeddings") || tensor.name.contains("encoder.layer.0.")
        || tensor.name.hasSuffix("encoder.layer.1.attention.self.key.bias")
      #expect(same == isFrozen, "\(tensor.name)")
    }
  }

  @Test func `a run is not written over, and not by two at once`() throws {
    let task = try MadeUpTask()
    try train(task, "run", stops: true)
    #expect(throws: RunError.self) { try train(task, "run") }
    do { try train(task, "run") } catch let error as RunError {
      #expect(error.status == .usage)
      #expect(error.description.contains("Add --resume to continue it"))
    }
    let store = try CheckpointStore(run: task.url.appending(path: "run"))
    #expect(throws: CheckpointError.self) { try train(task, "run", resumes: true) }
    withExtendedLifetime(store) {}
  }

  @Test func `a run that is no longer finite names the step and its rows`() throws {
    let task = try MadeUpTask()
    do {
      try train(task, "run", ["optimizer.learningRate=1e38", "optimizer.clipNorm=0"])
      Issue.record("the run went on")
    } catch let error as RunError {
      #expect(error.status == .notFinite)
      #expect(error.description.hasPrefix("step 2: "))
      #expect(error.description.contains("the gradient of "), "\(error)")
      #expect(error.description.contains(#/; it comes from lines? \d/#), "\(error)")
      #expect(
        error.description.contains("train.tsv. A resume would come to the same. "), "\(error)")
    }
  }

  @Test(arguments: [1, 2]) func `rows that make a step not finite are named by their lines`(
    ranks: Int
  ) throws {
    let task = try MadeUpTask()
    // The first row is repeated, so that the places of the rows that are left are not their lines.
    let url = task.url.appending(path: "train.tsv")
    var lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n")
    lines.insert(contentsOf: Array(repeating: lines[1], count: 100), at: 1)
    try task.write(lines.joined(separator: "\n") + "\n", to: "train.tsv")
    let error = #expect(throws: (any Error).self) {
      try trained(
        task.recipe, into: task.url.appending(path: "run"),
        ["data.dropDuplicates=true", "optimizer.learningRate=1e38", "optimizer.clipNorm=0"],
        ranks: ranks)
    }
    let text = "\(error.map { "\($0)" } ?? "")"
    let match = try #require(
      text.firstMatch(of: #/it comes from lines? (\d+(, \d+)*)( and \d+ more)? of .*train.tsv/#),
      "\(text)")
    let numbers = match.1.split(separator: ", ").compactMap { Int($0) }
    // Kept are line 2 and those behind the repeated ones.
    #expect(numbers.allSatisfy { $0 == 2 || $0 > 102 && $0 <= 145 }, "\(numbers)")
    #expect(numbers.contains { $0 > 102 })
  }

  @Test func `too little memory is said before the first step`() throws {
    let task = try MadeUpTask()
    let prepared = try PreparedRun(Recipe(contentsOf: task.recipe), threads: 1)
    let pool = ThreadPool(threads: 1)
    defer { pool.stop() }
    let engine = Engine(
      configuration: prepared.configuration, head: prepared.definition.head, pool: pool)
    let plenty = try MemoryPlan(prepared, engine: engine, limit: 1 << 30)
    #expect(plenty.leavesAtOnce == 8)
    // Just less than all leaves at once need: fewer are computed together.
    let tight = try MemoryPlan(prepared, engine: engine, limit: plenty.totalBytes - 1)
    #expect(tight.leavesAtOnce < 8 && tight.totalBytes < plenty.totalBytes)
    #expect(throws: RunError.self) {
      try MemoryPlan(prepared, engine: engine, limit: plenty.stateBytes)
    }
  }
}
