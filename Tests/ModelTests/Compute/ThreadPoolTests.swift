import Foundation
import Model
import Synchronization
import Testing

@Suite struct ThreadPoolTests {
  @Test(arguments: [1, 3])
  func `who has no thread of its own is called between tiles, by the caller's thread alone`(
    threads: Int
  ) {
    let pool = ThreadPool(threads: threads)
    defer { pool.stop() }
    let caller = Thread.current
    let start = ContinuousClock.now
    var calls = 0
    let own = Mutex(0)
    pool.betweenTiles = {
      #expect(Thread.current === caller)
      calls += 1
    }
    for _ in 0..<4 {
      pool.run(40) { _, thread in
        usleep(2 * UInt32(ThreadPool.pollMicroseconds))
        if thread == 0 { own.withLock { $0 += 1 } }
      }
    }
    // Each tile takes longer than the least time between two calls.
    #expect(calls >= own.withLock { $0 })
    #expect(own.withLock { $0 } > 0)
    #expect(.microseconds(ThreadPool.pollMicroseconds) * (calls - 1) <= ContinuousClock.now - start)
    pool.betweenTiles = nil
    let before = calls
    pool.run(4) { _, _ in usleep(2 * UInt32(ThreadPool.pollMicroseconds)) }
    #expect(calls == before)
  }
}
