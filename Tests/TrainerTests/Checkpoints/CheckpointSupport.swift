import Foundation
import Model
import Synchronization
import TestSupport
import Testing
import Trainer

/// A small model in training: what a checkpoint must bring back.
final class SmallRun {
  let table: ParameterTable
  let parameters: Arena
  let optimizer: Optimizer

  /// Names whose order by bytes is not the table's; the second tensor is frozen.
  static func table(rows: Int = 5) -> ParameterTable {
    var table = ParameterTable()
    table.add("b.weight", [rows, 3], decays: true)
    table.add("frozen.bias", [7], decays: false)
    table.add("a.LayerNorm.weight", [1], decays: false)
    return table
  }

  init(step: Int = 0, table: ParameterTable = table()) {
    self.table = table
    parameters = Arena(count: table.count)
    optimizer = Optimizer(
      .init(.adamW), table: table, trainable: table.parameters.map { $0.name != "frozen.bias" },
      pool: ThreadPool(threads: 1))
    fill(step)
  }

  /// Numbers that belong to `step`.
  func fill(_ step: Int) {
    for (salt, arena) in [parameters, optimizer.firstMoment, optimizer.secondMoment].enumerated() {
      for (parameter, trained) in zip(table.parameters, optimizer.trainable)
      where trained || salt == 0 {
        for i in parameter.range { arena.base[i] = Float(1000 * step + 100 * salt + i) / 7 }
      }
    }
  }

  var bits: [UInt32] {
    [parameters, optimizer.firstMoment, optimizer.secondMoment].flatMap {
      $0.elements.map(\.bitPattern)
    }
  }

  static func state(_ step: Int, best: RunState.Best? = nil) -> RunState {
    RunState(
      step: step, epoch: step / 50, positionInEpoch: step % 50 * 32, best: best,
      seed: .max, batchSize: 32, leaves: 8, dataFingerprint: "data", recipeHash: "recipe",
      dialect: .huggingface, numericsFingerprint: "SkylakeX",
      inputs: ModelInputs(
        vocabulary: [], lowercase: true,
        configuration: BertConfiguration(
          vocabularySize: 9, hiddenSize: 8, layerCount: 1, headCount: 2, intermediateSize: 16)),
      awaitsEvaluation: step % 20 == 0)
  }

  /// Saves the numbers and the state of `step`.
  @discardableResult
  static func save(
    _ step: Int, to store: CheckpointStore, best: RunState.Best? = nil
  ) throws -> SavedCheckpoint {
    let run = SmallRun(step: step)
    return try store.save(
      state(step, best: best), parameters: run.parameters, optimizer: run.optimizer)
  }

  /// Drafts the numbers and the state of `step`, and changes them afterwards.
  static func draft(_ step: Int, in store: CheckpointStore) throws -> DraftedCheckpoint {
    let run = SmallRun(step: step)
    let draft = try store.draft(
      state(step), parameters: run.parameters, moments: run.optimizer.momentTensors, run.optimizer)
    run.fill(step + 1)
    return draft
  }

  /// Loads from `store` and checks that everything is of one step.
  static func load(from store: CheckpointStore) throws -> LoadedCheckpoint? {
    let run = SmallRun(step: 999)
    guard let loaded = try store.load(into: run.parameters, optimizer: run.optimizer) else {
      return nil
    }
    #expect(run.bits == SmallRun(step: loaded.state.step).bits)
    let digest = try WeightsDigest.hex(of: run.parameters, table: run.table)
    #expect(loaded.weightsDigest == digest)
    return loaded
  }
}

/// A gate that lets a number of file operations pass and then stops some or all that follow.
final class FaultyGate: Sendable {
  struct Killed: Error {}

  enum Fault: Sendable {
    /// From then on nothing happens: the process is dead.
    case killed
    /// That one operation fails with a full disk.
    case diskFull
  }

  private let passed = Mutex(0)
  let limit: Int
  let fault: Fault

  init(after limit: Int, _ fault: Fault) {
    self.limit = limit
    self.fault = fault
  }

  /// Operations that were asked for.
  var count: Int { passed.withLock { $0 } }

  var operations: FileOperations {
    FileOperations { _, path in
      let number = self.passed.withLock { passed in
        passed += 1
        return passed
      }
      switch self.fault {
      case .killed where number > self.limit: throw Killed()
      case .diskFull where number == self.limit + 1:
        throw CheckpointError.system(path, "cannot be written", code: ENOSPC)
      default: break
      }
    }
  }
}

/// Everything in a run's directory, as paths below it, without the lock.
func contents(_ run: URL) throws -> [String] {
  try FileManager.default.subpathsOfDirectory(atPath: run.path)
    .filter { $0 != "checkpoints/.lock" }.sorted()
}

/// The paths of a run that holds the complete checkpoints `steps` and nothing else.
func complete(_ steps: [String]) -> [String] {
  let files = ["manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"]
  return
    (["LATEST", "checkpoints"]
    + steps.flatMap { step in
      ["checkpoints/\(step)"] + files.map { "checkpoints/\(step)/\($0)" }
    }).sorted()
}

/// A copy of a folder that is removed when it goes out of scope.
///
/// In memory where the system has such a place: the tests that use it synchronise thousands of files.
final class FolderCopy {
  let url: URL

  init(_ original: URL) throws {
    let memory = URL(filePath: "/dev/shm")
    let base =
      FileManager.default.isWritableFile(atPath: memory.path)
      ? memory : FileManager.default.temporaryDirectory
    url = base.appending(path: "lockstep-\(UUID().uuidString)")
    try FileManager.default.copyItem(at: original, to: url)
  }

  deinit { try? FileManager.default.removeItem(at: url) }
}
