import Collective
import Foundation
import Model
import Synchronization
import TestSupport
import Testing
import Trainer

/// What a run leaves behind that a person compares: all of `metrics.jsonl` but the times.
private func log(_ run: URL) throws -> [[String: String]] {
  let data = try Data(contentsOf: run.appending(path: "metrics.jsonl"))
  return try data.split(separator: 0x0A).map { line in
    let object = try JSONSerialization.jsonObject(with: line) as? [String: Any] ?? [:]
    return object.filter { $0.key != "seconds" }.mapValues { "\($0)" }
  }
}

@Suite(.serialized) struct RankRunTests {
  @Test(arguments: [1, 2, 3, 5, 8])
  func `a run on ranks writes what a run of one process writes`(ranks: Int) throws {
    let task = try MadeUpTask()
    let (recipe, folder) = (task.recipe, task.url)
    let alone = try onRanks(1) {
      try trainedPart(recipe, into: folder.appending(path: "alone"), on: $0)
    }
    let together = try onRanks(ranks) { collective in
      var exchange = ExchangeSettings()
      exchange.bucketBytes = 1 << 12
      return try trainedPart(
        recipe, into: folder.appending(path: "together"), on: collective, exchange: exchange)
    }
    #expect(together.allSatisfy { $0 == alone[0] })
    #expect(
      try log(folder.appending(path: "together")) == log(folder.appending(path: "alone")))
    for file in [
      "best/model.safetensors", "checkpoints/step-00000012/optimizer.safetensors",
      "checkpoints/step-00000012/state.json",
    ] {
      let files = try ["alone", "together"].map {
        try Data(contentsOf: folder.appending(path: "\($0)/\(file)"))
      }
      #expect(files[0] == files[1], "\(file)")
    }
  }

  @Test func `a run that is stopped by any rank goes on with any other number of them`() throws {
    let task = try MadeUpTask()
    let (recipe, folder) = (task.recipe, task.url)
    let whole = try onRanks(1) {
      try trainedPart(recipe, into: folder.appending(path: "whole"), on: $0)
    }
    var step = 0
    for ranks in [2, 3, 1, 8, 5] {
      let outcomes = try onRanks(ranks) { collective in
        let requests = RunRequests()
        if collective.rank == ranks - 1 { requests.stop() }
        return try trainedPart(
          recipe, into: folder.appending(path: "parts"), on: collective, resumes: true,
          requests: requests)
      }
      step += 1
      #expect(outcomes.allSatisfy { $0 == .interrupted(step: step) })
    }
    let last = try onRanks(4) {
      try trainedPart(recipe, into: folder.appending(path: "parts"), on: $0, resumes: true)
    }
    #expect(last.allSatisfy { $0 == whole[0] })
    #expect(try log(folder.appending(path: "parts")) == log(folder.appending(path: "whole")))
  }

  @Test func `a run with a rounded wire says so in its log, at its end, to a resume and to verify`()
    throws
  {
    let task = try MadeUpTask()
    let (recipe, folder) = (task.recipe, task.url)
    var rounded = ExchangeSettings()
    rounded.wire = .bfloat16
    let limit = "bfloat16 wire on 2 ranks, deterministic for these alone"
    let text = Mutex("")
    func part(_ exchange: ExchangeSettings, ranks: Int, stops: Bool) throws {
      _ = try onRanks(ranks) { collective in
        let requests = RunRequests()
        if stops { requests.stop() }
        return try trainedPart(
          recipe, into: folder.appending(path: "run"), on: collective, exchange: exchange,
          resumes: true, requests: requests, write: { line in text.withLock { $0 += line } })
      }
    }
    try part(rounded, ranks: 2, stops: true)
    #expect(try log(folder.appending(path: "run"))[0]["exchange"] == limit)
    #expect(!text.withLock { $0.contains("note: step 1 was made with") })
    try part(ExchangeSettings(), ranks: 3, stops: false)
    let lines = try log(folder.appending(path: "run")).filter { $0["digest"] != nil }
    #expect(lines.count == 12 && lines[0]["exchange"] == limit)
    #expect(lines.dropFirst().allSatisfy { $0["exchange"] == nil })
    #expect(
      text.withLock {
        $0.contains(
          "note: step 1 was made with \(limit), this run goes on with an exchange whose bits are those of any number of ranks"
        )
      })
    #expect(
      text.withLock {
        $0.contains(
          "exchange     \(limit): other ranks or another exchange give other weights\n")
      })
    let prepared = try PreparedRun(Recipe(contentsOf: recipe, overrides: []), threads: 1)
    let pool = ThreadPool(threads: 1)
    defer { pool.stop() }
    let engine = Engine(
      configuration: prepared.configuration, head: prepared.definition.head, pool: pool)
    let error = #expect(throws: RunError.self) {
      try TrainingRun(
        prepared, group: .alone(leaves: prepared.recipe.batch.leaves),
        directory: RunDirectory(folder.appending(path: "run"), resumes: true), engine: engine,
        memory: MemoryPlan(prepared, engine: engine, limit: 1 << 30), requests: RunRequests(),
        output: TrainingRun.Output(isTerminal: false) { _ in }
      ).verify(step: 1)
    }
    #expect(error?.status == .usage)
    #expect(
      error?.description.contains(
        "steps after step 0 were made with \(limit): one process cannot recompute their bits.")
        == true)
  }

  @Test func `a rank with another wire is named before any tensor moves`() throws {
    let task = try MadeUpTask()
    let (recipe, folder) = (task.recipe, task.url)
    let outcomes = try outcomes(ranks: 2) { collective in
      var exchange = ExchangeSettings()
      exchange.wire = collective.rank == 1 ? .bfloat16 : .float32
      return try trainedPart(
        recipe, into: folder.appending(path: "run"), on: collective, exchange: exchange)
    }
    for outcome in outcomes {
      let error = #expect(throws: CommunicationError.self) { try outcome.get() }
      #expect(error?.exitCode == 77)
      #expect(
        "\(error.map { "\($0)" } ?? "")".contains(
          "The ranks disagree about the exchange of gradients: "))
    }
  }

  @Test func `a rank with another recipe is named before anything is written`() throws {
    let task = try MadeUpTask()
    let (recipe, folder) = (task.recipe, task.url)
    let outcomes = try outcomes(ranks: 3) { collective in
      try trainedPart(
        recipe, into: folder.appending(path: "run"),
        collective.rank == 2 ? ["optimizer.learningRate=1e-5"] : [], on: collective)
    }
    for outcome in outcomes {
      let error = #expect(throws: CommunicationError.self) { try outcome.get() }
      #expect(error?.exitCode == 77)
      let sentence = "\(error.map { "\($0)" } ?? "")"
      // A rank may hear of it from another before it sees it itself.
      #expect(
        sentence.contains("The ranks disagree about the recipe's optimizer.learningRate: "),
        "\(sentence)")
      #expect(sentence.contains(" on rank 0, rank 1; "), "\(sentence)")
      #expect(sentence.contains(" on rank 2. "), "\(sentence)")
    }
    #expect(
      !FileManager.default.fileExists(atPath: folder.appending(path: "run/recipe.yaml").path))
  }

  @Test func `a rank with other rows is named`() throws {
    let task = try MadeUpTask()
    let (recipe, folder) = (task.recipe, task.url)
    let rows = try String(contentsOf: folder.appending(path: "train.tsv"), encoding: .utf8)
    let other = folder.appending(path: "other.tsv")
    try (rows + rows.split(separator: "\n")[1] + "\n").write(
      to: other, atomically: true, encoding: .utf8)
    let outcomes = try outcomes(ranks: 2) { collective in
      try trainedPart(
        recipe, into: folder.appending(path: "run"),
        collective.rank == 1 ? ["data.train=\(other.path)"] : [], on: collective)
    }
    for outcome in outcomes {
      let error = #expect(throws: CommunicationError.self) { try outcome.get() }
      #expect(error?.exitCode == 77)
      #expect("\(error.map { "\($0)" } ?? "")".contains("The ranks disagree about the rows: "))
    }
  }

  @Test func `verify confirms a run on ranks, and names the first step of another`() throws {
    let task = try MadeUpTask()
    let (recipe, folder) = (task.recipe, task.url)
    func run(_ name: String) -> URL { folder.appending(path: name) }
    _ = try onRanks(3) {
      try trainedPart(
        recipe, into: folder.appending(path: "a"), ["checkpoint.everySteps=5"], on: $0)
    }
    _ = try onRanks(2) {
      try trainedPart(recipe, into: folder.appending(path: "b"), ["seed=9"], on: $0)
    }
    func verify(_ step: Int?) throws -> String {
      let prepared = try PreparedRun(Recipe(contentsOf: recipe, overrides: []), threads: 1)
      let pool = ThreadPool(threads: 1)
      defer { pool.stop() }
      let engine = Engine(
        configuration: prepared.configuration, head: prepared.definition.head, pool: pool)
      return try TrainingRun(
        prepared, group: .alone(leaves: prepared.recipe.batch.leaves),
        directory: RunDirectory(run("a"), resumes: true), access: .reading, engine: engine,
        memory: MemoryPlan(prepared, engine: engine, limit: 1 << 30), requests: RunRequests(),
        output: TrainingRun.Output(isTerminal: false) { _ in }
      ).verify(step: step)
    }
    #expect(
      try verify(nil).hasPrefix(
        "step 12 is confirmed: 2 steps recomputed from the checkpoint of step 10 give digest "))
    #expect(
      try verify(3).hasPrefix("step 3 is confirmed: 3 steps recomputed from the beginning"))
    #expect(try comparison().compare(run("a"), run("a")).hasPrefix("12 steps are the same"))
    let error = #expect(throws: RunError.self) { try comparison().compare(run("a"), run("b")) }
    #expect(error?.status == .disagreement)
    #expect(error?.description.hasPrefix("step 1: the ") == true)
    #expect(error?.description.contains("Their recipes differ: seed is ") == true)
    // Another loss of one leaf, as a defect on the rank that has it would give.
    let other = run("c")
    try FileManager.default.copyItem(at: run("a"), to: other)
    let log = other.appending(path: "metrics.jsonl")
    let changed = try String(contentsOf: log, encoding: .utf8).split(separator: "\n").map { line in
      guard line.hasPrefix("{\"step\":7,"),
        let values = line.firstRange(of: "\"leafLosses\":[")
      else { return String(line) }
      let leaves = line[values.upperBound...].prefix { $0 != "]" }.split(separator: ",")
      let spoilt = leaves.enumerated().map { $0.offset == 4 ? "99.5" : String($0.element) }
      return String(line)
        .replacing(leaves.joined(separator: ","), with: spoilt.joined(separator: ","))
        .replacing("\"loss\":", with: "\"loss\":1", maxReplacements: 1)
    }
    try (changed.joined(separator: "\n") + "\n").write(to: log, atomically: true, encoding: .utf8)
    let named = #expect(throws: RunError.self) { try comparison().compare(run("a"), other) }
    #expect(named?.description.hasPrefix("step 7: the loss is ") == true)
    #expect(
      named?.description.contains(
        "By the logs alone: of 8 leaves the first whose loss differs is leaf 5; ") == true
    )
    // One digit of the log.
    let metrics = run("a").appending(path: "metrics.jsonl")
    var lines = try String(contentsOf: metrics, encoding: .utf8).split(separator: "\n").map(
      String.init)
    let place = try #require(lines.firstIndex { $0.hasPrefix("{\"step\":12,") })
    lines[place] = lines[place].replacing(
      "\"digest\":\"", with: "\"digest\":\"0", maxReplacements: 1)
    try (lines.joined(separator: "\n") + "\n").write(to: metrics, atomically: true, encoding: .utf8)
    let wrong = #expect(throws: RunError.self) { _ = try verify(nil) }
    #expect(wrong?.status == .disagreement)
    #expect(wrong?.description.hasPrefix("step 12: the digest of the parameters is ") == true)
  }
}
