import Foundation

/// Writes a TensorFlow V2 checkpoint: byte for byte what TensorFlow's Saver writes for the same
/// tensors added in the order of their names.
package final class TensorFlowCheckpointWriter {
  private let prefix: URL
  private let producer: Int
  private let shards: [DurableFile]
  private var entries: [TensorFlowCheckpoint.Entry] = []
  private var keys: Set<[UInt8]> = []

  package init(prefix: URL, shards: Int = 1, producer: Int = 1) throws {
    precondition((1...99_999).contains(shards), "\(shards) shards")
    self.prefix = prefix
    self.producer = producer
    self.shards = try (0..<shards).map {
      try DurableFile(TensorFlowCheckpoint.shardURL(prefix, $0, of: shards))
    }
  }

  /// Appends a tensor, whose bytes `stream` hands to the sink in order.
  package func add(
    _ name: String, elementType: ElementType, shape: [Int],
    stream: (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
  ) throws {
    let entry = TensorFlowCheckpoint.Entry(
      key: Array(name.utf8), type: elementType.tensorFlowCode, shape: shape, shard: 0, offset: 0,
      size: 0, checksum: 0, slices: [])
    try append(entry, stream: stream)
    let size = shards[0].byteCount - entries[entries.count - 1].offset
    precondition(
      size == shape.reduce(elementType.byteCount, *), "\(name) of shape \(shape) gave \(size) bytes"
    )
  }

  /// Appends the data of `entry` to its shard; place, size and checksum are those of what is written.
  func append(
    _ entry: TensorFlowCheckpoint.Entry,
    stream: (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
  ) throws {
    precondition(keys.insert(entry.key).inserted, "an entry twice in \(prefix.path)")
    var entry = entry
    // A partitioned variable's own entry has no data; its slices have.
    if entry.slices.isEmpty {
      let file = shards[entry.shard]
      var crc = CRC32C()
      entry.offset = file.byteCount
      try stream { bytes in
        crc.update(bytes)
        try file.write(bytes)
      }
      entry.size = file.byteCount - entry.offset
      // The checksum of strings covers their lengths in another form; it stays.
      if entry.type != 7 { entry.checksum = crc.masked }
    }
    entries.append(entry)
  }

  /// Fills the shard with zeros up to `offset`.
  func pad(shard: Int, to offset: Int) throws {
    var gap = offset - shards[shard].byteCount
    while gap > 0 {
      let piece = min(gap, 1 << 16)
      try shards[shard].write([UInt8](repeating: 0, count: piece))
      gap -= piece
    }
  }

  /// Puts the data files in place, then the index that makes them a checkpoint.
  package func finish() throws {
    entries.sort { $0.key.lexicographicallyPrecedes($1.key) }
    let header = CheckpointTable.Entry(
      key: [], value: CheckpointRecords.header(shards: shards.count, producer: producer))
    let index = try DurableFile(TensorFlowCheckpoint.indexURL(prefix))
    try index.write(CheckpointTable.written([header] + entries.map(CheckpointRecords.record)))
    for shard in shards { try shard.commit() }
    try index.commit()
  }
}

extension TensorFlowCheckpoint {
  /// Writes the checkpoint with all its entries again: byte for byte, if TensorFlow wrote it.
  package func write(to prefix: URL) throws {
    let writer = try TensorFlowCheckpointWriter(
      prefix: prefix, shards: shards.count, producer: producer)
    // An empty tensor lies before the one that starts at the same place.
    let ordered = entries.sorted {
      ($0.shard, $0.offset, $0.size) < ($1.shard, $1.offset, $1.size)
    }
    var end = (shard: 0, offset: 0)
    for entry in ordered {
      if entry.slices.isEmpty {
        let previous = end.shard == entry.shard ? end.offset : 0
        guard entry.offset >= previous else {
          throw WeightsError.malformed(
            shards[entry.shard].path, "two tensors share the bytes from \(entry.offset) on")
        }
        end = (entry.shard, entry.offset + entry.size)
        try writer.pad(shard: entry.shard, to: entry.offset)
      }
      let name = String(decoding: entry.key, as: UTF8.self)
      try writer.append(entry) { sink in try stream(entry, named: name, sink) }
    }
    for (number, shard) in shards.enumerated() {
      try writer.pad(shard: number, to: shard.byteCount)
    }
    try writer.finish()
  }
}
