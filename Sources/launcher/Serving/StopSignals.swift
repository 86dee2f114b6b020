import Foundation
import Trainer

/// SIGTERM and SIGINT as something that a thread waits for.
enum StopSignals {
  /// What a handler writes into and a thread reads from: a handler may do little else.
  private static let ends: (read: Int32, write: Int32) = {
    var ends: [Int32] = [-1, -1]
    _ = pipe(&ends)
    return (ends[0], ends[1])
  }()

  /// Calls `stop` on a thread of its own when the first of them comes; a second SIGINT ends the process with 130.
  static func listen(_ stop: @escaping @Sendable () -> Void) throws {
    guard ends.read >= 0 else {
      throw RunError(
        .environment,
        "No pipe can be made: \(String(cString: strerror(errno))). Allow the process more open files."
      )
    }
    for number in [SIGTERM, SIGINT] {
      signal(number) { number in
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(StopSignals.ends.write, &byte, 1)
      }
    }
    // Whoever started this process may have blocked them, and a mask is inherited.
    var heard = sigset_t()
    sigemptyset(&heard)
    for number in [SIGTERM, SIGINT] { sigaddset(&heard, number) }
    pthread_sigmask(SIG_UNBLOCK, &heard, nil)
    Thread {
      var isStopping = false
      while true {
        var number: UInt8 = 0
        guard read(ends.read, &number, 1) == 1 else { continue }
        // Asked a second time by hand: whoever asks does not want to wait.
        if isStopping, Int32(number) == SIGINT { _exit(130) }
        guard !isStopping else { continue }
        isStopping = true
        Thread(block: stop).start()
      }
    }.start()
  }
}
