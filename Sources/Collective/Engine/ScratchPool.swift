/// Memory for messages that are summed on arrival, kept for the next one.
struct ScratchPool: ~Copyable {
  /// Free buffers by the logarithm of their size.
  private var free: [[UnsafeMutableRawPointer]] = .init(repeating: [], count: 48)

  /// A buffer of at least `count` floats.
  ///
  /// Give it back with the same count.
  mutating func take(_ count: Int) -> UnsafeMutablePointer<Float> {
    let level = Self.level(count)
    let memory =
      free[level].popLast()
      ?? .allocate(byteCount: 4 << level, alignment: 64)
    return memory.bindMemory(to: Float.self, capacity: 1 << level)
  }

  mutating func give(_ buffer: UnsafeMutablePointer<Float>, count: Int) {
    free[Self.level(count)].append(UnsafeMutableRawPointer(buffer))
  }

  private static func level(_ count: Int) -> Int {
    Int.bitWidth - max(count - 1, 15).leadingZeroBitCount
  }

  deinit { for buffers in free { for buffer in buffers { buffer.deallocate() } } }
}
