import Foundation
import Synchronization
import TestSupport
import Testing

import Model

@Suite struct LoadingTests {
  /// The tiny model's encoder from a fixture, as one flat array.
  static func encoder(_ fixture: String) throws -> [Float] {
    try encoder(Fixtures.url(fixture))
  }

  static func encoder(_ url: URL) throws -> [Float] {
    let model = try ModelFolder.open(url, dialect: .huggingface)
    let head = Head(outputs: 2, loss: .softmax, usesPooler: true, dropout: 0)
    let table = ParameterTable(model.configuration, head: head)
    let arena = Arena(count: table.count)
    let report = try model.load(into: arena, table: table)
    #expect(report.found.count == table.parameters.count - 2)
    #expect(report.missing.map(\.name) == ["classifier.weight", "classifier.bias"])
    #expect(report.missing.allSatisfy { $0.cause == "a new task head" })
    return Array(arena[0..<table.count - 2 * 33])
  }

  @Test func `a TensorFlow checkpoint and a Hugging Face folder load to the same bits`() throws {
    let one = try Self.encoder("tiny_tf"), other = try Self.encoder("tiny_hf")
    #expect(one == other)
    #expect(one.contains { $0 != 0 })
  }

  @Test func `loading says that it gets on with every tensor`() throws {
    let model = try ModelFolder.open(Fixtures.url("tiny_hf"), dialect: .huggingface)
    let table = ParameterTable(
      model.configuration, head: Head(outputs: 2, loss: .softmax, usesPooler: true, dropout: 0))
    let count = Atomic(0)
    let report = try model.load(into: Arena(count: table.count), table: table) {
      count.add(1, ordering: .relaxed)
    }
    #expect(count.load(ordering: .relaxed) == report.found.count)
  }

  @Test func `a large file reaches the disk in parts, each of which is progress`() throws {
    let folder = try TemporaryFolder()
    let url = folder.url.appending(path: "large")
    let piece = [UInt8](0..<251)
    let file = try DurableFile(url)
    // A little more than two parts of 32 MiB.
    while file.byteCount <= 64 << 20 { try file.write(piece) }
    var parts = 0
    try file.commit { parts += 1 }
    #expect(parts == 4)  // three parts, and all of it
    let bytes = try Data(contentsOf: url)
    #expect(bytes.count == file.byteCount && bytes.suffix(251) == Data(piece))
  }

  @Test func `half-precision weights load as the rounded full-precision ones`() throws {
    let full = try Self.encoder("tiny_hf")
    #expect(try Self.encoder("tiny_hf_fp16") == full.map { Float(Float16($0)) })
    let rounded = full.map { value in
      let bits = value.bitPattern
      return Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
    }
    #expect(try Self.encoder("tiny_hf_bf16") == rounded)
  }
}
