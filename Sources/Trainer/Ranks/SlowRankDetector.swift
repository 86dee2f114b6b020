/// Finds a rank that computes longer than the others do, which wait for it at every step.
///
/// Times count for each leaf, so that a rank with more leaves is not called slow.
package struct SlowRankDetector {
  /// Steps that are looked at together.
  package static let window = 16
  /// How much longer than the others' median a rank must take.
  package static let factor = 1.5

  package struct Finding: Sendable, Equatable {
    package let rank: Int
    /// Seconds of a step, median of the window, of this rank and as its leaves would take the others.
    package let seconds: Double
    package let expected: Double
  }

  private let leaves: [Double]
  /// By rank the seconds of the last steps.
  private var times: [[Double]]
  /// The rank that was named last, until it is slow no more.
  private var named: Int?

  /// `leaves`: by rank.
  package init(leaves: [Int]) {
    self.leaves = leaves.map { Double(max($0, 1)) }
    times = leaves.map { _ in [] }
  }

  /// Takes the computing seconds of one step, by rank; a finding once for each time a rank becomes slow.
  package mutating func observe(_ seconds: [Double]) -> Finding? {
    guard seconds.count == times.count, times.count > 1 else { return nil }
    for rank in times.indices {
      times[rank].append(seconds[rank])
      if times[rank].count > Self.window { times[rank].removeFirst() }
    }
    guard times[0].count == Self.window else { return nil }
    let perLeaf = times.indices.map { Benchmark.median(times[$0]) / leaves[$0] }
    guard let slowest = perLeaf.indices.max(by: { perLeaf[$0] < perLeaf[$1] }) else { return nil }
    let others = Benchmark.median(perLeaf.indices.filter { $0 != slowest }.map { perLeaf[$0] })
    guard perLeaf[slowest] > Self.factor * others else {
      named = nil
      return nil
    }
    guard named != slowest else { return nil }
    named = slowest
    return Finding(
      rank: slowest, seconds: perLeaf[slowest] * leaves[slowest],
      expected: others * leaves[slowest])
  }
}
