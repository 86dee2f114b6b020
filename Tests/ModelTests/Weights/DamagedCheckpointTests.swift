import Foundation
import Model
import TestSupport
import Testing

@Suite struct DamagedCheckpointTests {
  static let prefix = "bert_model.ckpt"

  /// Opens what `index` describes beside the fixture's data, or returns the error.
  private static func open(
    _ index: [UInt8], in folder: TemporaryFolder, prefix: String = prefix
  ) throws -> Result<TensorFlowCheckpoint, WeightsError> {
    try folder.write(index, to: prefix + ".index")
    do {
      return .success(try TensorFlowCheckpoint(prefix: folder.path(prefix)))
    } catch let error as WeightsError {
      return .failure(error)
    }
  }

  @Test func `a changed byte of the index is an error or changes nothing`() throws {
    let index = try [UInt8](Fixtures.data("tiny_tf/\(Self.prefix).index"))
    let entries = try CheckpointTable.read(index, file: "i")
    var harmless = 0
    for position in index.indices {
      var damaged = index
      damaged[position] ^= 1 << UInt8(position % 8)
      guard let read = try? CheckpointTable.read(damaged, file: "i") else { continue }
      #expect(read == entries, "byte \(position)")
      harmless += 1
    }
    // Only the zero padding of the footer means nothing.
    #expect(harmless < 40)
  }

