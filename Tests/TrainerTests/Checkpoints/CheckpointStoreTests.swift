import Foundation
import Model
import TestSupport
import Testing
import Trainer

@Suite struct CheckpointStoreTests {
  @Test func `a checkpoint brings back every bit`() throws {
    let folder = try TemporaryFolder()
    let run = folder.url.appending(path: "runs/first")  // made with the folders above it
    let best = RunState.Best(metric: "accuracy", value: 0.1 + 0.2, step: 100)
    let saved = try SmallRun.save(120, to: CheckpointStore(run: run), best: best)
    let store = try CheckpointStore(run: run)
    #expect(store.notices.isEmpty)
    let loaded = try #require(try SmallRun.load(from: store))
    #expect(loaded.state == SmallRun.state(120, best: best))
    #expect(loaded.notices.isEmpty)
    #expect(loaded.weightsDigest == saved.weightsDigest)
    #expect(saved.url.lastPathComponent == "step-00000120")
    #expect(try contents(run) == complete(["step-00000120"]))
    let latest = try String(contentsOf: run.appending(path: "LATEST"), encoding: .utf8)
    #expect(latest == "step-00000120\n")
  }

  @Test func `a run without checkpoints has nothing to load`() throws {
    let folder = try TemporaryFolder()
    #expect(try SmallRun.load(from: CheckpointStore(run: folder.url)) == nil)
  }

