/// Philox4x32-10: a random function of a key and a counter, with no state to save or to keep in step.
///
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.
package struct Philox: Sendable {
  package let key: SIMD2<UInt32>

  package init(key: SIMD2<UInt32>) { self.key = key }

  /// A generator for `seed`; its low word is key word 0.
  package init(seed: UInt64) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
  }

  /// The four output words for `counter` (word 0 is the least significant).
  package func block(_ counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
    var c = counter
    var k = key
    for _ in 0..<10 {
      let p0 = UInt64(c[0]) &* 0xD251_1F53
      let p1 = UInt64(c[2]) &* 0xCD9E_8D57
      c = SIMD4(
        UInt32(truncatingIfNeeded: p1 >> 32) ^ c[1] ^ k[0], UInt32(truncatingIfNeeded: p1),
        UInt32(truncatingIfNeeded: p0 >> 32) ^ c[3] ^ k[1], UInt32(truncatingIfNeeded: p0))
      k = k &+ SIMD2(0x9E37_79B9, 0xBB67_AE85)
    }
    return c
  }

  /// `counter` plus one, carried over all four words.
  package static func incremented(_ counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
    var c = counter
    for word in 0..<4 {
      c[word] &+= 1
      if c[word] != 0 { break }
    }
    return c
  }
}

/// What a random number is for: the last counter word, so that no two uses ever share a counter.
///
/// Counters are laid out as (element block, example low word, step or epoch, purpose), where the
/// example's high word and the layer are folded into the purpose word by `word(layer:)`.
package enum RandomPurpose: UInt32, Sendable {
  case epochOrder = 1
  case embeddingDropout = 2
  case attentionDropout = 3
  case attentionOutputDropout = 4
  case feedForwardDropout = 5
  case headDropout = 6
  case headInitialisation = 7
  case modelInitialisation = 8
  case subjectSampling = 9
  case masking = 10
  case dataSplit = 11

  /// The counter word of this purpose at `layer`.
  package func word(layer: Int = 0) -> UInt32 { rawValue << 16 | UInt32(layer) }
}

extension Philox {
  /// A uniform number in [0, 1) with 24 bits: `(word >> 8) · 2⁻²⁴`.
  package static func unit(_ word: UInt32) -> Float { Float(word >> 8) * 0x1p-24 }
}
