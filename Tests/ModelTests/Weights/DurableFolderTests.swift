import Foundation
import Model
import Synchronization
import TestSupport
import Testing

@Suite struct DurableFolderTests {
  enum Fault: Sendable, CaseIterable {
    /// From then on nothing happens: the process is dead.
    case killed
    /// That one operation is refused.
    case refused
  }

  struct Stopped: Error {}

  /// The operations that were asked for, of which one or all from `limit` on do not happen.
  final class Gate: Sendable {
    let asked = Mutex<[DurableOperations.Operation]>([])
    let limit: Int
    let fault: Fault
    let exchanges: Bool

    init(after limit: Int, _ fault: Fault, exchanges: Bool) {
      self.limit = limit
      self.fault = fault
      self.exchanges = exchanges
    }

    var operations: DurableOperations {
      DurableOperations(exchanges: exchanges) { operation, _ in
        let number = self.asked.withLock { asked in
          asked.append(operation)
          return asked.count - 1
        }
        if self.fault == .killed ? number >= self.limit : number == self.limit { throw Stopped() }
      }
    }
  }

  /// Writes a model all of whose weights are `value` to `best`.
  private static func export(
    _ value: Float, to folder: URL, _ operations: DurableOperations = DurableOperations()
  ) throws {
    let configuration = BertConfiguration(
      vocabularySize: 5, hiddenSize: 4, layerCount: 1, headCount: 1, intermediateSize: 4,
      maximumPositions: 4)
    let table = ParameterTable(configuration, head: nil)
    let arena = Arena(count: table.count)
    for i in 0..<arena.count { arena.base[i] = value }
    try ModelFolder.export(
      huggingFaceTo: folder.appending(path: "best"), configuration: configuration, arena: arena,
      table: table, task: nil, vocabulary: Array("\(value)".utf8), lowercase: true,
      operations: operations)
  }

  /// The files of `best` by name; nil where it is not there.
  private static func best(_ folder: URL) throws -> [String: Data]? {
    let best = folder.appending(path: "best")
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: best.path) else {
      return nil
    }
    return try Dictionary(
      uniqueKeysWithValues: names.map { ($0, try Data(contentsOf: best.appending(path: $0))) })
  }

  private static func entries(_ folder: URL) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
  }

  @Test(arguments: [true, false], Fault.allCases)
  func `a fault at any file operation leaves the old model or the new one, whole`(
    exchanges: Bool, fault: Fault
  ) throws {
    let models = try ([1, 2] as [Float]).map { value -> [String: Data] in
      let folder = try TemporaryFolder()
      try Self.export(value, to: folder.url)
      return try #require(try Self.best(folder.url))
    }
    #expect(models[0] != models[1])
    let counted = try TemporaryFolder()
    try Self.export(1, to: counted.url)
    let all = Gate(after: .max, fault, exchanges: exchanges)
    try Self.export(2, to: counted.url, all.operations)
    #expect(try Self.best(counted.url) == models[1])
    #expect(try Self.entries(counted.url) == ["best"])
    let operations = all.asked.withLock { $0 }
    #expect(operations.count > 20)
    #expect(operations.contains(.exchange) == exchanges)

    var ends: Set<Int> = []
    for (number, operation) in operations.enumerated() {
      let folder = try TemporaryFolder()
      try Self.export(1, to: folder.url)
      let gate = Gate(after: number, fault, exchanges: exchanges)
      // Only removing what is no longer needed may fail without a word.
      do {
        try Self.export(2, to: folder.url, gate.operations)
        #expect(operation == .remove, "operation \(number)")
      } catch is Stopped {}
      var found = try Self.best(folder.url)
      if found == nil {
        // Between two renames, and dead: hidden until the next writer comes.
        #expect(!exchanges && fault == .killed, "operation \(number), \(operation)")
      }
      if fault == .refused, operation != .remove {
        #expect(try Self.entries(folder.url) == ["best"], "operation \(number)")
      }
      let hidden = try Self.entries(folder.url).count { $0 != "best" }
      #expect(try DurableLeftovers.clear(folder.url, of: ["best"]).count == hidden)
      #expect(try Self.entries(folder.url) == ["best"], "operation \(number)")
      found = try Self.best(folder.url)
      let end = models.firstIndex { $0 == found }
      #expect(end != nil, "operation \(number), \(operation)")
      ends.formUnion(end.map { [$0] } ?? [])
    }
    #expect(ends == [0, 1])
  }

  @Test func `leftovers are known by their names alone, and each is said in a sentence`() throws {
    let folder = try TemporaryFolder()
    func make(_ name: String) throws {
      try FileManager.default.createDirectory(
        at: folder.url.appending(path: name), withIntermediateDirectories: false)
      try Data("x".utf8).write(to: folder.url.appending(path: "\(name)/model.safetensors"))
    }
    for name in [".best.tmp-12-34", ".best.tmp-12-35.old", ".metrics.jsonl.tmp-1-4294967295"] {
      try make(name)
    }
    let others = [
      ".best.tmp-12", ".best.tmp-12-x", ".best2.tmp-1-2", ".other.tmp-1-2", "best.tmp-1-2",
    ]
    for name in others { try make(name) }
    let path = folder.url.relativePath
    #expect(
      try DurableLeftovers.clear(folder.url, of: ["best", "metrics.jsonl"]) == [
        "\(path)/best: put back after a writer was ended replacing it.",
        "\(path)/.best.tmp-12-34: removed, left by a writer that was ended.",
        "\(path)/.metrics.jsonl.tmp-1-4294967295: removed, left by a writer that was ended.",
      ])
    #expect(try Self.entries(folder.url) == (others + ["best"]).sorted())
    // A name that is taken is not replaced.
    try make(".best.tmp-1-2.old")
    #expect(
      try DurableLeftovers.clear(folder.url, of: ["best"]) == [
        "\(path)/.best.tmp-1-2.old: removed, left by a writer that was ended."
      ])
  }
}
