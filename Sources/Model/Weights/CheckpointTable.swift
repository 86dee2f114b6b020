/// The sorted table of keys and values that is a checkpoint's index file.
///
/// The layout is leveldb's (doc/table_format.md): data blocks of prefix-compressed entries, an empty metaindex block,
/// an index block of separators and block places, and a footer. Every block carries a CRC-32C.
package enum CheckpointTable {
  static let magic: UInt64 = 0xDB47_7524_8B80_FB57
  static let footerSize = 48
  /// The type byte and the checksum behind every block.
  static let trailerSize = 5

  package struct Entry: Equatable {
    package var key: [UInt8]
    package var value: [UInt8]

    package init(key: [UInt8], value: [UInt8]) {
      self.key = key
      self.value = value
    }
  }

  /// All entries of the table in `bytes`, in key order, each block's checksum verified.
  package static func read(_ bytes: [UInt8], file: String) throws -> [Entry] {
    guard bytes.count >= footerSize else {
      throw WeightsError(
        .truncated, file,
        "holds \(bytes.count) bytes where the footer of a checkpoint index alone has \(footerSize)",
        WeightsError.fetchAgain)
    }
    var footer = ByteReader(
      bytes, bytes.count - footerSize..<bytes.count, file: file, place: "the footer")
    let metaindex = try handle(&footer)
    let index = try handle(&footer)
    guard
      bytes.suffix(8).elementsEqual((0..<8).map { UInt8(truncatingIfNeeded: magic >> (8 * $0)) })
    else {
      throw WeightsError(
        .format, file, "does not end like a TensorFlow V2 checkpoint index (wrong magic number)",
        "name the .index file or the prefix of a V2 checkpoint")
    }
    _ = try entries(block(metaindex, of: bytes, file: file, place: "metaindex block"))
    var table: [Entry] = []
    for pointer in try entries(block(index, of: bytes, file: file, place: "index block")) {
      var reader = ByteReader(pointer.value, file: file, place: "the index block")
      let place = try handle(&reader)
      for entry in try entries(
        block(place, of: bytes, file: file, place: "data block at \(place.lowerBound)"))
      {
        if let last = table.last, !last.key.lexicographicallyPrecedes(entry.key) {
          throw WeightsError.malformed(file, "the keys of its blocks are not in order")
        }
        table.append(entry)
      }
    }
    return table
  }

  private static func handle(_ reader: inout ByteReader) throws -> Range<Int> {
    let offset = try reader.count(), size = try reader.count()
    let (end, overflow) = offset.addingReportingOverflow(size)
    guard !overflow else {
      throw WeightsError.malformed(
        reader.file, "\(reader.place) points to \(size) bytes at \(offset)")
    }
    return offset..<end
  }

  /// The contents of the block at `place`: its checksum verified, decompressed.
  private static func block(
    _ place: Range<Int>, of bytes: [UInt8], file: String, place name: String
  ) throws -> ByteReader {
    let room = bytes.count - footerSize - trailerSize
    guard place.upperBound <= room else {
      throw WeightsError.truncated(
        file, "the \(name) at byte \(place.lowerBound)", needed: place.count,
        available: max(0, room - place.lowerBound))
    }
    let type = bytes[place.upperBound]
    var trailer = ByteReader(
      bytes, place.upperBound + 1..<place.upperBound + trailerSize, file: file, place: name)
    let stored = try trailer.littleEndian(UInt32.self)
    let computed = CRC32C.masked(bytes[place.lowerBound...place.upperBound])
    guard stored == computed else {
      throw WeightsError(
        .checksum, file, "the \(name) does not match its checksum", WeightsError.fetchAgain)
    }
    let contents = ByteReader(bytes, place, file: file, place: name)
    switch type {
    case 0: return contents
    case 1: return ByteReader(try Snappy.decompress(contents), file: file, place: name)
    default:
      throw WeightsError(
        .format, file, "the \(name) is compressed by the unknown method \(type)",
        "write the checkpoint again with TensorFlow")
    }
  }

  private static func entries(_ block: ByteReader) throws -> [Entry] {
    let size = block.remaining
    var whole = block
    guard size >= 4 else {
      throw WeightsError.truncated(block.file, block.place, needed: 4, available: size)
    }
    var tail = block
    _ = try tail.take(size - 4)
    let restartCount = Int(try tail.littleEndian(UInt32.self))
    guard restartCount >= 1, restartCount <= (size - 4) / 4 else {
      throw WeightsError.malformed(
        block.file, "the \(block.place) claims \(restartCount) restart points in \(size) bytes")
    }
    var reader = try whole.part(size - 4 - 4 * restartCount)
    var restarts: Set<Int> = []
    for _ in 0..<restartCount {
      let restart = Int(try whole.littleEndian(UInt32.self))
      guard restart < reader.remaining || restart == 0 else {
        throw WeightsError.malformed(
          block.file, "the \(block.place) has a restart point at \(restart), past its entries")
      }
      restarts.insert(restart)
    }
    let start = reader.position
    var entries: [Entry] = []
    var key: [UInt8] = []
    while !reader.isAtEnd {
      let place = reader.position - start
      let shared = try reader.count32(), unshared = try reader.count32()
      let valueCount = try reader.count32()
      guard shared <= key.count, shared == 0 || !restarts.contains(place) else {
        throw WeightsError.malformed(
          block.file, "the \(block.place) shares \(shared) bytes with a key of \(key.count)")
      }
      let next = key[..<shared] + (try reader.take(unshared))
      guard entries.isEmpty || key.lexicographicallyPrecedes(next) else {
        throw WeightsError.malformed(block.file, "the keys of the \(block.place) are not in order")
      }
      key = Array(next)
      entries.append(Entry(key: key, value: Array(try reader.take(valueCount))))
    }
    return entries
  }
}
