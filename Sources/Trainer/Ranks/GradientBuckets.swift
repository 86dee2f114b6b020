import Collective
import Model

/// How a gradient is cut for its exchange: ranges of the flat arena, from the end to the start as backward
/// finishes them, and the word table, of which only the touched rows travel.
package struct GradientBuckets {
  struct Bucket {
    let range: Range<Int>
    let plan: SlicePlan
  }

  struct WordTable {
    let range: Range<Int>
    let rows: Int
    let width: Int
  }

  /// Descending; frozen tensors and the word table are in none.
  let buckets: [Bucket]
  /// nil when it is frozen.
  let wordTable: WordTable?
  /// Runs of trained elements, the word table's among them, ascending.
  let trainedRuns: [Range<Int>]

  /// Buckets of `bytes` bytes, or one a run of trained tensors; their slices are equal parts, or the optimizer's
  /// chunks.
  ///
  /// - Throws: `CommunicationError` if a bucket has too many segments.
  init(
    table: ParameterTable, trainable: [Bool], ranks: Int, bytes: Int?, isSharded: Bool,
    sendsTouchedRows: Bool = true
  ) throws(CommunicationError) {
    let trained = zip(table.parameters, trainable).filter(\.1).map(\.0)
    // A decoder that reads the word table touches every row: it is a tensor like the others.
    let apart = trained.first { $0.name == ParameterTable.wordTable && sendsTouchedRows }
    wordTable = apart.map {
      WordTable(range: $0.range, rows: $0.shape[0], width: $0.shape[1])
    }
    trainedRuns = Self.runs(trained.map(\.range))
    let runs = Self.runs(trained.filter { $0.name != apart?.name }.map(\.range))
    buckets = try Self.cut(runs, bytes: bytes).map { (range) throws(CommunicationError) in
      Bucket(
        range: range,
        plan: isSharded
          ? try SlicePlan.chunks(of: Optimizer.chunkSize, covering: range, ranks: ranks)
          : try SlicePlan.balanced(count: range.count, ranks: ranks))
    }
  }

  /// Ranges of `bytes` bytes that cover `runs` (ascending) from the end to the start; nil makes one of each run.
  ///
  /// The first has a quarter of that at most, so that the network begins early, and so has the last, which is closed when
  /// backward ends and of which nothing is hidden.
  package static func cut(_ runs: [Range<Int>], bytes: Int?) -> [Range<Int>] {
    guard let bytes else { return runs.reversed() }
    let size = max(1, bytes / 4), small = max(1, size / 4)
    var ranges: [Range<Int>] = []
    for run in runs.reversed() {
      var end = run.upperBound
      while end > run.lowerBound {
        let left = end - run.lowerBound
        var count = min(ranges.isEmpty ? small : size, left)
        if run == runs.first, count == left, count > small { count -= small }
        ranges.append(end - count..<end)
        end -= count
      }
    }
    return ranges
  }

  /// `ranges`, ascending, with neighbours joined.
  private static func runs(_ ranges: [Range<Int>]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for range in ranges where !range.isEmpty {
      if let last = runs.last, last.upperBound == range.lowerBound {
        runs[runs.count - 1] = last.lowerBound..<range.upperBound
      } else {
        runs.append(range)
      }
    }
    return runs
  }
}
