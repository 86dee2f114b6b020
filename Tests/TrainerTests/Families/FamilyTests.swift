import Collective
import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// Every task: learnt by heart, the same bits on ranks, predicted from its run's directory.
@Suite struct FamilyTests {
  static func train(
    _ recipe: URL, into run: URL, _ overrides: [String], on collective: CollectiveEngine
  ) throws -> TrainingRun.Outcome {
    let prepared = try PreparedRun(Recipe(contentsOf: recipe, overrides: overrides), threads: 1)
    let pool = ThreadPool(threads: 1)
    defer { pool.stop() }
    let engine = Engine(
      configuration: prepared.configuration, head: prepared.definition.head, pool: pool)
    let training = try TrainingRun(
      prepared, group: RankGroup(collective, leaves: prepared.recipe.batch.leaves),
      directory: collective.isRoot ? RunDirectory(run, resumes: false) : nil, engine: engine,
      memory: MemoryPlan(prepared, engine: engine, limit: 1 << 30), requests: RunRequests(),
      output: TrainingRun.Output(isTerminal: false) { _ in })
    return try training.run()
  }

  /// The last evaluation of `metric` in a run's log.
  static func last(_ metric: String, _ run: URL) throws -> Double? {
    let data = try Data(contentsOf: run.appending(path: "metrics.jsonl"))
    return try data.split(separator: 0x0A).compactMap { line in
      let object = try JSONSerialization.jsonObject(with: line) as? [String: Any] ?? [:]
      return object["split"] == nil ? nil : object[metric] as? Double
    }.last
  }

  @Test(arguments: MadeUpFamily.all)
  func `32 rows are learnt to above 99 % in the stated steps, and predicted from the run alone`(
    family: MadeUpFamily
  ) throws {
    let (folder, recipe) = try family.written(
      dropout: 0, more: "steps: \(family.steps)\nevaluation: {everySteps: \(family.steps)}")
    let run = folder.url.appending(path: "run")
    _ = try onRanks(1) { try Self.train(recipe, into: run, [], on: $0) }
    let reached = try #require(try Self.last(family.metric, run))
    #expect(reached > 0.99, "\(family.name): \(family.metric) \(reached)")

    let model = try Ensemble(runs: [run], threads: 1)
    let output = folder.url.appending(path: "predictions.jsonl")
    let examples = try model.predict(
      folder.url.appending(path: family.bareFile), to: output)
    #expect(examples.rows.count == family.count)
    let lines = try Data(contentsOf: output).split(separator: 0x0A)
    #expect(lines.count == family.count)
    let rows = try lines.map {
      try #require(try JSONSerialization.jsonObject(with: $0) as? [String: Any])
    }
    switch family.name {
    case "reading":
      #expect(rows.map { $0["id"] as? String } == (0..<32).map { "q\($0)" })
      #expect(rows[0]["answer"] as? String == "good")
    case "event-subject":
      #expect(rows.map { $0["id"] as? String } == (0..<32).map { "\($0)" })
      #expect(rows[1]["entity"] as? String == "小火公司")
    case "relation mean", "relation layer-norm":
      #expect(rows[0]["spo_list_pred"] as? [[String]] == [["北京", "属于", "中国"]])
    case "masked-lm":
      let best = rows.map { (($0["masks"] as? [[[String: Any]]])?[0][0])?["token"] as? String }
      #expect(best == ["very", "饭"])
    case "tagging crf", "tagging softmax", "tagging global-pointer":
      let entities = rows[0]["entities"] as? [[String: Any]]
      #expect(entities?.map { $0["text"] as? String } == ["book good", "hotel bad"])
      #expect(entities?[1]["start"] as? Int == 17)
    default: break
    }
    // What was evaluated in training is what the saved model says.
    let again = try model.evaluate(folder.url.appending(path: family.file)).evaluation
    #expect(abs((again[family.metric] ?? 0) - reached) < 1e-12)
  }

  static let tricks: [(name: String, more: String)] = [
    ("FGM", "training: {adversarial: 0.5}"),
    ("FGM with dropout", "training: {adversarial: 0.5, adversarialDropout: true}"),
    ("R-Drop", "training: {rDrop: 2}"), ("moving average", "training: {ema: 0.9}"),
    ("smoothing and weights", "training: {labelSmoothing: 0.1, classWeights: balanced}"),
    ("rates by depth", "training: {ema: 0.5, adversarial: 1}"),
  ]

  @Test(arguments: MadeUpFamily.all)
  func `a task's weights are the same on any number of ranks`(family: MadeUpFamily) throws {
    let (folder, recipe) = try family.written(dropout: 0.1, more: "steps: 5")
    try Self.compare(recipe, folder.url)
  }

  @Test(arguments: tricks.map(\.name))
  func `a trick's weights are the same on any number of ranks`(name: String) throws {
    let task = try MadeUpTask()
    let more = try #require(Self.tricks.first { $0.name == name }?.more)
    let text = try String(contentsOf: task.recipe, encoding: .utf8)
    let steps = text.replacing("epochs: 2", with: "steps: 5")
    try task.write("\(steps)\(more)\n", to: "recipe.yaml")
    try task.write(steps, to: "plain.yaml")
    let overrides = name == "rates by depth" ? ["optimizer.layerDecay=0.8"] : []
    try Self.compare(task.recipe, task.url, overrides)
    // Without the trick the weights are others: it does something.
    let folder = task.url
    let outcomes = try ["plain", "recipe"].map { recipe in
      try onRanks(1) {
        try Self.train(
          folder.appending(path: "\(recipe).yaml"), into: folder.appending(path: "\(recipe)-run"),
          recipe == "plain" ? [] : overrides, on: $0)
      }
    }
    let same = outcomes[0] == outcomes[1]
    // An average changes what is evaluated and nothing else.
    #expect(same == (name == "moving average"))
  }

  static func compare(_ recipe: URL, _ folder: URL, _ overrides: [String] = []) throws {
    var reference: TrainingRun.Outcome?
    for ranks in [1, 2, 3, 4] {
      let run = folder.appending(path: "ranks\(ranks)")
      let outcomes = try onRanks(ranks) { try train(recipe, into: run, overrides, on: $0) }
      #expect(reference == nil || outcomes[0] == reference, "\(ranks) ranks")
      reference = outcomes[0]
      for file in ["best/model.safetensors", "checkpoints/step-00000005/optimizer.safetensors"] {
        let files = try [1, ranks].map {
          try Data(contentsOf: folder.appending(path: "ranks\($0)/\(file)"))
        }
        #expect(files[0] == files[1], "\(file) on \(ranks) ranks")
      }
    }
  }
}
