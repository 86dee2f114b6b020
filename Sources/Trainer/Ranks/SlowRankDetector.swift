/// Finds a rank that computes longer than the others do, which wait for it at every step.
///
/// A rank with more work may take longer in proportion; one with less need not be faster, because a step has costs that do not
/// shrink with its sequences.
package struct SlowRankDetector {
  /// Steps that are looked at together.
  package static let window = 16
  /// How much longer than the others' median a rank must take.
  package static let factor = 1.5

  package struct Finding: Sendable, Equatable {
    package let rank: Int
    /// Seconds of a step, median of the window, of this rank and as its sequences would take the others at most.
    package let seconds: Double
    package let expected: Double
  }

  /// By rank the seconds and the work of the last steps.
  private var times: [[Double]]
  private var work: [[Double]]
  /// The rank that was named last, until it is slow no more.
  private var named: Int?

  package init(ranks: Int) {
    times = Array(repeating: [], count: ranks)
    work = times
  }

  /// Takes the computing seconds and the work (`SequenceCost`) of one step, by rank; a finding once for each time a rank becomes slow.
  package mutating func observe(_ seconds: [Double], work amounts: [Double]) -> Finding? {
    guard seconds.count == times.count, amounts.count == times.count, times.count > 1 else {
      return nil
    }
    for rank in times.indices {
      times[rank].append(seconds[rank])
      work[rank].append(amounts[rank])
      if times[rank].count > Self.window {
        times[rank].removeFirst()
        work[rank].removeFirst()
      }
    }
    guard times[0].count == Self.window else { return nil }
    let typical = times.indices.map {
      (seconds: Benchmark.median(times[$0]), work: Benchmark.median(work[$0]))
    }
    let slowest = typical.indices.compactMap { rank -> Finding? in
      let own = typical[rank]
      let others = typical.indices.filter { $0 != rank && typical[$0].work > 0 }.map {
        typical[$0].seconds * max(1, own.work / typical[$0].work)
      }
      guard own.work > 0, !others.isEmpty else { return nil }
      return Finding(rank: rank, seconds: own.seconds, expected: Benchmark.median(others))
    }.max { $0.seconds * $1.expected < $1.seconds * $0.expected }
    guard let slowest, slowest.seconds > Self.factor * slowest.expected else {
      named = nil
      return nil
    }
    guard named != slowest.rank else { return nil }
    named = slowest.rank
    return slowest
  }
}
