/// The messages inside a checkpoint's index (tensorflow/core/protobuf/tensor_bundle.proto).
enum CheckpointRecords {
  /// Number of data files, and the format's version.
  static func header(_ bytes: [UInt8], file: String) throws -> (shards: Int, producer: Int) {
    var shards = 0, endianness = 0, producer = 0, minimumConsumer = 0
    try Protobuf.fields(ByteReader(bytes, file: file, place: "the header entry")) { number, value in
      switch (number, value) {
      case (1, .varint(let count)): shards = Int(clamping: count)
      case (2, .varint(let order)): endianness = Int(clamping: order)
      case (3, .bytes(let version)):
        try Protobuf.fields(version) { number, value in
          if case (1, .varint(let version)) = (number, value) { producer = Int(clamping: version) }
          if case (2, .varint(let version)) = (number, value) {
            minimumConsumer = Int(clamping: version)
          }
        }
      default: break
      }
    }
    guard (1...99_999).contains(shards) else {
      throw WeightsError.malformed(file, "names \(shards) shards")
    }
    guard endianness == 0 else {
      throw WeightsError(
        .version, file, "was written by a big-endian machine",
        "write the checkpoint again on a little-endian one")
    }
    // TensorFlow reads checkpoints that ask for consumers up to its own version, 1.
    guard minimumConsumer <= 1 else {
      throw WeightsError(
        .version, file, "asks for a reader of version \(minimumConsumer) where this one is of 1",
        "write the checkpoint again with TensorFlow 2")
    }
    return (shards, producer)
  }

  static func header(shards: Int, producer: Int) -> [UInt8] {
    var version: [UInt8] = []
    version.append(field: 1, nonzero: producer)
    var bytes: [UInt8] = []
    bytes.append(field: 1, nonzero: shards)
    bytes.append(field: 3, message: version)
    return bytes
  }

  static func entry(
    _ record: CheckpointTable.Entry, file: String
  ) throws -> TensorFlowCheckpoint.Entry {
    let name = String(decoding: record.key, as: UTF8.self)
    let place = "the entry of \"\(name)\""
    var entry = TensorFlowCheckpoint.Entry(
      key: record.key, type: 0, shape: [], shard: 0, offset: 0, size: 0, checksum: 0, slices: [])
    func nonnegative(_ value: UInt64) throws -> Int {
      guard let number = Int(exactly: value) else {
        throw WeightsError.malformed(file, "\(place) holds the impossible number \(value)")
      }
      return number
    }
    try Protobuf.fields(ByteReader(record.value, file: file, place: place)) { number, value in
      switch (number, value) {
      case (1, .varint(let type)): entry.type = try nonnegative(type)
      case (2, .bytes(let shape)): entry.shape = try self.shape(shape)
      case (3, .varint(let shard)): entry.shard = try nonnegative(shard)
      case (4, .varint(let offset)): entry.offset = try nonnegative(offset)
      case (5, .varint(let size)): entry.size = try nonnegative(size)
      case (6, .fixed32(let checksum)): entry.checksum = checksum
      case (7, .bytes(let slice)): entry.slices.append(try self.slice(slice))
      case (1...7, _):
        throw WeightsError.malformed(file, "\(place) holds field \(number) in another form")
      default: break
      }
    }
    return entry
  }

  private static func shape(_ reader: ByteReader) throws -> [Int] {
    var shape: [Int] = []
    try Protobuf.fields(reader) { number, value in
      if case (3, .varint(let unknown)) = (number, value), unknown != 0 {
        throw WeightsError.malformed(reader.file, "\(reader.place) has a shape of unknown rank")
      }
      guard case (2, .bytes(let dimension)) = (number, value) else { return }
      var size: UInt64 = 0
      try Protobuf.fields(dimension) { number, value in
        if case (1, .varint(let count)) = (number, value) { size = count }
      }
      guard let size = Int(exactly: size) else {
        throw WeightsError.malformed(
          reader.file, "\(reader.place) has the dimension \(Int64(bitPattern: size))")
      }
      shape.append(size)
    }
    return shape
  }

  private static func slice(_ reader: ByteReader) throws -> [TensorSlice] {
    var slice: [TensorSlice] = []
    try Protobuf.fields(reader) { number, value in
      guard case (1, .bytes(let extent)) = (number, value) else { return }
      var start: UInt64 = 0, length: UInt64?
      try Protobuf.fields(extent) { number, value in
        if case (1, .varint(let count)) = (number, value) { start = count }
        if case (2, .varint(let count)) = (number, value) { length = count }
      }
      guard let start = Int(exactly: start), length.map({ Int(exactly: $0) != nil }) ?? true else {
        throw WeightsError.malformed(reader.file, "\(reader.place) has a slice past 63 bits")
      }
      slice.append(TensorSlice(start: start, length: length.map { Int($0) }))
    }
    return slice
  }

  /// The record as TensorFlow writes it: fields in order, proto3 zeros left out.
  static func record(_ entry: TensorFlowCheckpoint.Entry) -> CheckpointTable.Entry {
    var shape: [UInt8] = []
    for dimension in entry.shape {
      var message: [UInt8] = []
      message.append(field: 1, nonzero: dimension)
      shape.append(field: 2, message: message)
    }
    var bytes: [UInt8] = []
    bytes.append(field: 1, nonzero: entry.type)
    bytes.append(field: 2, message: shape)
    bytes.append(field: 3, nonzero: entry.shard)
    bytes.append(field: 4, nonzero: entry.offset)
    bytes.append(field: 5, nonzero: entry.size)
    if entry.checksum != 0 { bytes.append(field: 6, fixed32: entry.checksum) }
    for slice in entry.slices {
      var message: [UInt8] = []
      for extent in slice {
        var part: [UInt8] = []
        part.append(field: 1, nonzero: extent.start)
        // A member of a oneof: written also when it is zero.
        if let length = extent.length { part.append(field: 2, length) }
        message.append(field: 1, message: part)
      }
      bytes.append(field: 7, message: message)
    }
    return CheckpointTable.Entry(key: entry.key, value: bytes)
  }

  /// Checks the layout and the checksums of a string tensor: varint lengths, the masked checksum of
  /// the lengths as fixed integers, the strings.
  static func checkStrings(
    _ bytes: [UInt8], entry: TensorFlowCheckpoint.Entry, name: String, file: String
  ) throws {
    guard let count = CheckedShape.byteCount(entry.shape, elementBytes: 1), count <= bytes.count
    else {
      throw WeightsError.truncated(
        file, "the tensor \"\(name)\"", needed: entry.shape.first ?? 1, available: bytes.count)
    }
    var reader = ByteReader(bytes, file: file, place: "the tensor \"\(name)\"")
    var lengths: [UInt8] = []
    var total = 0
    for _ in 0..<count {
      let length = try reader.count()
      if let short = UInt32(exactly: length) {
        lengths.append(littleEndian: short)
      } else {
        lengths.append(littleEndian: UInt64(length))
      }
      guard length <= bytes.count - total else {
        throw WeightsError.truncated(
          file, "a string of the tensor \"\(name)\"", needed: length, available: bytes.count - total
        )
      }
      total += length
    }
    let check = try reader.take(4)
    var crc = CRC32C()
    crc.update(lengths)
    let stored = check.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    let lengthsHold = stored == crc.masked
    crc.update(check)
    crc.update(try reader.take(total))
    guard lengthsHold, crc.masked == entry.checksum, reader.isAtEnd else {
      throw WeightsError(
        .checksum, file, "the tensor \"\(name)\" does not match its checksum",
        WeightsError.fetchAgain)
    }
  }
}
