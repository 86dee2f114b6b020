import Foundation
import Model
import TestSupport
import Testing
import Trainer

@Suite struct CheckpointFaultTests {
  /// File operations of a save that succeeds, in a run that looks like the tests'.
  private static func operationCount(replacing: Bool) throws -> Int {
    let folder = try TemporaryFolder()
    try prepare(folder.url, replacing: replacing)
    let gate = FaultyGate(after: .max, .killed)
    try SmallRun.save(30, to: CheckpointStore(run: folder.url, operations: gate.operations))
    return gate.count
  }

  /// A run with two checkpoints; the next save is of step 30, and one of them goes.
  private static func prepare(_ run: URL, replacing: Bool) throws {
    let store = try CheckpointStore(run: run, keep: 2)
    try SmallRun.save(10, to: store)
    try SmallRun.save(20, to: store)
    if replacing {
      try SmallRun.save(30, to: store)
      // Damaged: what a run replaces after it fell back.
      try Data("x".utf8).write(to: store.url(ofStep: 30).appending(path: "state.json"))
    }
  }

  @Test(arguments: [false, true])
  func `a writer killed at any file operation leaves a run that continues`(replacing: Bool) throws {
    let operations = try Self.operationCount(replacing: replacing)
    #expect(operations > 20)
    let prepared = try TemporaryFolder()
    try Self.prepare(prepared.url, replacing: replacing)
    var ends: Set<Int> = []
    for killedAfter in 0..<operations {
      let folder = try FolderCopy(prepared.url)
      do {
        let gate = FaultyGate(after: killedAfter, .killed)
        #expect(throws: FaultyGate.Killed.self) {
          try SmallRun.save(30, to: CheckpointStore(run: folder.url, operations: gate.operations))
        }
      }
      // The next start finds the old or the new checkpoint, whole, and clears the rest away.
      let store = try CheckpointStore(run: folder.url)
      let loaded = try #require(try SmallRun.load(from: store))
      ends.insert(loaded.state.step)
      let left = try contents(folder.url).filter { $0.contains("/.") || $0.hasPrefix(".") }
      #expect(left.isEmpty, "after \(killedAfter) operations")
      if replacing { #expect(loaded.notices.count == (loaded.state.step == 30 ? 0 : 1)) }
      // And the run goes on.
      try SmallRun.save(40, to: store)
      #expect(try SmallRun.load(from: store)?.state.step == 40)
      // A damaged one does not count as kept.
      let damaged = replacing && loaded.state.step == 20 ? try store.steps.filter { $0 == 30 } : []
      #expect(
        try store.steps == [loaded.state.step] + damaged + [40], "after \(killedAfter) operations")
    }
    #expect(ends == [20, 30])
  }

  @Test(arguments: [false, true])
  func `a disk that fills at any file operation costs nothing that was there`(
    replacing: Bool
  ) throws {
    let prepared = try TemporaryFolder()
    try Self.prepare(prepared.url, replacing: replacing)
    var savedAll = 0
    let operations = try Self.operationCount(replacing: replacing)
    for failing in 0..<operations {
      let folder = try FolderCopy(prepared.url)
      let gate = FaultyGate(after: failing, .diskFull)
      let store = try CheckpointStore(run: folder.url, operations: gate.operations)
      do {
        // Once the checkpoint is there, old ones that stay are no reason to end a training.
        let saved = try SmallRun.save(30, to: store)
        savedAll += 1
        #expect(saved.notices.count == 1)
        #expect(saved.notices.first?.contains("stays: ") == true, "\(saved.notices)")
        #expect(try SmallRun.load(from: store)?.state.step == 30)
      } catch let error as CheckpointError {
        #expect(error.rule == .system)
        #expect(error.description.contains("No space left on device; free space"))
      }
      // Nothing half-written: not even under a passing name, unless removing is what failed.
      for path in try contents(folder.url) where path.contains(".step") {
        #expect(path.contains(".removed") || path.contains(".replaced"), "operation \(failing)")
      }
      #expect(try SmallRun.load(from: store)?.state.step ?? 0 >= 20)
      // With space again the same store goes on.
      try SmallRun.save(40, to: store)
      #expect(try SmallRun.load(from: store)?.state.step == 40)
    }
    #expect(savedAll > 0 && savedAll < operations / 2)
  }

  /// Ways in which a file can be harmed.
  enum Harm: CaseIterable { case emptied, cutInHalf, cutByOne, longer, missing, folder }

  @Test(
    arguments: ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"],
    Harm.allCases)
  func `a harmed file makes the run fall back and say why`(file: String, harm: Harm) throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url)
    try SmallRun.save(10, to: store)
    let url = try SmallRun.save(20, to: store).url.appending(path: file)
    let bytes = try Data(contentsOf: url)
    switch harm {
    case .emptied: try Data().write(to: url)
    case .cutInHalf: try bytes.prefix(bytes.count / 2).write(to: url)
    case .cutByOne: try bytes.dropLast(file == "manifest.json" ? 2 : 1).write(to: url)
    case .longer: try (bytes + Data("}".utf8)).write(to: url)
    case .missing: try FileManager.default.removeItem(at: url)
    case .folder:
      try FileManager.default.removeItem(at: url)
      try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    }
    let loaded = try #require(try SmallRun.load(from: store))
    #expect(loaded.state.step == 10)
    #expect(loaded.notices.count == 1)
    #expect(loaded.notices[0].contains("step-00000020 cannot be used ("))
    #expect(loaded.notices[0].contains(file))
  }

  @Test(arguments: ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
  func `a flipped bit anywhere is never trained on`(file: String) throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url)
    try SmallRun.save(10, to: store)
    let url = try SmallRun.save(20, to: store).url.appending(path: file)
    let bytes = try Data(contentsOf: url)
    for index in bytes.indices {
      var flipped = bytes
      flipped[index] ^= 1 << UInt8(index % 8)
      try flipped.write(to: url)
      let loaded = try #require(try SmallRun.load(from: store))
      // Space between the manifest's values may change: what it says does not.
      #expect(loaded.state.step == 10 || file == "manifest.json", "byte \(index)")
      #expect(loaded.notices.count == (loaded.state.step == 10 ? 1 : 0))
    }
  }

  @Test func `when every checkpoint is damaged all are named`() throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url)
    for step in [10, 20] {
      let saved = try SmallRun.save(step, to: store)
      try Data("{}".utf8).write(to: saved.url.appending(path: "manifest.json"))
    }
    let error = #expect(throws: CheckpointError.self) { try SmallRun.load(from: store) }
    #expect(error?.rule == .noneUsable)
    #expect(error?.description.contains("step-00000010 cannot be used") == true)
    #expect(error?.description.contains("step-00000020 cannot be used") == true)
    #expect(error?.description.contains("lacks the key \"version\"") == true)
  }

  @Test func `a checkpoint of another model is an error, not a reason to fall back`() throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url)
    try SmallRun.save(10, to: store)
    let other = SmallRun(step: 1, table: SmallRun.table(rows: 6))
    let before = other.bits
    let error = #expect(throws: CheckpointError.self) {
      try store.load(into: other.parameters, optimizer: other.optimizer)
    }
    #expect(error?.rule == .mismatch)
    #expect(
      error?.finding == "the tensor b.weight is F32 [5, 3] where this model has F32 [6, 3]")
    #expect(other.bits == before)
    var table = SmallRun.table()
    table.add("classifier.weight", [2], decays: true)
    let larger = SmallRun(step: 1, table: table)
    let missing = #expect(throws: CheckpointError.self) {
      try store.load(into: larger.parameters, optimizer: larger.optimizer)
    }
    #expect(missing?.finding == "holds no tensor classifier.weight")
  }

  @Test(arguments: [
    (#"{"step": 1}"#, "lacks the key \"version\""), ("", "is not JSON"), ("[]", "wrong type"),
    (#"{"version": 3, "new": 0}"#, "is of version 3 where this Lockstep reads version 2"),
    (#"{"version": 0}"#, "is of version 0 where this Lockstep reads version 2"),
    (#"{"version": 2, "rank": 0}"#, "holds the unknown key \"rank\""),
    (#"{"version": 1, "step": "1"}"#, "holds a value of the wrong type at step"),
    ("\u{FEFF}{}", "JSON"),
  ])
  func `a state that is not one is a sentence`(json: String, finding: String) throws {
    let error = #expect(throws: CheckpointError.self) {
      try RunState(decoding: Data(json.utf8), file: "state.json")
    }
    #expect(error?.finding.contains(finding) == true || json.hasPrefix("\u{FEFF}"))
  }

  @Test func `a checkpoint of version 1 is read, and one of a newer version is an error at once`()
    throws
  {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url)
    try SmallRun.save(10, to: store)
    let url = try SmallRun.save(20, to: store).url
    let state = try #require(
      JSONSerialization.jsonObject(with: Data(contentsOf: url.appending(path: "state.json")))
        as? [String: Any])
    func decode(_ state: [String: Any]) throws -> RunState {
      try RunState(decoding: JSONSerialization.data(withJSONObject: state), file: "state.json")
    }
    #expect(try decode(state) == SmallRun.state(20))
    for key in ["inputs", "awaitsEvaluation"] {
      var older = state
      older[key] = nil
      let error = #expect(throws: CheckpointError.self) { try decode(older) }
      #expect(error?.finding == "lacks the key \"\(key)\"")
    }
    var older = state
    (older["version"], older["inputs"], older["awaitsEvaluation"]) = (1, nil, nil)
    #expect(try decode(older).inputs == nil && decode(older).step == 20)
    // The manifest comes first, and an older checkpoint would not do: it is the program that is too old.
    let manifest = url.appending(path: "manifest.json")
    let text = try String(contentsOf: manifest, encoding: .utf8)
    let newer = text.replacing("\"version\" : 1", with: "\"version\" : 2, \"signature\" : 7")
    #expect(newer != text)
    try newer.write(to: manifest, atomically: true, encoding: .utf8)
    let error = #expect(throws: CheckpointError.self) { try SmallRun.load(from: store) }
    #expect(error?.rule == .mismatch)
    #expect(error?.finding == "is of version 2 where this Lockstep reads version 1")
  }

  @Test(arguments: ["\"step\" : 20", "\"leaves\" : 8", "\"dialect\" : \"huggingface\""])
  func `a state of impossible values is refused`(entry: String) throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url)
    let url = try SmallRun.save(20, to: store).url.appending(path: "state.json")
    let text = try String(contentsOf: url, encoding: .utf8)
    #expect(text.contains(entry))
    let key = entry.prefix { $0 != ":" }
    for value in ["-1", "null", "\"x\"", "1.5", "99999999999999999999"] {
      let changed = text.replacingOccurrences(of: entry, with: "\(key): \(value)")
      #expect(throws: CheckpointError.self) {
        try RunState(decoding: Data(changed.utf8), file: "state.json")
      }
    }
  }
}
