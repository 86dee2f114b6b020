/// CRC-32C (Castagnoli; reflected polynomial 0x82F63B78), the checksum of TensorFlow checkpoints.
package struct CRC32C {
  /// Sixteen tables of 256: table k advances a byte by k further zero bytes, so that sixteen bytes
  /// are folded by sixteen independent loads ("slicing", Kounavis and Berry, 2005).
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 16 * 256)
    for byte in 0..<256 {
      tables[byte] = (0..<8).reduce(UInt32(byte)) { crc, _ in
        crc >> 1 ^ (crc & 1 == 1 ? 0x82F6_3B78 : 0)
      }
    }
    for k in 1..<16 {
      for byte in 0..<256 {
        let previous = tables[(k - 1) * 256 + byte]
        tables[k * 256 + byte] = previous >> 8 ^ tables[Int(previous & 0xFF)]
      }
    }
    return tables
  }()

  private var state: UInt32 = .max

  package init() {}

  /// The checksum of all bytes seen.
  package var value: UInt32 { ~state }

  /// The form in which files store it: rotated by 15 bits and shifted by a constant, because a
  /// checksum of data that holds its own checksum is weak (leveldb, crc32c.h).
  package var masked: UInt32 { (value >> 15 | value << 17) &+ 0xA282_EAD8 }

  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    var crc = state
    Self.tables.withUnsafeBufferPointer { table in
      guard let t = table.baseAddress else { return }
      var p = base
      let wide = base + (bytes.count & ~15)
      while p < wide {
        let a = UInt64(littleEndian: p.loadUnaligned(as: UInt64.self)) ^ UInt64(crc)
        let b = UInt64(littleEndian: p.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        let first = t[3840 + Int(a & 255)] ^ t[3584 + Int(a >> 8 & 255)]
        let second = t[3328 + Int(a >> 16 & 255)] ^ t[3072 + Int(a >> 24 & 255)]
        let third = t[2816 + Int(a >> 32 & 255)] ^ t[2560 + Int(a >> 40 & 255)]
        let fourth = t[2304 + Int(a >> 48 & 255)] ^ t[2048 + Int(a >> 56)]
        let fifth = t[1792 + Int(b & 255)] ^ t[1536 + Int(b >> 8 & 255)]
        let sixth = t[1280 + Int(b >> 16 & 255)] ^ t[1024 + Int(b >> 24 & 255)]
        let seventh = t[768 + Int(b >> 32 & 255)] ^ t[512 + Int(b >> 40 & 255)]
        let eighth = t[256 + Int(b >> 48 & 255)] ^ t[Int(b >> 56)]
        crc = ((first ^ second) ^ (third ^ fourth)) ^ ((fifth ^ sixth) ^ (seventh ^ eighth))
        p += 16
      }
      while p < base + bytes.count {
        crc = crc >> 8 ^ t[Int((crc ^ UInt32(p.load(as: UInt8.self))) & 255)]
        p += 1
      }
    }
    state = crc
  }

  package mutating func update(_ bytes: some Collection<UInt8>) {
    let used: Void? = bytes.withContiguousStorageIfAvailable { update(UnsafeRawBufferPointer($0)) }
    if used == nil { Array(bytes).withUnsafeBytes { update($0) } }
  }

  /// The masked checksum of `bytes`.
  package static func masked(_ bytes: some Collection<UInt8>) -> UInt32 {
    var crc = CRC32C()
    crc.update(bytes)
    return crc.masked
  }
}
