import Foundation

/// A TensorFlow V2 checkpoint ("tensor bundle"): an index and one or several data files.
///
/// Everything the index says is checked when the checkpoint is opened: that the shards are there, and that every
/// tensor lies inside its shard. A tensor's checksum is verified whenever the tensor is read.
package struct TensorFlowCheckpoint: TensorSource {
  /// One entry of the index.
  package struct Entry: Equatable, Sendable {
    /// The variable's name, or the encoded key of a slice.
    package var key: [UInt8]
    /// TensorFlow's number of the element type.
    package var type: Int
    package var shape: [Int]
    package var shard: Int
    package var offset: Int
    package var size: Int
    /// Masked.
    package var checksum: UInt32
    /// Of a partitioned variable: what its parts cover, each part one list of extents.
    package var slices: [[TensorSlice]]
  }

  /// The path before `.index`.
  package let prefix: URL
  package let tensors: [TensorDescription]
  package var location: String { prefix.relativePath }
  package let entries: [Entry]
  let shards: [InputFile]
  /// The format's version as the writer stated it (1 until now).
  let producer: Int
  private let indexOf: [[UInt8]: Int]

  package init(prefix: URL) throws {
    self.prefix = prefix
    let file = prefix.relativePath + ".index"
    let table = try CheckpointTable.read(
      InputFile.contents(of: Self.indexURL(prefix)), file: file)
    guard let first = table.first, first.key.isEmpty else {
      throw WeightsError.malformed(file, "holds no header entry")
    }
    let header = try CheckpointRecords.header(first.value, file: file)
    producer = header.producer
    shards = try (0..<header.shards).map { number in
      let url = Self.shardURL(prefix, number, of: header.shards)
      guard FileManager.default.fileExists(atPath: url.path) else {
        throw WeightsError(
          .missing, url.relativePath, "is not there, and the index names \(header.shards) shards",
          "fetch it into the same folder")
      }
      return try InputFile(url)
    }
    entries = try table.dropFirst().map { try CheckpointRecords.entry($0, file: file) }
    indexOf = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.key, $0) })
    var tensors: [TensorDescription] = []
    for entry in entries {
      // A key that begins with zero is a slice's; its data is reached through the variable's entry.
      if entry.key.first == 0 {
        try Self.check(entry, named: "a slice", shards: shards, file: file)
        guard entry.slices.isEmpty else {
          throw WeightsError.malformed(file, "gives slices to what is a slice itself")
        }
        continue
      }
      guard let name = String(validating: entry.key, as: UTF8.self) else {
        throw WeightsError.malformed(file, "a tensor's name is not UTF-8")
      }
      try Self.check(entry, named: name, shards: shards, file: file)
      let type = ElementType(tensorFlowCode: entry.type)
      let full = type.flatMap {
        CheckedShape.byteCount(entry.shape, elementBytes: $0.byteCount)
      }
      tensors.append(
        TensorDescription(
          name: name, elementType: type, typeName: type?.rawValue ?? Self.typeName(entry.type),
          shape: entry.shape, byteCount: entry.slices.isEmpty ? entry.size : full ?? 0))
    }
    self.tensors = tensors
    for tensor in tensors { _ = try parts(of: tensor) }
  }

  static func indexURL(_ prefix: URL) -> URL {
    prefix.deletingLastPathComponent().appending(path: prefix.lastPathComponent + ".index")
  }

  static func shardURL(_ prefix: URL, _ number: Int, of count: Int) -> URL {
    let name = prefix.lastPathComponent + ".data-" + padded(number) + "-of-" + padded(count)
    return prefix.deletingLastPathComponent().appending(path: name)
  }

  private static func padded(_ number: Int) -> String {
    String(repeating: "0", count: max(0, 5 - String(number).count)) + String(number)
  }

  static func typeName(_ code: Int) -> String { code == 7 ? "STRING" : "DT_\(code)" }

  package func tensor(_ name: String) -> TensorDescription? {
    // Names are sorted like the entries, but slices' keys are missing from `tensors`.
    guard !name.isEmpty, indexOf[Array(name.utf8)] != nil else { return nil }
    var low = 0, high = tensors.count
    while low < high {
      let middle = (low + high) / 2
      if tensors[middle].name.utf8.lexicographicallyPrecedes(name.utf8) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low < tensors.count && tensors[low].name == name ? tensors[low] : nil
  }

  package func stream(
    _ tensor: TensorDescription, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    guard let index = indexOf[Array(tensor.name.utf8)] else {
      preconditionFailure("\(tensor.name) is not in \(location)")
    }
    let entry = entries[index]
    guard entry.slices.isEmpty else {
      let whole = try assembled(tensor)
      return try whole.withUnsafeBytes(body)
    }
    try stream(entry, named: tensor.name, body)
  }

  /// Streams the bytes of one entry and verifies their checksum.
  func stream(
    _ entry: Entry, named name: String, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let shard = shards[entry.shard]
    guard entry.type != 7 else {
      let bytes = try shard.bytes(at: entry.offset, count: entry.size)
      try CheckpointRecords.checkStrings(bytes, entry: entry, name: name, file: shard.path)
      return try bytes.withUnsafeBytes(body)
    }
    var crc = CRC32C()
    try shard.stream(at: entry.offset, count: entry.size) {
      crc.update($0)
      try body($0)
    }
    guard crc.masked == entry.checksum else {
      throw WeightsError(
        .checksum, shard.path,
        "the tensor \"\(name)\" (bytes \(entry.offset)..<\(entry.offset + entry.size)) does not match its checksum",
        WeightsError.fetchAgain)
    }
  }

  private static func check(
    _ entry: Entry, named name: String, shards: [InputFile], file: String
  ) throws {
    guard entry.shard < shards.count else {
      throw WeightsError.malformed(
        file, "places \"\(name)\" in shard \(entry.shard) of \(shards.count)")
    }
    let shard = shards[entry.shard]
    let (end, overflow) = entry.offset.addingReportingOverflow(entry.size)
    guard !overflow, end <= shard.byteCount else {
      throw WeightsError.truncated(
        shard.path, "the tensor \"\(name)\" at byte \(entry.offset)", needed: entry.size,
        available: max(0, shard.byteCount - entry.offset))
    }
    guard let type = ElementType(tensorFlowCode: entry.type) else { return }
    guard let count = CheckedShape.byteCount(entry.shape, elementBytes: type.byteCount),
      count == entry.size || (!entry.slices.isEmpty && entry.size == 0)
    else {
      throw WeightsError.malformed(
        file,
        "gives \(entry.size) bytes to \"\(name)\" of shape \(entry.shape) and type \(type.rawValue)"
      )
    }
  }

  // MARK: Partitioned variables

  /// The entries of a partitioned variable's slices, and the region of the whole each covers.
  private func parts(of tensor: TensorDescription) throws -> [(entry: Entry, region: [Range<Int>])]
  {
    guard let index = indexOf[Array(tensor.name.utf8)], !entries[index].slices.isEmpty else {
      return []
    }
    let whole = entries[index]
    func malformed(_ finding: String) -> WeightsError {
      .malformed(location + ".index", "the partitioned variable \"\(tensor.name)\" \(finding)")
    }
    guard tensor.elementType != nil else { throw malformed("is of type \(tensor.typeName)") }
    var covered = 0
    let total = whole.shape.reduce(1, *)
    let parts = try whole.slices.map { slice in
      guard slice.count == whole.shape.count else {
        throw malformed("has a slice of rank \(slice.count), itself \(whole.shape.count)")
      }
      let region = try zip(slice, whole.shape).map { extent, size in
        let length = extent.length ?? size
        guard extent.start >= 0, length >= 0, extent.start <= size, length <= size - extent.start
        else { throw malformed("has a slice from \(extent.start) on of \(length) in \(size)") }
        return extent.start..<extent.start + length
      }
      guard let place = indexOf[OrderedCode.sliceKey(name: tensor.name, slice: slice)],
        entries[place].shape == region.map(\.count), entries[place].type == whole.type
      else { throw malformed("lacks its slice \(region)") }
      let elements = region.reduce(1) { $0 * $1.count }
      guard elements <= total - covered else {
        throw malformed("has slices of more than its elements")
      }
      covered += elements
      return (entry: entries[place], region: region)
    }
    for (i, one) in parts.enumerated() {
      for other in parts[..<i] where zip(one.region, other.region).allSatisfy({ $0.overlaps($1) }) {
        throw malformed("has slices that overlap: \(other.region) and \(one.region)")
      }
    }
    guard covered == total else {
      throw malformed("has slices of \(covered) elements, itself \(total)")
    }
    return parts
  }

  /// The bytes of a partitioned variable, put together.
  private func assembled(_ tensor: TensorDescription) throws -> [UInt8] {
    let width = tensor.elementType?.byteCount ?? 1
    var whole = [UInt8](repeating: 0, count: tensor.byteCount)
    for (entry, region) in try parts(of: tensor) {
      var bytes: [UInt8] = []
      bytes.reserveCapacity(entry.size)
      try stream(entry, named: tensor.name) { bytes += $0 }
      // Rows of the slice (its last dimension) are runs in the whole.
      let run = (region.last?.count ?? 1) * width
      guard run > 0 else { continue }
      var position = region.map(\.lowerBound)
      for start in stride(from: 0, to: bytes.count, by: run) {
        let target = zip(position, tensor.shape).reduce(0) { $0 * $1.1 + $1.0 } * width
        whole.replaceSubrange(target..<target + run, with: bytes[start..<start + run])
        for axis in (0..<max(0, region.count - 1)).reversed() {
          position[axis] += 1
          if position[axis] < region[axis].upperBound { break }
          position[axis] = region[axis].lowerBound
        }
      }
    }
    return whole
  }
}
