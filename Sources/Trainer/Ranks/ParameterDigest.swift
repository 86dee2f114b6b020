import Model

/// A 64-bit digest of parameters that several threads and ranks can compute in parts.
///
/// It is meant to find what differs by accident, and is no cryptographic hash. A chunk's digest depends on its number and
/// on every bit of it; the digest of several chunks is their wrapping sum, in whatever order and by whomever they are
/// added.
package enum ParameterDigest {
  /// The digest of `chunks` of `arena`, cut into `Optimizer.chunkSize` elements.
  package static func of(_ arena: Arena, chunks: some Collection<Int>, pool: ThreadPool) -> UInt64 {
    let chunks = Array(chunks)
    var digests = [UInt64](repeating: 0, count: chunks.count)
    digests.withUnsafeMutableBufferPointer { digests in
      pool.run(chunks.count) { tile, _ in
        let start = chunks[tile] * Optimizer.chunkSize
        digests[tile] = digest(
          arena.base + start, count: min(Optimizer.chunkSize, arena.count - start),
          number: chunks[tile])
      }
    }
    return digests.reduce(0, &+)
  }

  /// A digest of each tensor of `table` in `arena`, in the order of the table; equal only where all bits are, but for chance.
  static func byTensor(_ arena: Arena, _ table: ParameterTable, pool: ThreadPool) -> [UInt64] {
    var digests = [UInt64](repeating: 0, count: table.parameters.count)
    digests.withUnsafeMutableBufferPointer { digests in
      pool.run(table.parameters.count) { tile, _ in
        let range = table.parameters[tile].range
        digests[tile] = digest(arena.base + range.lowerBound, count: range.count, number: tile)
      }
    }
    return digests
  }

  /// As 16 hexadecimal digits.
  package static func text(_ digest: UInt64) -> String {
    let digits = String(digest, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }

  /// Element `i` goes to lane `i mod 64`; each lane multiplies and adds in rising order (a bijection of its state, so
  /// that no single change is lost), and the lanes are joined in order.
  @inline(never)
  private static func digest(
    _ values: UnsafePointer<Float>, count: Int, number: Int
  ) -> UInt64 {
    typealias Words = SIMD16<UInt32>
    @inline(__always) func step(_ state: Words, _ word: Words) -> Words {
      let product = (state ^ word) &* 0x0100_0193
      return product ^ (product &>> 15)
    }
    let bytes = UnsafeRawPointer(values)
    var a = Words(repeating: 1), b = Words(repeating: 2), c = Words(repeating: 3)
    var d = Words(repeating: 4)
    var i = 0
    while i + 64 <= count {
      a = step(a, bytes.loadUnaligned(fromByteOffset: 4 * i, as: Words.self))
      b = step(b, bytes.loadUnaligned(fromByteOffset: 4 * i + 64, as: Words.self))
      c = step(c, bytes.loadUnaligned(fromByteOffset: 4 * i + 128, as: Words.self))
      d = step(d, bytes.loadUnaligned(fromByteOffset: 4 * i + 192, as: Words.self))
      i += 64
    }
    var hash = mixed(UInt64(number) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(count))
    for words in [a, b, c, d] { for lane in 0..<16 { hash = mixed(hash ^ UInt64(words[lane])) } }
    while i < count {
      hash = mixed(hash ^ UInt64(values[i].bitPattern))
      i += 1
    }
    return hash
  }

  /// SplitMix64's finaliser, a bijection.
  private static func mixed(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
