import Foundation

/// How ranks agree on the exit code before MPI is finalised.
struct ExitAgreement {
  /// What this rank wants to end with, once it wants to end.
  var own: Int32?
  /// What the ranks said, at rank 0: their code, how many operations they had submitted, and when.
  var said: [Int: (exitCode: Int32, operations: Int, time: Double)] = [:]
  var isSent = false
  var agreed: Int32?
  /// Messages of the agreement that this rank has not finished sending.
  var sendsLeft = 0
}

/// Heartbeats, faults and the end of the run.
///
/// Small messages in a star around rank 0; faults go to all.
extension CollectiveEngine {
  /// Says what this rank does from now on, for the names of stalls.
  package func enter(phase name: String, step: Int) {
    gate.withLock { ownPhase.enter(name, step: step, now: monotonicSeconds()) }
  }

  /// Says that this rank gets on within its phase: a file, a tensor, a piece or a batch is done.
  ///
  /// A phase of any length is no stall as long as this is called. On any thread, but only for what the rank itself waits for.
  package func noteProgress() { gate.withLock { ownPhase.advance(now: monotonicSeconds()) } }

  /// Ends communication: agrees with all ranks on the worst of their exit codes and finalises.
  ///
  /// Returns the agreed code, with which the process should exit. If the ranks cannot be reached, all of
  /// them are aborted with `exitCode`, or with the failure's code when `exitCode` is 0.
  package func finish(exitCode: Int32) -> Int32 {
    if size == 1 { return finalise(agreed: exitCode) }
    gate.withLock { agreement.own = exitCode }
    var backoff = Backoff()
    while true {
      if !usesThread { poll() }
      let (agreement, failure, failureTime) = gate.withLock {
        (self.agreement, self.failure, self.failureTime)
      }
      if let agreed = agreement.agreed, agreement.sendsLeft == 0 {
        stopThread()
        return finalise(agreed: agreed)
      }
      if let failure, monotonicSeconds() - failureTime > settings.agreementSeconds {
        let code = exitCode == 0 ? failure.exitCode : exitCode
        stopThread()
        communicator.abort(exitCode: code)
        return code
      }
      backoff.pause()
    }
  }

  private func finalise(agreed: Int32) -> Int32 {
    do {
      try communicator.finalise()
      return agreed
    } catch {
      let code = agreed == 0 ? error.exitCode : agreed
      communicator.abort(exitCode: code)
      return code
    }
  }

  // MARK: Under `progressLock`

  func tickControl() throws(CommunicationError) {
    let now = monotonicSeconds()
    // While this rank was not looking, stopped or computing or its machine asleep, nobody was silent.
    let absence = now - lastTick
    lastTick = now
    if absence > settings.silenceSeconds / 2 { table.forgive(absence) }
    try stepAgreement()
    guard now >= table.nextBeat else { return }
    table.nextBeat = now + settings.heartbeatSeconds
    let (beat, hasFailed) = gate.withLock { (Heartbeat(ownPhase, now: now), failure != nil) }
    table.note(beat, of: rank, now: now)
    let others = isRoot ? Array(1..<size) : [0]
    for peer in others where !table.isBeatUnderWay(to: peer) {
      table.startBeat(to: peer)
      try sendControl(beat.bytes, to: peer, round: layout.heartbeatRound) { [self] in
        table.endBeat(to: peer)
      }
    }
    guard !hasFailed else { return }
    for operation in running { try gateAgainstFinished(operation) }
    let verdict = table.verdict(
      judged: isRoot ? Array(0..<size) : [0], now: now, silence: settings.silenceSeconds,
      notice: settings.noticeSeconds, stall: settings.stallSeconds)
    for notice in verdict.notices { settings.onNotice(notice) }
    if let stall = verdict.stall { throw .stall(stall) }
  }

