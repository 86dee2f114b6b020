/// How the elements of one exchange are cut: segments that travel independently, and in each a slice for every rank.
///
/// The owner of a slice is the rank that ends up with its sum after a reduce-scatter and gives it to the
/// others in an all-gather. Slice `i` belongs to rank `i`, and where `P` is a power of two to the rank whose
/// number is `i` with its bits reversed: recursive halving with distances 1, 2, 4, … then sends contiguous halves.
package struct SlicePlan: Sendable, Equatable {
  package let count: Int
  package let ranks: Int
  /// `P + 1` borders for each segment, one segment after the other; each begins where the last one ended.
  private let borders: [Int]
  /// A number that two ranks compare to know that they cut alike.
  let digest: UInt64

  /// Segments of about this many bytes keep the wire busy while another one is being summed.
  ///
  /// Measured between 2 ranks with 25 MiB: 256 KiB is best over 1 Gb/s, 1 MiB in shared memory, each by a tenth.
  package static let defaultSegmentBytes = 512 << 10

  /// Cuts given by the caller: `P + 1` ascending borders for each segment.
  init(count: Int, ranks: Int, borders: [Int]) throws(CommunicationError) {
    precondition(ranks >= 1 && count >= 0, "\(count) elements on \(ranks) ranks")
    precondition(borders.count % (ranks + 1) == 0, "\(borders.count) borders for \(ranks) ranks")
    precondition(zip(borders, borders.dropFirst()).allSatisfy { $0 <= $1 }, "borders descend")
    precondition(
      borders.first ?? 0 == 0 && borders.last ?? 0 == count, "borders do not cover \(count)")
    let segments = borders.count / (ranks + 1)
    guard segments <= TagLayout.wide.segmentLimit else {
      throw .tooManySegments(segments, limit: TagLayout.wide.segmentLimit)
    }
    self.count = count
    self.ranks = ranks
    self.borders = borders
    digest = Self.digest(of: [count, ranks] + borders)
  }

  /// Equal segments and in each equal slices, to one element: for sums that every rank needs.
  package static func balanced(
    count: Int, ranks: Int, segmentBytes: Int = defaultSegmentBytes
  ) throws(CommunicationError) -> SlicePlan {
    precondition(segmentBytes >= 4, "segments of \(segmentBytes) bytes")
    let segments = (4 * count + segmentBytes - 1) / segmentBytes
    var borders: [Int] = []
    for segment in 0..<segments {
      let start = segment * count / segments
      let length = (segment + 1) * count / segments - start
      for slice in 0...ranks { borders.append(start + slice * length / ranks) }
    }
    return try SlicePlan(count: count, ranks: ranks, borders: borders)
  }

  /// Slices that are the fixed chunks of a flat array, for state that is sharded by chunk.
  ///
  /// Chunk `k` holds the elements `k·chunk..<(k+1)·chunk` of the flat array, whatever range is exchanged,
  /// and belongs to `owner(ofChunk: k, ranks:)`. Element 0 of the plan is element `range.lowerBound`.
  package static func chunks(
    of chunk: Int, covering range: Range<Int>, ranks: Int
  )
    throws(CommunicationError) -> SlicePlan
  {
    precondition(chunk >= 1, "chunks of \(chunk) elements")
    guard !range.isEmpty else { return try SlicePlan(count: 0, ranks: ranks, borders: []) }
    let group = chunk * ranks
    var borders: [Int] = []
    for number in range.lowerBound / group...(range.upperBound - 1) / group {
      for slice in 0...ranks {
        let border = number * group + slice * chunk
        borders.append(min(max(border, range.lowerBound), range.upperBound) - range.lowerBound)
      }
    }
    return try SlicePlan(count: range.count, ranks: ranks, borders: borders)
  }

  package var segments: Int { borders.count / (ranks + 1) }

  /// The elements of slices `first..<last` of a segment.
  func elements(segment: Int, slices: Range<Int>) -> Range<Int> {
    let base = segment * (ranks + 1)
    return borders[base + slices.lowerBound]..<borders[base + slices.upperBound]
  }

  func elements(segment: Int, slice: Int) -> Range<Int> {
    elements(segment: segment, slices: slice..<slice + 1)
  }

  /// The rank that ends up with a slice.
  package func owner(ofSlice slice: Int) -> Int { Self.partner(slice, ranks: ranks) }

  /// The slice that a rank ends up with; the two maps are each other's inverse because reversal is its own.
  package func slice(ownedBy rank: Int) -> Int { Self.partner(rank, ranks: ranks) }

  /// The rank that owns chunk `k` of the flat array under `chunks(of:covering:ranks:)`.
  package static func owner(ofChunk chunk: Int, ranks: Int) -> Int {
    partner(chunk % ranks, ranks: ranks)
  }

  /// The element ranges that `rank` owns, in order, without empty ones.
  package func ownedRanges(of rank: Int) -> [Range<Int>] {
    let slice = slice(ownedBy: rank)
    return (0..<segments).map { elements(segment: $0, slice: slice) }.filter { !$0.isEmpty }
  }

  /// How many elements `rank` owns.
  package func ownedCount(of rank: Int) -> Int { ownedRanges(of: rank).reduce(0) { $0 + $1.count } }

  /// FNV-1a over whole words, 64 bits.
  private static func digest(of values: [Int]) -> UInt64 {
    values.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64(bitPattern: Int64($1))) &* 0x100_0000_01B3 }
  }

  private static func partner(_ number: Int, ranks: Int) -> Int {
    guard ranks & (ranks - 1) == 0 else { return number }
    var result = 0
    var bit = 1
    while bit < ranks {
      result = result << 1 | (number & bit == 0 ? 0 : 1)
      bit <<= 1
    }
    return result
  }
}
