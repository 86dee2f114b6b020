import Crypto
import Foundation
import Model
import TestSupport
import Testing
import Trainer

@Suite struct RunFilesTests {
  enum Harm: Sendable, CaseIterable { case truncated, flipped }

  @Test(arguments: Harm.allCases, [1, 2])
  func `a run resumes past a damaged newest checkpoint, says so, and ends with the same bits`(
    harm: Harm, ranks: Int
  ) throws {
    let task = try MadeUpTask()
    let whole = try trained(task.recipe, into: task.url.appending(path: "whole"), ranks: ranks)
    let run = task.url.appending(path: "run")
    try trained(task.recipe, into: run, ["checkpoint.everySteps=5"], ranks: ranks)
    let folder = run.appending(path: "checkpoints/step-00000012")
    let file = folder.appending(path: "model.safetensors")
    let bytes = try Data(contentsOf: file)
    func sha256(_ data: Data) -> String {
      SHA256.hash(data: data).prefix(6).map { String(format: "%02x", $0) }.joined()
    }
    let finding: String
    switch harm {
    case .truncated:
      try bytes.dropLast(100).write(to: file)
      finding = "holds \(bytes.count - 100) bytes where its manifest says \(bytes.count)"
    case .flipped:
      var flipped = bytes
      flipped[flipped.count / 2] ^= 0x10
      try flipped.write(to: file)
      finding =
        "has the SHA-256 \(sha256(flipped))… where its manifest says \(sha256(bytes))…"
    }
    let resumed = try trained(
      task.recipe, into: run, ["checkpoint.everySteps=5"], ranks: ranks, resumes: true)
    #expect(
      resumed.messages.contains(
        "\(folder.path) cannot be used (\(file.path): \(finding)).\nresuming after step 10 from "),
      "\(resumed.messages)")
    #expect(resumed.weights == whole.weights && whole.weights != "")
    #expect(try Data(contentsOf: file) == bytes)
  }

  @Test func `a run clears away what killed writers of its files left, and says so`() throws {
    let task = try MadeUpTask()
    let run = task.url.appending(path: "run")
    try trained(task.recipe, into: run)
    let entries = { try FileManager.default.contentsOfDirectory(atPath: run.path).sorted() }
    let before = try entries()
    let model = run.appending(path: ".best.tmp-7-8")
    try FileManager.default.copyItem(at: run.appending(path: "best"), to: model)
    let log = run.appending(path: ".metrics.jsonl.tmp-7-9")
    try Data("x".utf8).write(to: log)
    let resumed = try trained(task.recipe, into: run, resumes: true)
    for url in [model, log] {
      #expect(
        resumed.messages.contains("\(url.path): removed, left by a writer that was ended.\n"))
    }
    #expect(try entries() == before)
    // Ended between the two renames of a file system that cannot exchange.
    let aside = run.appending(path: ".best.tmp-7-8.old")
    try FileManager.default.moveItem(at: run.appending(path: "best"), to: aside)
    let restored = try trained(task.recipe, into: run, resumes: true)
    #expect(
      restored.messages.contains(
        "\(run.path)/best: put back after a writer was ended replacing it.\n"))
    #expect(try entries() == before)
  }

  /// Everything below `run`, hidden or not, with sizes and times of the last change.
  private func state(_ run: URL) throws -> [String: String] {
    let paths = try FileManager.default.subpathsOfDirectory(atPath: run.path) + [""]
    return try Dictionary(
      uniqueKeysWithValues: paths.map { path in
        var info = stat()
        try #require(lstat(run.appending(path: path).path, &info) == 0)
        return (
          path,
          "\(info.st_ino) \(info.st_size) \(info.st_mtim.tv_sec).\(info.st_mtim.tv_nsec) \(info.st_ctim.tv_sec).\(info.st_ctim.tv_nsec)"
        )
      })
  }

  @Test
  func `verify changes nothing in a run's directory, and works while another process holds it`()
    throws
  {
    let task = try MadeUpTask()
    let run = task.url.appending(path: "run")
    try trained(task.recipe, into: run, ["checkpoint.everySteps=5"])
    func check() throws {
      let before = try state(run)
      #expect(
        try verified(run).hasPrefix(
          "step 12 is confirmed: 2 steps recomputed from the checkpoint of step 10 give digest "))
      #expect(try comparison().compare(run, run).hasPrefix("12 steps are the same"))
      #expect(try state(run) == before)
    }
    let store = try CheckpointStore(run: run)
    // What a writer would remove.
    for name in ["checkpoints/.step-00000099.partial", ".best.tmp-7-8"] {
      try FileManager.default.createDirectory(
        at: run.appending(path: name), withIntermediateDirectories: false)
    }
    try check()
    withExtendedLifetime(store) {}
    // Nor is a lock made where there is none.
    try FileManager.default.removeItem(at: run.appending(path: "checkpoints/.lock"))
    try check()
  }

  @Test func `verify opens the checkpoint of the step that it confirms`() throws {
    let task = try MadeUpTask()
    let run = task.url.appending(path: "run")
    let weights = try trained(task.recipe, into: run, ["checkpoint.everySteps=5"]).weights
    #expect(try verified(run).hasSuffix("; its checkpoint holds these weights, sha256 \(weights)"))
    #expect(!(try verified(run, step: 11).contains("its checkpoint")))
    let folder = run.appending(path: "checkpoints/step-00000012")
    let file = folder.appending(path: "model.safetensors")
    let bytes = try Data(contentsOf: file)
    try bytes.dropLast().write(to: file)
    let damaged = #expect(throws: CheckpointError.self) { try verified(run) }
    #expect(damaged?.rule == .damaged && damaged?.file == file.relativePath)
    // Whole, and with another number in it.
    var other = bytes
    other[other.count - 1] ^= 1
    try other.write(to: file)
    let manifest = folder.appending(path: "manifest.json")
    let text = try String(contentsOf: manifest, encoding: .utf8)
    func sha256(_ data: Data) -> String {
      SHA256.hash(data: data).map { String(format: "%02x", $0) }.joined()
    }
    #expect(text.contains(sha256(bytes)))
    try text.replacing(sha256(bytes), with: sha256(other))
      .write(to: manifest, atomically: true, encoding: .utf8)
    let foreign = #expect(throws: RunError.self) { try verified(run) }
    #expect(foreign?.status == .disagreement)
    #expect(foreign?.description.contains("holds weights with the SHA-256 ") == true)
  }

  @Test func `a run that ended before the other is not the same run`() throws {
    let task = try MadeUpTask()
    let (whole, part) = (task.url.appending(path: "whole"), task.url.appending(path: "part"))
    try trained(task.recipe, into: whole)
    try trained(task.recipe, into: part, stops: true)
    for (first, second) in [(whole, part), (part, whole)] {
      let error = #expect(throws: RunError.self) { try comparison().compare(first, second) }
      #expect(error?.status == .disagreement)
      #expect(error?.description.contains(": 1 step is the same, the last (1) with") == true)
    }
    try trained(task.recipe, into: part, resumes: true)
    #expect(try comparison().compare(whole, part).hasPrefix("12 steps are the same"))
  }

  @Test func `a copy that has checkpoints alone is a run all the same`() throws {
    let folder = try TemporaryFolder()
    try SmallRun.save(3, to: CheckpointStore(run: folder.url))
    try FileManager.default.removeItem(at: folder.url.appending(path: "LATEST"))
    let error = #expect(throws: RunError.self) { try RunDirectory(folder.url, resumes: false) }
    #expect(error?.description.contains("holds a run already") == true)
  }

  @Test func `a store that is only read makes no folder`() throws {
    let folder = try TemporaryFolder()
    let run = folder.url.appending(path: "run")
    #expect(try SmallRun.load(from: CheckpointStore(reading: run)) == nil)
    #expect(!FileManager.default.fileExists(atPath: run.path))
    try SmallRun.save(3, to: CheckpointStore(run: run))
    #expect(try SmallRun.load(from: CheckpointStore(reading: run))?.state.step == 3)
  }
}