  func acceptControl(_ incoming: Incoming) throws(CommunicationError) {
    let source = incoming.source
    try receiveBlob(incoming) { [self] bytes throws(CommunicationError) in
      switch incoming.tag.round {
      case layout.heartbeatRound:
        guard let beat = Heartbeat(bytes) else {
          throw .strayMessage(
            peer: table.name(of: source), tag: incoming.tag, bytes: bytes.count)
        }
        table.note(beat, of: source, now: monotonicSeconds())
      case layout.goodbyeRound: try acceptGoodbye(bytes, from: source, tag: incoming.tag)
      default:
        let said = Int32(truncatingIfNeeded: littleEndian(bytes, at: 0) ?? 0)
        let code = said == 0 ? ExitCode.internalError : said
        // The sender says its own name: it may fail before it was introduced.
        let parts = bytes.dropFirst(8).split(
          separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts.first.map { String(decoding: $0, as: UTF8.self) } ?? "rank \(source)"
        let message = parts.dropFirst().first.map { String(decoding: $0, as: UTF8.self) } ?? ""
        end(.peerFailed(peer: name, message: message, exitCode: code), tellPeers: false)
      }
    }
  }

  /// Tells every rank why this one cannot go on.
  func broadcastFault(_ error: CommunicationError) {
    let text = "\(table.name(of: rank))\n\(error)"
    let bytes = littleEndian(Int(error.exitCode)) + Array(text.utf8)
    do throws(CommunicationError) {
      for peer in 0..<size where peer != rank {
        try sendControl(bytes, to: peer, round: layout.faultRound) {}
      }
    } catch {
      isBroken = true
    }
  }

  private func sendControl(
    _ bytes: [UInt8], to peer: Int, round: Int, then: @escaping () -> Void
  ) throws(CommunicationError) {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
    memory.copyBytes(from: bytes)
    let request = try communicator.send(
      UnsafeRawBufferPointer(memory), to: peer,
      tag: Tag(sequence: 0, segment: 0, round: round, layout: layout))
    counters.sentControlMessages += 1
    pending.append(
      .init(request: request, lane: nil) { () throws(CommunicationError) in
        memory.deallocate()
        then()
      })
  }

  // MARK: Agreement on the exit code

  private func stepAgreement() throws(CommunicationError) {
    let (wish, failure, operations, isSent) = gate.withLock {
      (agreement.own, self.failure, nextSequence, agreement.isSent)
    }
    guard let wish, !isSent else { return }
    // Nobody ends well after a failure.
    let own = wish == 0 ? failure?.exitCode ?? 0 : wish
    if !isRoot {
      gate.withLock { agreement.isSent = true }
      try sendGoodbye(own, operations: operations, to: 0)
      return
    }
    let said = gate.withLock { agreement.said }
    guard said.count == size - 1 else { return }
    let agreed = said.values.map(\.exitCode).reduce(own, ExitCode.worse)
    gate.withLock {
      agreement.isSent = true
      agreement.sendsLeft = size - 1
      agreement.agreed = agreed
    }
    for peer in 1..<size {
      try sendControl(
        littleEndian(Int(agreed)) + littleEndian(operations), to: peer, round: layout.goodbyeRound
      ) { [self] in gate.withLock { agreement.sendsLeft -= 1 } }
    }
  }

  private func sendGoodbye(
    _ code: Int32, operations: Int, to peer: Int
  )
    throws(CommunicationError)
  {
    gate.withLock { agreement.sendsLeft += 1 }
    try sendControl(
      littleEndian(Int(code)) + littleEndian(operations), to: peer, round: layout.goodbyeRound
    ) { [self] in gate.withLock { agreement.sendsLeft -= 1 } }
  }

  private func acceptGoodbye(
    _ bytes: [UInt8], from source: Int, tag: Tag
  )
    throws(CommunicationError)
  {
    guard bytes.count == 16, let code = littleEndian(bytes, at: 0),
      let operations = littleEndian(bytes, at: 8)
    else {
      throw .strayMessage(peer: table.name(of: source), tag: tag, bytes: bytes.count)
    }
    guard isRoot else {
      gate.withLock { agreement.agreed = Int32(truncatingIfNeeded: code) }
      return
    }
    gate.withLock {
      agreement.said[source] = (Int32(truncatingIfNeeded: code), operations, monotonicSeconds())
    }
    // Whoever has left does not take part in what comes.
    for operation in running { try gateAgainstFinished(operation) }
  }

  /// An error if a rank has ended without this operation, in which all ranks take part.
  ///
  /// Known at rank 0 alone, whatever ranks it exchanges messages with itself.
  func gateAgainstFinished(_ operation: RunningOperation) throws(CommunicationError) {
    let said = gate.withLock { agreement.said }
    let now = monotonicSeconds()
    for (peer, (code, operations, time)) in said.sorted(by: { $0.key < $1.key })
    where operations <= operation.header.sequence {
      // A rank that ends badly passes on a fault whose own message is still under way from the culprit,
      // and that says more than this.
      if code != 0 && now - time < settings.silenceSeconds { continue }
      throw .peerFinished(
        peer: table.name(of: peer), exitCode: code, operation: "\(operation.header)")
    }
  }
}

private func littleEndian(_ value: Int) -> [UInt8] {
  (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

private func littleEndian(_ bytes: [UInt8], at offset: Int) -> Int? {
  guard bytes.count >= offset + 8 else { return nil }
  return (0..<8).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
}
