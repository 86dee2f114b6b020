import Collective
import Foundation
import Model
import TestSupport
import Testing
import Text
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
    #expect(examples.rows.count == family.expected.count)
    // The same rows as JSON in memory have the same answers, to the byte.
    let lines = try String(contentsOf: output, encoding: .utf8).split(separator: "\n")
    let answers = try family.answers(of: model)
    #expect(answers[.object] == "\(lines[0])\n")
    #expect(answers[.array] == "[\(lines.joined(separator: ","))]\n")
    #expect(answers[.lines] == lines.map { "\($0)\n" }.joined())
    let rows = try Data(contentsOf: output).split(separator: 0x0A).map {
      try #require(try JSONSerialization.jsonObject(with: $0) as? [String: Any])
    }
    // Texts of different lengths, which are computed in another order than they stand.
    #expect(rows.map(Self.said) == family.expected)
    switch family.name {
    case "reading": #expect(rows.map { $0["id"] as? String } == (0..<32).map { "q\($0)" })
    case "event-subject":
      #expect(rows.map { $0["id"] as? String } == (0..<32).map { "\($0)" })
      // The result file of the recipe, and a type that was never seen.
      let bare = folder.url.appending(path: "more.csv"), table = folder.url.appending(path: "r.csv")
      try Data((family.bare + "32,大山公司买,中价\n").utf8).write(to: bare)
      _ = try model.predict(bare, to: table)
      let text = try String(contentsOf: table, encoding: .utf8).split(separator: "\n")
      #expect(text.count == 33 && text[1] == "\"1\",\"小火公司\"" && text[32] == "\"32\",\"NaN\"")
    case "tagging crf", "tagging softmax", "tagging global-pointer":
      let entities = rows[0]["entities"] as? [[String: Any]]
      #expect(entities?.map { $0["text"] as? String } == ["book good", "hotel bad"])
      #expect(entities?[1]["start"] as? Int == 17)
    default: break
    }
    // What was evaluated in training is what the saved model says.
    let again = try model.evaluate(folder.url.appending(path: family.file)).evaluation
    #expect(abs((again[family.metric] ?? 0) - reached) < 1e-12)
    // The mean of a model with itself is the model.
    let twice = try Ensemble(runs: [run, run], threads: 1)
    let fused = folder.url.appending(path: "fused.jsonl")
    _ = try twice.predict(folder.url.appending(path: family.bareFile), to: fused)
    let rounds = [
      "tagging softmax", "event-subject", "reading", "siamese", "siamese [u; v]", "joined pair",
      "classification",
    ].contains(family.name)
    if !rounds { #expect(try Data(contentsOf: fused) == Data(contentsOf: output)) }
    let mean = try twice.evaluate(folder.url.appending(path: family.file)).evaluation
    for (name, value) in again.metrics {
      #expect(abs((mean[name] ?? .nan) - value) < 1e-5 * max(1, abs(value)), "\(name)")
    }
  }

  /// What a prediction says, in the words of `MadeUpFamily.expected`.
  private static func said(_ row: [String: Any]) -> String {
    if let masks = row["masks"] as? [[[String: Any]]] {
      return masks.map { $0[0]["token"] as? String ?? "" }.joined(separator: " ")
    }
    if let triples = row["spo_list_pred"] as? [[String]] {
      return triples.map { $0.joined(separator: " ") }.joined(separator: ";")
    }
    if let value = row["value"] as? Double { return String(format: "%.1f", value) }
    if let tags = row["tags"] as? [String] { return tags.joined(separator: " ") }
    if let labels = row["labels"] as? [String] { return labels.joined(separator: ",") }
    return ["label", "entity", "answer"].compactMap { row[$0] as? String }.joined()
  }

  @Test(arguments: MadeUpFamily.all)
  func `a task's weights are the same on any number of ranks`(family: MadeUpFamily) throws {
    let (folder, recipe) = try family.written(dropout: 0.1, more: "steps: 5")
    defer { withExtendedLifetime(folder) {} }
    _ = try Self.compare(recipe, folder.url)
  }

  /// Trains on 1 to 4 ranks and compares the weights, the best model and the moments; returns what one rank ended with.
  static func compare(
    _ recipe: URL, _ folder: URL, _ overrides: [String] = []
  ) throws -> TrainingRun.Outcome {
    let runs = try (1...4).map { ranks in
      let run = folder.appending(path: "ranks\(ranks)")
      return try onRanks(ranks) { try train(recipe, into: run, overrides, on: $0) }[0]
    }
    for (ranks, outcome) in zip(1..., runs) {
      #expect(outcome == runs[0], "\(ranks) ranks")
      for file in ["best/model.safetensors", "checkpoints/step-00000005/optimizer.safetensors"] {
        let files = try [1, ranks].map {
          try Data(contentsOf: folder.appending(path: "ranks\($0)/\(file)"))
        }
        #expect(files[0] == files[1], "\(file) on \(ranks) ranks")
      }
    }
    return runs[0]
  }
}
