import Foundation

/// Seconds of a clock that never goes back.
func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}

/// How to wait for a message: spin while one is likely, then let others run, then sleep.
///
/// Sleeping starts late because a message of a megabyte over 10 Gb/s takes one millisecond, and early
/// enough that ranks which share a core do not keep one another from computing.
struct Backoff {
  private var quietSince: Double?
  private static let spinSeconds = 30e-6
  private static let yieldSeconds = 500e-6
  private static let sleepMicroseconds: ClosedRange<Double> = 50...200

  /// Something happened: spin again.
  mutating func reset() { quietSince = nil }

  /// How long to sleep now, in microseconds: zero to look again at once.
  mutating func pause() {
    let now = monotonicSeconds()
    guard let start = quietSince else {
      quietSince = now
      return
    }
    let quiet = now - start
    if quiet < Self.spinSeconds { return }
    if quiet < Self.yieldSeconds {
      sched_yield()
      return
    }
    let wanted = 0.1 * quiet * 1e6
    usleep(
      UInt32(
        min(max(wanted, Self.sleepMicroseconds.lowerBound), Self.sleepMicroseconds.upperBound)))
  }
}
