import Model

/// The order of an epoch: a permutation that is a function of (count, seed, epoch), the same on
/// every rank and machine, with no generator to save.
package enum EpochOrder {
  /// The rows of an epoch in the order in which they are seen: `result[position]` is a row below `count`.
  ///
  /// Fisher-Yates (Durstenfeld's form: from the last position down) over the words of Philox4x32-10 with the
  /// seed as key and counter (block, 0, epoch, purpose). Bounded numbers are drawn without bias, by Lemire's
  /// multiplication with rejection ("Fast random integer generation in an interval", 2019).
  package static func permutation(count: Int, seed: UInt64, epoch: Int) -> [Int] {
    precondition(count >= 0 && count <= Int(UInt32.max), "a permutation of \(count) rows")
    precondition(epoch >= 0 && epoch <= Int(UInt32.max), "order of epoch \(epoch)")
    var order = Array(0..<count)
    guard count > 1 else { return order }
    var words = Words(philox: Philox(seed: seed), epoch: UInt32(epoch))
    order.withUnsafeMutableBufferPointer { order in
      for last in stride(from: count - 1, through: 1, by: -1) {
        order.swapAt(last, Int(words.next(below: UInt32(last + 1))))
      }
    }
    return order
  }

  /// The words of one epoch, block after block, word 0 of a block first.
  private struct Words {
    let philox: Philox
    let epoch: UInt32
    private var block = SIMD4<UInt32>.zero
    private var number: UInt32 = 0
    private var used = 4

    init(philox: Philox, epoch: UInt32) {
      self.philox = philox
      self.epoch = epoch
    }

    mutating func next() -> UInt32 {
      if used == 4 {
        block = philox.block(SIMD4(number, 0, epoch, RandomPurpose.epochOrder.word()))
        number &+= 1
        used = 0
      }
      defer { used += 1 }
      return block[used]
    }

    /// A number below `bound`, each equally likely.
    mutating func next(below bound: UInt32) -> UInt32 {
      var product = UInt64(next()) * UInt64(bound)
      if UInt32(truncatingIfNeeded: product) < bound {
        // 2³² mod bound of the low words are one too many for some number.
        let surplus = (0 &- bound) % bound
        while UInt32(truncatingIfNeeded: product) < surplus {
          product = UInt64(next()) * UInt64(bound)
        }
      }
      return UInt32(truncatingIfNeeded: product >> 32)
    }
  }
}
