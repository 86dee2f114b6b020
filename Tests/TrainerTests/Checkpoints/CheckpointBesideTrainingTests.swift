import Collective
import Foundation
import Model
import Synchronization
import TestSupport
import Testing
import Trainer

/// A checkpoint is read, hashed and written while the next step computes its gradient.
@Suite(.serialized) struct CheckpointBesideTrainingTests {
  /// A task for a drawn model of several chunks, so that every rank owns some of the optimizer's state.
  private static func task() throws -> MadeUpTask {
    let task = try MadeUpTask()
    try FileManager.default.createDirectory(
      at: task.url.appending(path: "model"), withIntermediateDirectories: true)
    try task.write(
      try Data(contentsOf: Fixtures.url("tiny_hf").appending(path: "vocab.txt")),
      to: "model/vocab.txt")
    try task.write(
      """
      {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 384,
       "vocab_size": 196, "max_position_embeddings": 64, "type_vocab_size": 2, "hidden_act": "gelu",
       "model_type": "bert"}
      """, to: "model/config.json")
    try task.write(
      """
      task: classification
      model: {path: model, initialize: random}
      data: {train: train.tsv, dev: dev.tsv, lowercase: true, maxLength: 24}
      optimizer: {learningRate: 1e-3}
      batch: {size: 8}
      steps: 5
      threads: 1
      checkpoint: {everySteps: 1, keep: 9}

      """, to: "recipe.yaml")
    return task
  }

  /// What a run's checkpoints hold, by path below them.
  private static func files(_ run: URL) throws -> [String: Data] {
    let folder = run.appending(path: "checkpoints")
    var files: [String: Data] = [:]
    for path in try FileManager.default.subpathsOfDirectory(atPath: folder.path)
    where path.hasSuffix(".safetensors") || path.hasSuffix(".json") {
      files[path] = try Data(contentsOf: folder.appending(path: path))
    }
    return files
  }

  /// Whether the step behind the last checkpoint has exchanged its header, which comes after its gradient.
  private static func hasNextGradient(_ collective: CollectiveEngine) -> Bool {
    collective.recorder.records.reversed().prefix { $0.kind != "stream of parts" }
      .contains { $0.kind == "all-gather of blobs" }
  }

  @Test(arguments: [2, 3], [CollectiveEngine.Progress.thread, .cooperative])
  func `training goes on to the end of the next gradient, and not further`(
    ranks: Int, progress: CollectiveEngine.Progress
  ) throws {
    let task = try Self.task()
    let (recipe, plain, slow) = (
      task.recipe, task.url.appending(path: "plain"), task.url.appending(path: "slow")
    )
    _ = try onRanks(1) { try trainedPart(recipe, into: plain, on: $0) }
    let went = Mutex<[String: Bool]>([:])
    _ = try onRanks(ranks, progress: progress) { collective in
      // The optimizer's file is held back until the next step's gradient is there, and is slow even then.
      let operations = FileOperations { operation, path in
        guard path.hasSuffix("optimizer.safetensors"), path.contains(".partial"),
          !path.contains("step-00000005")
        else { return }
        if operation == .create {
          let begun = ContinuousClock().now
          while !Self.hasNextGradient(collective), ContinuousClock().now - begun < .seconds(10) {
            usleep(1_000)
          }
          let goesOn = Self.hasNextGradient(collective)
          went.withLock { $0[path] = goesOn }
        } else if case .write = operation {
          usleep(2_000)
        }
      }
      return try trainedPart(recipe, into: slow, on: collective, operations: operations)
    }
    let held = went.withLock { $0 }
    #expect(held.count == 4 && held.values.allSatisfy { $0 }, "\(held)")
    let (expected, found) = (try Self.files(plain), try Self.files(slow))
    #expect(found.count == 4 * 5)
    #expect(found == expected)
  }

  @Test(arguments: [1, 2], [[], ["training.adversarial=0.5"]])
  func `whatever is about to change waits for its reader`(ranks: Int, keys: [String]) throws {
    let task = try Self.task()
    let (recipe, plain, slow) = (
      task.recipe, task.url.appending(path: "plain"), task.url.appending(path: "slow")
    )
    _ = try onRanks(1) { try trainedPart(recipe, into: plain, keys, on: $0) }
    _ = try onRanks(ranks) { collective in
      let operations = FileOperations { operation, path in
        if case .write = operation, path.hasSuffix("model.safetensors") { usleep(3_000) }
      }
      return try trainedPart(recipe, into: slow, keys, on: collective, operations: operations)
    }
    let (expected, found) = (try Self.files(plain), try Self.files(slow))
    #expect(found.count == 4 * 5)
    #expect(found == expected)
  }

  @Test(arguments: [1, 3])
  func `a disk that is full ends every rank with the sentence, and the checkpoint before stays`(
    ranks: Int
  ) throws {
    let task = try Self.task()
    let (recipe, folder) = (task.recipe, task.url)
    let run = folder.appending(path: "run")
    let clock = ContinuousClock(), begun = clock.now
    let outcomes = try outcomes(ranks: ranks) { collective in
      let operations = FileOperations { operation, path in
        if case .write = operation, path.hasSuffix("optimizer.safetensors"),
          path.contains("step-00000003")
        {
          throw CheckpointError.system(path, "cannot be written", code: ENOSPC)
        }
      }
      return try trainedPart(recipe, into: run, on: collective, operations: operations)
    }
    #expect(clock.now - begun < .seconds(20))
    let error = #expect(throws: CheckpointError.self) { try outcomes[0].get() }
    let sentence = "\(error.map { "\($0)" } ?? "")"
    #expect(
      sentence.hasSuffix(
        "optimizer.safetensors: cannot be written: No space left on device; free space on this disk, "
          + "or choose a run directory on another with --run."), "\(sentence)")
    for outcome in outcomes.dropFirst() {
      let error = #expect(throws: CommunicationError.self) { try outcome.get() }
      #expect(error?.exitCode == 74)
      #expect("\(error.map { "\($0)" } ?? "")" == "rank 0 failed: \(sentence)")
    }
    #expect(try CheckpointStore(run: run).steps == [1, 2])
    let checkpoints = run.appending(path: "checkpoints").path
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: checkpoints).allSatisfy {
        !$0.hasSuffix(".partial")
      })
    // The run goes on from the checkpoint before, on another number of ranks, to the same weights.
    let whole = try onRanks(1) {
      try trainedPart(recipe, into: folder.appending(path: "whole"), on: $0)
    }
    let resumed = try onRanks(2) { try trainedPart(recipe, into: run, on: $0, resumes: true) }
    #expect(resumed == [whole[0], whole[0]])
  }
}
