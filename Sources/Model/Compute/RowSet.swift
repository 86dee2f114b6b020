/// The rows that a layer computes: every token, or one [CLS] row for each sequence.
struct RowSet {
  /// Rows.
  let count: Int
  /// First row of each leaf; `[M + 1]`.
  let leafStarts: [Int]
  /// For each row its example's number, for dropout.
  let examples: [UInt32]
  /// For each row its position in its sequence, for dropout and the position table.
  let positions: [UInt32]
  /// The row ranges that are computed as one tile.
  let tiles: [Range<Int>]

  /// Rows of a tile: as many as one thread's scratch should hold, because every tile packs a layer's weights again.
  static let tileRows = 1_536
  /// Tile rows where rows are not independent: fixed, so that a leaf's tiles depend on the leaf alone.
  static let dependentTileRows = 256

  /// Every token of `batch`.
  init(tokensOf batch: PackedBatch, independent: Bool, threads: Int) {
    let offsets = batch.offsets
    var examples: [UInt32] = [], positions: [UInt32] = []
    examples.reserveCapacity(batch.tokenCount)
    positions.reserveCapacity(batch.tokenCount)
    for sequence in batch.sequences {
      let example = Self.number(sequence.exampleID)
      for position in 0..<sequence.ids.count {
        examples.append(example)
        positions.append(UInt32(position))
      }
    }
    self.init(
      leafStarts: Self.leafStarts(batch) { offsets[$0] }, examples: examples, positions: positions,
      independent: independent, threads: threads)
  }

  /// The first token of each sequence of `batch`.
  init(firstTokensOf batch: PackedBatch, independent: Bool, threads: Int) {
    self.init(
      leafStarts: Self.leafStarts(batch) { $0 },
      examples: batch.sequences.map { Self.number($0.exampleID) },
      positions: [UInt32](repeating: 0, count: batch.sequences.count),
      independent: independent, threads: threads)
  }

  /// The examples of `batch`, whatever their sequences are; without dropout.
  init(examplesOf batch: PackedBatch, independent: Bool, threads: Int) {
    let zeros = [UInt32](repeating: 0, count: batch.exampleCount)
    self.init(
      leafStarts: batch.exampleStarts, examples: zeros, positions: zeros,
      independent: independent, threads: threads)
  }

  init(
    leafStarts: [Int], examples: [UInt32], positions: [UInt32], independent: Bool, threads: Int
  ) {
    count = examples.count
    self.leafStarts = leafStarts
    self.examples = examples
    self.positions = positions
    if independent {
      tiles = Self.split(
        0..<count,
        into: max(1, (count + threads * Self.tileRows - 1) / (threads * Self.tileRows)) * threads)
    } else {
      tiles = zip(leafStarts, leafStarts.dropFirst()).flatMap { start, end in
        stride(from: start, to: end, by: Self.dependentTileRows).map {
          $0..<min($0 + Self.dependentTileRows, end)
        }
      }
    }
  }

  private static func leafStarts(_ batch: PackedBatch, _ row: (Int) -> Int) -> [Int] {
    batch.leaves.map { row($0.lowerBound) } + [row(batch.sequences.count)]
  }

  private static func number(_ exampleID: UInt64) -> UInt32 {
    guard let number = UInt32(exactly: exampleID) else {
      preconditionFailure("example \(exampleID) is past the 32 bits that dropout counts with")
    }
    return number
  }

  /// `range` in at most `parts` ranges of whole sixteen rows, about equal.
  private static func split(_ range: Range<Int>, into parts: Int) -> [Range<Int>] {
    let blocks = (range.count + 15) / 16
    return (0..<parts).compactMap { part in
      let start = range.lowerBound + blocks * part / parts * 16
      let end = min(range.lowerBound + blocks * (part + 1) / parts * 16, range.upperBound)
      return start < end ? start..<end : nil
    }
  }
}
