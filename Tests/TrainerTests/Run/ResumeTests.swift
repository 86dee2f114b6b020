import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// What a resume finds: requests in the middle, files that are not as they were, and files that are gone.
@Suite struct ResumeTests {
  @Test func `a request to stop does not wait for evaluations: a resume makes them, once`() throws {
    let task = try MadeUpTask()
    let keys = ["checkpoint.everySteps=6", "training.ema=0.9"]
    let whole = try digest(train(task, "whole", keys))
    let all = try metrics(task, "whole")
    for (stop, splits) in [(6, []), (12, ["dev"])] {
      let name = "stopped-\(stop)"
      let parts = keys + (stop == 6 ? [] : ["evaluation.everySteps=6"])
      var outcome: TrainingRun.Outcome
      repeat {
        outcome = try train(task, name, parts, resumes: true, stops: true).outcome
      } while outcome != .interrupted(step: stop)
      let evaluated = try metrics(task, name).compactMap(\.split)
      #expect(evaluated == splits, "\(stop)")
      // Ended by force while the first evaluation was already in the log: it stands there once.
      let log = task.url.appending(path: "\(name)/metrics.jsonl")
      var text = try String(contentsOf: log, encoding: .utf8)
      text += "{\"step\":\(stop),\"epoch\":\(stop / 6),\"split\":\"dev\",\"accuracy\":0.125}\n"
      try text.write(to: log, atomically: true, encoding: .utf8)
      #expect(try digest(train(task, name, parts, resumes: true)) == whole)
      #expect(try metrics(task, name) == all)
    }
    let best = { (name: String) in
      try Data(contentsOf: task.url.appending(path: "\(name)/best/model.safetensors"))
    }
    #expect(try best("stopped-6") == best("whole") && best("stopped-12") == best("whole"))
  }

  @Test func `a run whose best model is gone chooses another, and says so`() throws {
    let task = try MadeUpTask()
    let whole = try digest(train(task, "whole"))
    var step = 0
    while step < 7 {
      guard case .interrupted(let made) = try train(task, "run", resumes: true, stops: true).outcome
      else { break }
      step = made
    }
    let best = task.url.appending(path: "run/best")
    try FileManager.default.removeItem(at: best)
    let resumed = try train(task, "run", resumes: true)
    #expect(try digest(resumed) == whole)
    #expect(resumed.messages.contains("/run/best is gone: the best model is chosen among "))
    #expect(FileManager.default.fileExists(atPath: best.appending(path: "model.safetensors").path))
    #expect(resumed.messages.contains("after step 12\nmodel        "), "\(resumed.messages)")
    // Of a complete run nothing is chosen any more.
    try FileManager.default.removeItem(at: best)
    let again = try train(task, "run", resumes: true)
    #expect(try digest(again) == whole && !again.messages.contains("model        /"))
  }

  @Test func `a log that lost lines is told of, and a long one is read in pieces`() throws {
    let task = try MadeUpTask()
    let whole = try digest(train(task, "run", ["checkpoint.everySteps=5"]))
    let log = task.url.appending(path: "run/metrics.jsonl")
    let lines = try String(contentsOf: log, encoding: .utf8).split(separator: "\n")
    try FileManager.default.removeItem(
      at: task.url.appending(path: "run/checkpoints/step-00000012"))
    // Two steps missing, and a line of another program of more than a piece.
    let filler = "# " + String(repeating: "x", count: 3 << 19)
    let kept = [lines[0], filler[...]] + lines[3...]
    try (kept.joined(separator: "\n") + "\n").write(to: log, atomically: true, encoding: .utf8)
    let resumed = try train(task, "run", ["checkpoint.everySteps=5"], resumes: true)
    #expect(try digest(resumed) == whole)
    #expect(
      resumed.messages.contains("metrics.jsonl has 8 of the 10 steps made: "), "\(resumed.messages)"
    )
    let after = try String(contentsOf: log, encoding: .utf8).split(separator: "\n")
    #expect(after.count == lines.count - 1)
    #expect(after[1] == filler && after[2] == lines[3])
    // A log that cannot be one is no reason to write behind it.
    try FileManager.default.removeItem(at: log)
    try FileManager.default.createDirectory(at: log, withIntermediateDirectories: false)
    #expect(throws: RunError.self) {
      try train(task, "run", ["checkpoint.everySteps=5"], resumes: true)
    }
  }

  @Test func `another recipe or other rows are no way to resume`() throws {
    let task = try MadeUpTask()
    try train(task, "run", stops: true)
    func sentence(_ overrides: [String]) -> String {
      do { try train(task, "run", overrides, resumes: true) } catch { return "\(error)" }
      return ""
    }
    #expect(sentence(["epochs=3"]).contains("epochs is 3, was 2"))
    #expect(
      sentence(["optimizer.weightDecay=0.5"]).contains("optimizer.weightDecay is 0.5, was 0.0"))
    try task.write("text\tlabel\ngood\tpos\nbad\tneg\n", to: "dev.tsv")
    #expect(sentence([]).contains("are not those that"))
  }

  @Test func `another vocabulary or configuration of the model is no way to resume`() throws {
    let task = try MadeUpTask()
    let model = task.url.appending(path: "model")
    try FileManager.default.copyItem(at: Fixtures.url("tiny_hf"), to: model)
    try train(task, "run", ["model.path=\(model.path)"], stops: true)
    func change(_ name: String, _ old: String, _ new: String) throws {
      let url = model.appending(path: name)
      let text = try String(contentsOf: url, encoding: .utf8)
      let changed = text.replacing(old, with: new)
      #expect(changed != text)
      try changed.write(to: url, atomically: true, encoding: .utf8)
    }
    func sentence() -> String {
      do { try train(task, "run", ["model.path=\(model.path)"], resumes: true) } catch {
        return ExitStatus(error) == .data ? "\(error)" : "another exit code: \(error)"
      }
      return ""
    }
    try change("vocab.txt", "movie", "moviE")
    #expect(sentence().contains("is not as it was when "))
    #expect(sentence().contains(#/: vocab.txt has the SHA-256 \w{12}…, was \w{12}…\. Restore it/#))
    #expect(throws: RunError.self) { try verified(task.url.appending(path: "run")) }
    try change("vocab.txt", "moviE", "movie")
    let heads = #""num_attention_heads": 4"#, others = #""num_attention_heads": 2"#
    try change("config.json", heads, others)
    #expect(sentence().contains("num_attention_heads is 2, was 4"), "\(sentence())")
    try change("config.json", others, heads)
    #expect(sentence() == "")
    // What is saved as the best model is what was read at the start.
    let saved = task.url.appending(path: "run/best/vocab.txt")
    #expect(try Data(contentsOf: saved) == Data(contentsOf: model.appending(path: "vocab.txt")))
  }

  @Test func `a last line that was cut off and lines past the checkpoint go when a run is resumed`()
    throws
  {
    let task = try MadeUpTask()
    try train(task, "run", stops: true)
    let file = task.url.appending(path: "run/metrics.jsonl")
    var data = try Data(contentsOf: file)
    data.append(Data("{\"step\":2,\"epoch\":1,\"loss\":0.5}\n{\"step\":3,\"ep".utf8))
    try data.write(to: file)
    try train(task, "run", resumes: true)
    #expect(try metrics(task, "run").filter { $0.split == nil }.map(\.step) == Array(1...12))
  }
}