  @Test func `the weights' digest is that of the file, and needs no file`() throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url)
    let digests = try [3, 4, 3].map { try SmallRun.save($0, to: store).weightsDigest }
    #expect(digests[0] == digests[2] && digests[0] != digests[1])
    let run = SmallRun(step: 3)
    #expect(try WeightsDigest.hex(of: run.parameters, table: run.table) == digests[0])
  }

  // A file that transformers wrote, its tensors in another order, and what sha256sum says of it.
  @Test func `weights are laid out as the safetensors library does`() throws {
    let file = try Safetensors(Fixtures.url("tiny_hf/model.safetensors"))
    var table = ParameterTable()
    for tensor in file.tensors.reversed() { table.add(tensor.name, tensor.shape, decays: false) }
    let weights = Arena(count: table.count)
    for parameter in table.parameters {
      try file.read(parameter.name, into: weights[parameter.range])
    }
    #expect(
      try WeightsDigest.hex(of: weights, table: table)
        == "e43251058739c0785d239da06db13d70ca12a017e4cfca2cc7d1eb2f3e4d9316")
  }

  @Test func `moments are named by parameter, frozen tensors have none`() throws {
    let folder = try TemporaryFolder()
    let saved = try SmallRun.save(3, to: CheckpointStore(run: folder.url))
    let moments = try Safetensors(saved.url.appending(path: "optimizer.safetensors"))
    #expect(
      moments.tensors.map(\.name) == [
        "a.LayerNorm.weight.m", "a.LayerNorm.weight.v", "b.weight.m", "b.weight.v",
      ])
    #expect(moments.tensor("b.weight.m")?.shape == [5, 3])
  }

  @Test(arguments: [1, 2, 3]) func `the last few checkpoints and the best are kept`(
    keep: Int
  ) throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url, keep: keep)
    var best: RunState.Best?
    for step in [10, 20, 30, 40, 50] {
      if step == 20 { best = .init(metric: "f1", value: 0.5, step: 20) }
      try SmallRun.save(step, to: store, best: best)
    }
    let last = [10, 20, 30, 40, 50].suffix(keep)
    #expect(try store.steps == (Set(last).union([20])).sorted())
    // A new best frees the old one.
    try SmallRun.save(60, to: store, best: .init(metric: "f1", value: 0.6, step: 60))
    #expect(try store.steps == [10, 20, 30, 40, 50, 60].suffix(keep))
    #expect(try contents(folder.url) == complete(try store.steps.map { "step-000000\($0)" }))
  }

  @Test func `a run that goes back keeps what it writes, and replaces what it comes to`() throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url, keep: 1)
    try SmallRun.save(90, to: store)
    try SmallRun.save(30, to: store)
    #expect(try store.steps == [30, 90])
    try SmallRun.save(60, to: store)
    #expect(try store.steps == [60, 90])
    try SmallRun.save(90, to: store)
    #expect(try store.steps == [90])
    #expect(try SmallRun.load(from: store)?.state.step == 90)
    #expect(try contents(folder.url) == complete(["step-00000090"]))
  }

  @Test func `a damaged checkpoint does not count among those that are kept`() throws {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url, keep: 2)
    try SmallRun.save(10, to: store)
    try Data().write(to: SmallRun.save(20, to: store).url.appending(path: "model.safetensors"))
    #expect(try SmallRun.load(from: store)?.state.step == 10)
    try SmallRun.save(25, to: store)
    #expect(try store.steps == [10, 20, 25])
    try SmallRun.save(30, to: store)
    #expect(try store.steps == [25, 30])
  }

  @Test func `what others have put into an old checkpoint goes with it, and a link leads nowhere`()
    throws
  {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url.appending(path: "run"), keep: 1)
    let manager = FileManager.default
    let inner = try SmallRun.save(10, to: store).url.appending(path: "@eaDir/deep")
    try manager.createDirectory(at: inner, withIntermediateDirectories: true)
    try Data("x".utf8).write(to: inner.appending(path: "file"))
    #expect(try SmallRun.save(20, to: store).notices == [])
    #expect(try store.steps == [20])
    // The checkpoint of step 20 was moved to an archive.
    let archive = folder.url.appending(path: "archive")
    try manager.moveItem(at: store.url(ofStep: 20), to: archive)
    try manager.createSymbolicLink(at: store.url(ofStep: 20), withDestinationURL: archive)
    #expect(try SmallRun.save(30, to: store).notices == [])
    #expect(try store.steps == [30])
    #expect(try manager.contentsOfDirectory(atPath: archive.path).count == 4)
  }

  @Test func `an old checkpoint that cannot be removed is told of, now and at the next start`()
    throws
  {
    let folder = try TemporaryFolder()
    let stuck = FileOperations { operation, path in
      if operation == .remove, path.hasSuffix("state.json") {
        throw CheckpointError.system(path, "cannot be removed", code: EBUSY)
      }
    }
    do {
      let store = try CheckpointStore(run: folder.url, keep: 1, operations: stuck)
      try SmallRun.save(10, to: store)
      let saved = try SmallRun.save(20, to: store)
      #expect(saved.notices.count == 1)
      #expect(
        saved.notices.first?.contains(
          "step-00000010 is not needed any more and stays: ") == true)
    }
    let store = try CheckpointStore(run: folder.url, keep: 1, operations: stuck)
    #expect(store.notices.count == 1 && store.notices[0].contains(".removed is not needed"))
    #expect(try SmallRun.load(from: store)?.state.step == 20)
    try SmallRun.save(30, to: store)
    #expect(try SmallRun.load(from: store)?.state.step == 30)
  }

  @Test func `a second writer is refused while the first lives`() throws {
    let folder = try TemporaryFolder()
    var first: CheckpointStore? = try CheckpointStore(run: folder.url)
    let error = #expect(throws: CheckpointError.self) { try CheckpointStore(run: folder.url) }
    #expect(error?.rule == .busy)
    #expect(
      error?.description.hasSuffix(
        "another process is writing to this run; wait for it to end, or choose another run "
          + "directory with --run.") == true)
    try SmallRun.save(1, to: #require(first))
    first = nil
    #expect(try CheckpointStore(run: folder.url).steps == [1])
  }

  // Even root cannot make folders there.
  @Test(arguments: ["/proc/run", "/dev/null/run"])
  func `a folder that cannot be written is a sentence`(path: String) throws {
    let error = #expect(throws: CheckpointError.self) {
      try CheckpointStore(run: URL(filePath: path))
    }
    #expect(error?.rule == .system)
    #expect(error?.description.contains("cannot be created: ") == true)
    #expect(error?.description.hasSuffix("choose another run directory with --run.") == true)
  }

  @Test func `a draft holds its bytes while training goes on, and is a checkpoint once published`()
    throws
  {
    let folder = try TemporaryFolder()
    let store = try CheckpointStore(run: folder.url)
    let draft = try SmallRun.draft(7, in: store)
    #expect(try store.steps.isEmpty)
    // Other weights by now.
    let saved = draft.saved
    var files = 0
    try store.publish(draft) { files += 1 }
    #expect(files == 4)
    #expect(try store.steps == [7])
    let loaded = try #require(try SmallRun.load(from: store))
    #expect(loaded.state.step == 7 && loaded.weightsDigest == saved.weightsDigest)
  }

  @Test func `a full disk is a sentence`() throws {
    let folder = try TemporaryFolder()
    let gate = FaultyGate(after: 5, .diskFull)
    let store = try CheckpointStore(run: folder.url, operations: gate.operations)
    let error = #expect(throws: CheckpointError.self) { try SmallRun.save(1, to: store) }
    #expect(
      error?.description.hasSuffix(
        "cannot be written: No space left on device; free space on this disk, or choose a run "
          + "directory on another with --run.") == true)
  }
}