  @Test func `an index cut short anywhere is an error`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_tf")
    let index = try folder.bytes("\(Self.prefix).index")
    for count in index.indices {
      #expect(throws: WeightsError.self) {
        try CheckpointTable.read(Array(index[..<count]), file: "i")
      }
    }
    let path = folder.path(Self.prefix).path
    try folder.write(index[..<20], to: "\(Self.prefix).index")
    #expect(
      message { _ = try TensorFlowCheckpoint(prefix: folder.path(Self.prefix)) }
        == "\(path).index: holds 20 bytes where the footer of a checkpoint index alone has 48; fetch or copy the file again."
    )
  }

  @Test(arguments: ["dtypes.ckpt", "partitioned.ckpt"])
  func `an entry with any bit changed under a right checksum never crashes`(prefix: String) throws {
    let folder = try TemporaryFolder(copyOf: "tf_extra")
    let entries = try CheckpointTable.read(folder.bytes("\(prefix).index"), file: "index")
    for number in entries.indices {
      for bit in 0..<8 * entries[number].value.count {
        var damaged = entries
        damaged[number].value[bit / 8] ^= 1 << UInt8(bit % 8)
        let index = CheckpointTable.written(damaged)
        guard case .success(let checkpoint) = try Self.open(index, in: folder, prefix: prefix)
        else { continue }
        let name = String(decoding: damaged[number].key, as: UTF8.self)
        guard let tensor = checkpoint.tensor(name) else { continue }
        try? checkpoint.stream(tensor) { _ in }
      }
    }
  }

  @Test(arguments: [false, true])
  func `a block with any bit changed under a right checksum never crashes`(compressed: Bool) throws
  {
    let entries = try CheckpointTable.read(
      [UInt8](Fixtures.data("tf_extra/dtypes.ckpt.index")), file: "index")
    // The table is one data block at offset 0; its contents end where the metaindex block's begin.
    let written = CheckpointTable.written(entries)
    let size = written.count - Self.sizeBehindData(written)
    let plain = Array(written[..<size])
    let type: UInt8 = compressed ? 1 : 0
    let contents = compressed ? snappy(plain) : plain
    #expect(try CheckpointTable.read(table(block: contents, type: type), file: "i") == entries)
    for bit in 0..<8 * contents.count {
      var damaged = contents
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      _ = try? CheckpointTable.read(table(block: damaged, type: type), file: "i")
    }
    for count in contents.indices {
      #expect(throws: WeightsError.self) {
        try CheckpointTable.read(table(block: Array(contents[..<count]), type: type), file: "i")
      }
    }
  }

  /// Bytes from the trailer of the only data block to the end of the file.
  private static func sizeBehindData(_ file: [UInt8]) -> Int {
    // The footer's first varint is the place of the metaindex block, right behind the data block's trailer.
    let footer = file.suffix(48)
    var value = 0, shift = 0
    for byte in footer {
      value |= Int(byte & 0x7F) << shift
      shift += 7
      if byte < 0x80 { break }
    }
    return file.count - value + 5
  }

  @Test func `a slice with slices of its own is an error`() throws {
    let folder = try TemporaryFolder(copyOf: "tf_extra")
    let entries = try CheckpointTable.read(folder.bytes("partitioned.ckpt.index"), file: "index")
    let slices = entries.indices.filter { entries[$0].key.first == 0 }
    #expect(!slices.isEmpty)
    var refused = 0
    for variable in entries.indices
    where !entries[variable].key.isEmpty && entries[variable].key[0] != 0 {
      var crafted = entries
      crafted[slices[0]].value = entries[variable].value
      let opened = try Self.open(
        CheckpointTable.written(crafted), in: folder, prefix: "partitioned.ckpt")
      if case .failure(let error) = opened,
        error.finding == "gives slices to what is a slice itself"
      {
        refused += 1
      }
    }
    #expect(refused > 0)
  }

  @Test func `giant lengths are errors`() throws {
    let giant: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]
    let tooLong = [UInt8](repeating: 0xFF, count: 11)
    let restart: [UInt8] = [0, 0, 0, 0, 1, 0, 0, 0]
    for head in [giant, tooLong, [0] + giant, [0, 0] + giant, [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]] {
      #expect(throws: WeightsError.self) {
        try CheckpointTable.read(table(block: head + restart), file: "i")
      }
    }
    // A compressed block that claims four gigabytes.
    #expect(
      message {
        _ = try CheckpointTable.read(
          table(block: [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0], type: 1), file: "i")
      }
        == "i: the compressed data block at 0 declares 4294967295 bytes from 1; fetch or copy the file again."
    )
    #expect(
      message { _ = try CheckpointTable.read(table(block: restart, type: 9), file: "i") }
        == "i: the data block at 0 is compressed by the unknown method 9; write the checkpoint again with TensorFlow."
    )
  }

  @Test func `a tensor whose data changed is named`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_tf")
    let name = "\(Self.prefix).data-00000-of-00001"
    var data = try folder.bytes(name)
    let checkpoint = try TensorFlowCheckpoint(prefix: folder.path(Self.prefix))
    let entry = try #require(
      checkpoint.entries.first { $0.key == Array("bert/pooler/dense/kernel".utf8) })
    data[entry.offset + 100] ^= 4
    try folder.write(data, to: name)
    #expect(
      message {
        var floats = [Float](repeating: 0, count: 32 * 32)
        try floats.withUnsafeMutableBufferPointer {
          try TensorFlowCheckpoint(prefix: folder.path(Self.prefix))
            .read("bert/pooler/dense/kernel", into: $0)
        }
      }
        == "\(folder.path(name).path): the tensor \"bert/pooler/dense/kernel\" (bytes \(entry.offset)..<\(entry.offset + 4096)) "
        + "does not match its checksum; fetch or copy the file again.")
  }

  @Test func `a string tensor whose data changed is an error`() throws {
    let folder = try TemporaryFolder(copyOf: "tf_extra")
    let name = "dtypes.ckpt.data-00000-of-00001"
    let checkpoint = try TensorFlowCheckpoint(prefix: folder.path("dtypes.ckpt"))
    let entry = try #require(checkpoint.entries.first { $0.type == 7 })
    let data = try folder.bytes(name)
    for position in entry.offset..<entry.offset + entry.size {
      var damaged = data
      damaged[position] ^= 0x10
      try folder.write(damaged, to: name)
      #expect(throws: WeightsError.self, "byte \(position)") {
        let checkpoint = try TensorFlowCheckpoint(prefix: folder.path("dtypes.ckpt"))
        try checkpoint.stream(#require(checkpoint.tensor("t/string"))) { _ in }
      }
    }
  }

  @Test func `a shard that is short or missing is an error when the checkpoint is opened`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_tf_sharded")
    let name = "\(Self.prefix).data-00001-of-00003"
    let data = try folder.bytes(name)
    for count in [0, 1, data.count / 2, data.count - 1] {
      try folder.write(data[..<count], to: name)
      let text = message { _ = try TensorFlowCheckpoint(prefix: folder.path(Self.prefix)) }
      #expect(text.hasPrefix("\(folder.path(name).path): the tensor \""), "\(text)")
    }
    try FileManager.default.removeItem(at: folder.path(name))
    #expect(
      message { _ = try TensorFlowCheckpoint(prefix: folder.path(Self.prefix)) }
        == "\(folder.path(name).path): is not there, and the index names 3 shards; fetch it into the same folder."
    )
  }

  @Test func `an index whose blocks are compressed reads like a raw one`() throws {
    let folder = try TemporaryFolder(copyOf: "tf_extra")
    let index = try folder.bytes("dtypes.ckpt.index")
    let entries = try TensorFlowCheckpoint(prefix: folder.path("dtypes.ckpt")).entries
    let contents = Array(index[..<(index.count - Self.sizeBehindData(index))])
    let compressed = snappy(contents)
    #expect(compressed.count < contents.count)
    let result = try Self.open(
      table(block: compressed, type: 1), in: folder, prefix: "dtypes.ckpt")
    #expect(try result.get().entries == entries)
  }
}
