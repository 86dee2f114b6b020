import Synchronization

/// CRC-32C (Castagnoli; reflected polynomial 0x82F63B78), the checksum of TensorFlow checkpoints.
package struct CRC32C {
  /// Sixteen tables of 256: table k advances a byte by k further zero bytes, so that sixteen bytes
  /// are folded by sixteen independent loads ("slicing", Kounavis and Berry, 2005).
  ///
  /// The loads are relaxed atomics, which cost what plain ones do: the compiler turns sixteen plain
  /// loads into gathers, with which the loop was measured to run at a third of the speed.
  private nonisolated(unsafe) static let tables: UnsafeMutablePointer<Atomic<UInt32>> = {
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
    let shared = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: tables.count)
    for (i, value) in tables.enumerated() { (shared + i).initialize(to: Atomic(value)) }
    return shared
  }()

  /// What the lowest byte of `bits` becomes after `zeros` further zero bytes.
  @inline(__always)
  private static func advanced(
    _ tables: UnsafeMutablePointer<Atomic<UInt32>>, _ bits: UInt64, by zeros: Int
  ) -> UInt32 {
    tables[zeros * 256 + Int(truncatingIfNeeded: bits & 255)].load(ordering: .relaxed)
  }

  private var state: UInt32 = .max

  package init() {}

  /// The checksum of all bytes seen.
  package var value: UInt32 { ~state }

  /// The form in which files store it: rotated by 15 bits and shifted by a constant, because a
  /// checksum of data that holds its own checksum is weak (leveldb, crc32c.h).
  package var masked: UInt32 { (value >> 15 | value << 17) &+ 0xA282_EAD8 }

  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    let t = Self.tables
    var crc = state
    var p = base
    let wide = base + (bytes.count & ~15)
    while p < wide {
      let low = UInt64(littleEndian: p.loadUnaligned(as: UInt64.self)) ^ UInt64(crc)
      let high = UInt64(littleEndian: p.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      let a = Self.advanced(t, low, by: 15) ^ Self.advanced(t, low >> 8, by: 14)
      let b = Self.advanced(t, low >> 16, by: 13) ^ Self.advanced(t, low >> 24, by: 12)
      let c = Self.advanced(t, low >> 32, by: 11) ^ Self.advanced(t, low >> 40, by: 10)
      let d = Self.advanced(t, low >> 48, by: 9) ^ Self.advanced(t, low >> 56, by: 8)
      let e = Self.advanced(t, high, by: 7) ^ Self.advanced(t, high >> 8, by: 6)
      let f = Self.advanced(t, high >> 16, by: 5) ^ Self.advanced(t, high >> 24, by: 4)
      let g = Self.advanced(t, high >> 32, by: 3) ^ Self.advanced(t, high >> 40, by: 2)
      let h = Self.advanced(t, high >> 48, by: 1) ^ Self.advanced(t, high >> 56, by: 0)
      // The half that waits for the previous round comes last.
      crc = ((e ^ f) ^ (g ^ h)) ^ ((a ^ b) ^ (c ^ d))
      p += 16
    }
    while p < base + bytes.count {
      crc = crc >> 8 ^ Self.advanced(t, UInt64(crc) ^ UInt64(p.load(as: UInt8.self)), by: 0)
      p += 1
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
