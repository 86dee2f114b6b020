import Foundation
import Synchronization

/// The process's compute threads.
///
/// Work is a number of tiles that any thread may take; what a tile
/// computes never depends on which thread took it or on how many threads there are.
///
/// Only one thread at a time may call `run`. A tile must not call `run` itself.
package final class ThreadPool: @unchecked Sendable {
  /// Threads that work on a job, the caller's among them.
  package let threads: Int

  /// Held by every worker, so that a worker that is about to end outlives its pool in peace.
  private let job = Job()
  private var generation: UInt64 = 0

  /// Called by the thread that called `run`, after a tile of its own or while it waits for the others', at most once in
  /// `pollMicroseconds`: whoever has no thread of its own moves on here.
  ///
  /// It must not call `run`.
  package var betweenTiles: (() -> Void)? {
    get { job.betweenTiles }
    set { job.betweenTiles = newValue }
  }

  /// The least time between two calls of `betweenTiles`.
  package static let pollMicroseconds = 200

  package init(threads: Int) {
    precondition(threads >= 1, "a pool of \(threads) threads")
    self.threads = threads
    for number in 1..<max(threads, 1) {
      let worker = Thread { [job] in job.work(as: number) }
      worker.stackSize = 8 << 20
      worker.name = "lockstep-\(number)"
      worker.start()
    }
  }

  deinit { stop() }

  /// Calls `body(tile, thread)` once for every tile in `0..<count` and returns when all are done.
  ///
  /// `thread` is below `threads`: use it to pick scratch memory, never to pick work.
  package func run(_ count: Int, _ body: (_ tile: Int, _ thread: Int) -> Void) {
    precondition(count >= 0 && UInt64(count) <= Job.indexMask, "a job of \(count) tiles")
    if threads == 1 || count <= 1 {
      for tile in 0..<count {
        body(tile, 0)
        job.pollIfDue()
      }
      return
    }
    withoutActuallyEscaping(body) { body in
      generation = (generation + 1) & 0xFF_FFFF
      job.offer(body, tiles: count, generation: generation)
      job.takeTiles(as: 0)
      job.waitUntilFinished(count)
    }
  }

  /// Ends the workers.
  ///
  /// The pool must not be used afterwards.
  package func stop() { job.stop() }
}

/// What the threads of a pool share: the job on offer.
private final class Job: @unchecked Sendable {
  /// The job on offer in one word, so that a claim is one compare-and-swap that also proves the job
  /// is still the same: generation (24 bits), tile count (20 bits), next tile (20 bits).
  private let offered = Atomic<UInt64>(0)
  private let finished = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let stopped = Atomic<Bool>(false)
  private let condition = NSCondition()
  /// Valid while a tile of the current generation is unfinished.
  private var body: ((_ tile: Int, _ thread: Int) -> Void)?
  /// Only thread 0 reads it, and only between jobs is it set.
  var betweenTiles: (() -> Void)?
  private var lastPoll = 0.0

  private static let indexBits: UInt64 = 20
  static let indexMask: UInt64 = (1 << indexBits) - 1
  /// Polls before a waiting worker sleeps: some 20 microseconds, longer than the gaps between jobs of one step.
  private static let spins = 2_000

  /// Puts `tiles` tiles of `body` on offer and wakes who sleeps.
  func offer(
    _ body: @escaping (_ tile: Int, _ thread: Int) -> Void, tiles: Int, generation: UInt64
  ) {
    self.body = body
    finished.store(0, ordering: .relaxed)
    offered.store(
      generation << (2 * Self.indexBits) | UInt64(tiles) << Self.indexBits,
      ordering: .sequentiallyConsistent)
    if sleepers.load(ordering: .sequentiallyConsistent) > 0 { wake() }
  }

  /// Returns when `tiles` tiles are done, and forgets the job.
  func waitUntilFinished(_ tiles: Int) {
    var polls = 0
    while finished.load(ordering: .acquiring) < tiles {
      polls += 1
      if polls > Self.spins { sched_yield() }
      pollIfDue()
    }
    body = nil
  }

  /// Calls `betweenTiles` if it was not called lately; thread 0 only.
  func pollIfDue() {
    guard let betweenTiles else { return }
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    let now = Double(time.tv_sec) * 1e6 + Double(time.tv_nsec) * 1e-3
    guard now - lastPoll >= Double(ThreadPool.pollMicroseconds) else { return }
    betweenTiles()
    lastPoll = now
  }

  /// Claims tiles of the job on offer until none is left.
  func takeTiles(as thread: Int) {
    var seen = offered.load(ordering: .acquiring)
    while Self.hasTile(seen) {
      let (exchanged, current) = offered.weakCompareExchange(
        expected: seen, desired: seen + 1, ordering: .acquiringAndReleasing)
      guard exchanged else {
        seen = current
        continue
      }
      // The claim keeps this generation alive, so `body` is its body.
      body.unsafelyUnwrapped(Int(seen & Self.indexMask), thread)
      finished.wrappingAdd(1, ordering: .releasing)
      if thread == 0 { pollIfDue() }
      seen = offered.load(ordering: .acquiring)
    }
  }

  func stop() {
    stopped.store(true, ordering: .sequentiallyConsistent)
    wake()
  }

  /// A worker's life.
  func work(as thread: Int) {
    while !stopped.load(ordering: .relaxed) {
      var polls = 0
      while !Self.hasTile(offered.load(ordering: .relaxed)) {
        polls += 1
        if polls > Self.spins { sleepUntilOffered() }
        if stopped.load(ordering: .relaxed) { return }
      }
      takeTiles(as: thread)
    }
  }

  private static func hasTile(_ offer: UInt64) -> Bool {
    offer & indexMask < (offer >> indexBits) & indexMask
  }

  private func wake() {
    condition.lock()
    condition.broadcast()
    condition.unlock()
  }

  private func sleepUntilOffered() {
    condition.lock()
    sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
    while !Self.hasTile(offered.load(ordering: .sequentiallyConsistent))
      && !stopped.load(ordering: .relaxed)
    {
      condition.wait()
    }
    sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    condition.unlock()
  }
}
