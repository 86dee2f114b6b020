extension CheckpointTable {
  /// Estimated bytes at which a data block is closed (TensorFlow's table options).
  package static let blockSize = 262_144

  /// The table of `entries`, which are in key order: the bytes TensorFlow writes.
  package static func written(_ entries: [Entry], blockSize: Int = blockSize) -> [UInt8] {
    var file: [UInt8] = []
    var data = Block(restartInterval: 16), index = Block(restartInterval: 1)
    // A block's separator depends on the key that follows, so its handle waits for it.
    var waiting: [UInt8]?
    var last: [UInt8] = []

    func write(_ block: inout Block) -> [UInt8] {
      let start = file.count
      file += block.finished()
      let size = file.count - start
      file.append(0)  // not compressed
      file.append(littleEndian: CRC32C.masked(file[start...]))
      var handle: [UInt8] = []
      handle.append(varint: start)
      handle.append(varint: size)
      return handle
    }

    for entry in entries {
      if !data.isEmpty, entry.key.count + entry.value.count >= 2 * blockSize {
        waiting = write(&data)
      }
      if let handle = waiting {
        index.add(Self.separator(last, entry.key), handle)
        waiting = nil
      }
      last = entry.key
      data.add(entry.key, entry.value)
      if data.sizeEstimate >= blockSize { waiting = write(&data) }
    }
    if !data.isEmpty { waiting = write(&data) }
    var empty = Block(restartInterval: 16)
    let metaindex = write(&empty)
    if let handle = waiting { index.add(Self.successor(last), handle) }
    var footer = metaindex + write(&index)
    footer += [UInt8](repeating: 0, count: footerSize - 8 - footer.count)
    footer.append(littleEndian: magic)
    return file + footer
  }

  /// The shortest key that is at least `key` and below `next`, as leveldb looks for it.
  private static func separator(_ key: [UInt8], _ next: [UInt8]) -> [UInt8] {
    let common = zip(key, next).prefix { $0 == $1 }.count
    guard common < key.count, common < next.count, key[common] < 0xFF,
      key[common] + 1 < next[common]
    else { return key }
    return key[..<common] + [key[common] + 1]
  }

  /// The shortest key that is at least `key`.
  private static func successor(_ key: [UInt8]) -> [UInt8] {
    guard let place = key.firstIndex(where: { $0 != 0xFF }) else { return key }
    return key[..<place] + [key[place] + 1]
  }

  /// A block under construction: keys share prefixes with the key before, except at restart points.
  private struct Block {
    let restartInterval: Int
    private var bytes: [UInt8] = []
    private var restarts: [UInt32] = [0]
    private var sinceRestart = 0
    private var last: [UInt8] = []

    init(restartInterval: Int) { self.restartInterval = restartInterval }

    var isEmpty: Bool { bytes.isEmpty }
    var sizeEstimate: Int { bytes.count + 4 * restarts.count + 4 }

    mutating func add(_ key: [UInt8], _ value: [UInt8]) {
      var shared = 0
      if sinceRestart < restartInterval {
        shared = zip(key, last).prefix { $0 == $1 }.count
      } else {
        restarts.append(UInt32(bytes.count))
        sinceRestart = 0
      }
      bytes.append(varint: shared)
      bytes.append(varint: key.count - shared)
      bytes.append(varint: value.count)
      bytes += key[shared...]
      bytes += value
      last = key
      sinceRestart += 1
    }

    /// The block's contents; the block is empty afterwards.
    mutating func finished() -> [UInt8] {
      for restart in restarts { bytes.append(littleEndian: restart) }
      bytes.append(littleEndian: UInt32(restarts.count))
      defer { self = Block(restartInterval: restartInterval) }
      return bytes
    }
  }
}
