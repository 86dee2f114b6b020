import Foundation
import Synchronization

/// The collectives of a run: one queue of operations, carried out in order of submission by one thread
/// that owns every call of the communicator.
///
/// All ranks submit the same operations in the same order, from one thread. Several operations, and several segments
/// of each, are under way at once. When anything goes wrong on any rank, every unfinished and every
/// later operation of every rank throws. The engine then keeps the patterns and owners of unfinished operations until the process
/// ends, because a transport may still be reading their memory.
package final class CollectiveEngine: @unchecked Sendable {
  /// Who moves messages on.
  package enum Progress: String, Sendable, Codable, CaseIterable {
    /// A thread of its own, until `settleProgress` finds that all ranks share one host and leave it no core: then cooperative.
    case automatic
    /// A thread of its own: full overlap where a core is free for it, and links that are used evenly.
    case thread
    /// Whoever calls `poll` or waits: for ranks that share their cores.
    case cooperative
  }

  package struct Settings: Sendable {
    package var progress = Progress.automatic
    /// With cooperative progress, how often a thread that sleeps between looks after the messages, whatever the rank is doing: its
    /// heartbeats go on while it reads rows or writes a checkpoint.
    ///
    /// Nil starts no such thread: then only `poll` and waiting move anything.
    package var idlePollSeconds: Double?
    /// Segments under way at once.
    package var activeSegments = 8
    /// Operations submitted and not finished before `submit` waits.
    package var queueLimit = 256
    package var heartbeatSeconds = 1.0
    /// A rank not heard of for this long is named.
    package var silenceSeconds = 3.0
    /// A rank that others wait for this long is named.
    package var noticeSeconds = 5.0
    /// After this long without a sign of life, or without progress while others wait, the run ends.
    package var stallSeconds = 120.0
    /// After a failure, how long to try to agree on the exit code.
    package var agreementSeconds = 30.0
    /// Host and process number of this rank, for messages.
    package var host = ProcessInfo.processInfo.hostName
    package var process = Int(ProcessInfo.processInfo.processIdentifier)
    /// Where notices about slow and silent ranks go.
    ///
    /// Called on the engine's thread; it must not call the engine.
    package var onNotice: @Sendable (String) -> Void = { _ in }
    package init() {}
  }

  /// What went over the wire, counted here and nowhere else.
  package struct Counters: Sendable, Equatable {
    package var sentMessages = 0
    package var sentBytes = 0
    package var receivedMessages = 0
    package var receivedBytes = 0
    package var sentHeaders = 0
    package var sentControlMessages = 0
    package init() {}
  }

  package let communicator: any Communicator
  package let settings: Settings
  package let recorder = FlightRecorder()
  package var rank: Int { communicator.rank }
  package var size: Int { communicator.size }
  package var isRoot: Bool { rank == 0 }
  var layout: TagLayout { communicator.tagLayout }

  // Guarded by `gate`: what callers and the engine's thread share.
  let gate = NSCondition()
  var submissions: [RunningOperation] = []
  var unfinished = 0
  var nextSequence = 0
  var failure: CommunicationError?
  var failureTime = 0.0
  var agreement = ExitAgreement()
  var ownPhase = Phase(now: monotonicSeconds())
  var isStopping = false
  /// Seconds in which `submit` waited for room.
  private var blocked = 0.0
  private var threadEnded = false
  private let hasThread: Bool
  /// Stored under `gate`, so that a thread that waits there sees it change.
  private let threadMoves: Atomic<Bool>

  // Guarded by `progressLock`: the engine's own state.
  let progressLock = NSLock()
  var running: [RunningOperation] = []
  /// Operations admitted so far: the number of the next one.
  var admitted = 0
  var future: [Incoming] = []
  var pending: [PendingTransfer] = []
  var activeLanes = 0
  var counters = Counters()
  var scratch = ScratchPool()
  var table: PhaseTable
  var lastTick = monotonicSeconds()
  let startTime = monotonicSeconds()
  /// A communicator that throws while a failure is being reported is not called again.
  var isBroken = false

  package init(_ communicator: any Communicator, settings: Settings = Settings()) {
    self.communicator = communicator
    self.settings = settings
    table = PhaseTable(ranks: communicator.size, now: monotonicSeconds())
    table.rename(communicator.rank, host: settings.host, process: settings.process)
    let moves = settings.progress != .cooperative && communicator.size > 1
    threadMoves = Atomic(moves)
    hasThread = moves || settings.idlePollSeconds != nil && communicator.size > 1
    guard hasThread else { return }
    let thread = Thread { [self] in
      loop()
      if let seconds = settings.idlePollSeconds { lookNowAndThen(every: seconds) }
      endThread()
    }
    thread.name = "lockstep-comm"
    thread.start()
  }

  /// Whether a thread of its own moves messages.
  ///
  /// A single process has nobody to talk to and no thread.
  var usesThread: Bool { threadMoves.load(ordering: .acquiring) }

  /// Who moves messages now: `thread` or `cooperative`.
  package var progress: Progress { usesThread ? .thread : .cooperative }

  /// Seconds since the engine was made: the clock of the flight recorder.
  package var seconds: Double { monotonicSeconds() - startTime }

  /// The number of the operation that is submitted next.
  package var nextOperation: Int { gate.withLock { nextSequence } }

  /// What was sent and received so far.
  package var traffic: Counters { progressLock.withLock { counters } }

  /// Names `rank` for messages: host and process once they have been introduced.
  package func name(of rank: Int) -> String { progressLock.withLock { table.name(of: rank) } }

  /// The failure that ended the run's communication, if one did.
  package var currentFailure: CommunicationError? { gate.withLock { failure } }

  // MARK: Submitting and waiting

  func submit(
    _ kind: OperationKind, bytes: Int, digest: UInt64, pattern: any Pattern,
    keeping owner: AnyObject? = nil
  ) -> CollectiveOperation {
    let operation = CollectiveOperation(kind: kind, engine: self)
    gate.lock()
    waitForRoom(kind)
    var record = FlightRecorder.Record(
      sequence: nextSequence, kind: "\(kind)", bytes: bytes, submitted: seconds, state: "queued")
    if let failure {
      // Here this rank learns of it: the end of what the recorder tells.
      (record.state, record.ended) = ("refused", record.submitted)
      recorder.add(record)
      operation.finish(failure)
    } else {
      let header = OperationHeader(
        kind: kind, sequence: nextSequence, bytes: bytes, digest: digest)
      recorder.add(record)
      nextSequence += 1
      unfinished += 1
      submissions.append(.init(header: header, pattern: pattern, handle: operation, owner: owner))
      gate.broadcast()
    }
    gate.unlock()
    if !usesThread { poll() }
    return operation
  }

  /// Returns when another operation may be submitted; under `gate`, which is given up meanwhile.
  private func waitForRoom(_ kind: OperationKind) {
    let limit = min(settings.queueLimit, layout.operationLimit)
    guard unfinished >= limit, failure == nil else { return }
    // Waiting for others like any other: who computes is not to be blamed for it.
    let begun = monotonicSeconds()
    let isOutermost = ownPhase.startWaiting(for: "room for \(kind)", now: begun)
    var backoff = Backoff()
    while unfinished >= limit && failure == nil {
      if usesThread {
        gate.wait()
      } else {
        gate.unlock()
        if poll() { backoff.reset() } else { backoff.pause() }
        gate.lock()
      }
    }
    let now = monotonicSeconds()
    if isOutermost { ownPhase.stopWaiting(now: now) }
    blocked += now - begun
  }

  /// Seconds that this rank has waited, so far, because as many operations as may be were under way.
  package var blockedSeconds: Double { gate.withLock { blocked } }

  func wait(for operation: CollectiveOperation) {
    let isOutermost = gate.withLock {
      ownPhase.startWaiting(for: "\(operation.kind)", now: monotonicSeconds())
    }
    defer {
      if isOutermost { gate.withLock { ownPhase.stopWaiting(now: monotonicSeconds()) } }
    }
    if usesThread {
      // A little spinning saves the wake-up of a last bucket that is nearly there. More would take the
      // core from the thread that is waited for.
      let start = monotonicSeconds()
      while !operation.isFinished, monotonicSeconds() - start < 20e-6 {}
      gate.lock()
      while !operation.isFinished { gate.wait() }
      gate.unlock()
    } else {
      var backoff = Backoff()
      while !operation.isFinished {
        if poll() { backoff.reset() } else { backoff.pause() }
      }
    }
  }

  /// Moves the exchanges on, once, if no one else is doing so.
  ///
  /// For cooperative progress: called between tiles of work. Says whether anything moved.
  @discardableResult package func poll() -> Bool {
    guard progressLock.try() else { return false }
    defer { progressLock.unlock() }
    return progressOnce()
  }

  /// Tells every rank that this one failed, so that none waits for it: their operations throw
  /// `peerFailed` with `message`.
  ///
  /// Call `finish` afterwards.
  package func fail(_ message: String, exitCode: Int32) {
    progressLock.withLock {
      end(.failedHere(message: message, exitCode: exitCode), tellPeers: true)
    }
    if !usesThread { poll() }
  }

  // MARK: The thread

  private func loop() {
    var backoff = Backoff()
    while usesThread, !gate.withLock({ isStopping }) {
      let (moved, busy) = progressLock.withLock { (progressOnce(), !running.isEmpty) }
      if moved {
        backoff.reset()
      } else if busy {
        backoff.pause()
      } else {
        // Nothing to do: look for control messages now and then, and wake at once for a submission.
        gate.lock()
        if submissions.isEmpty && usesThread && !isStopping {
          _ = gate.wait(until: Date(timeIntervalSinceNow: 5e-3))
        }
        gate.unlock()
      }
    }
  }

  /// Leaves the messages to whoever calls `poll` or waits, from now on.
  func becomeCooperative() {
    gate.lock()
    threadMoves.store(false, ordering: .releasing)
    gate.broadcast()
    gate.unlock()
  }

  /// Polls every `seconds` seconds, for when nobody else does.
  private func lookNowAndThen(every seconds: Double) {
    while !gate.withLock({ isStopping }) {
      poll()
      let next = Date(timeIntervalSinceNow: seconds)
      gate.lock()
      while !isStopping, gate.wait(until: next) {}
      gate.unlock()
    }
  }

  private func endThread() {
    gate.lock()
    threadEnded = true
    gate.broadcast()
    gate.unlock()
  }

  /// Ends the thread and returns when it is gone.
  func stopThread() {
    guard hasThread else { return }
    gate.lock()
    isStopping = true
    gate.broadcast()
    while !threadEnded { gate.wait() }
    gate.unlock()
  }
}
