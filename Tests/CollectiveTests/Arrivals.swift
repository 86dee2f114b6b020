import Synchronization

/// Counts by round, from many threads.
final class Arrivals: Sendable {
  private let counts = Mutex<[Int: Int]>([:])
  func arrive(_ round: Int) { counts.withLock { $0[round, default: 0] += 1 } }
  func count(_ round: Int) -> Int { counts.withLock { $0[round, default: 0] } }
}
