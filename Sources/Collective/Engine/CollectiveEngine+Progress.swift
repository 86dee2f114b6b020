import Foundation

/// Everything here runs under `progressLock`.
extension CollectiveEngine {
  /// One round of looking after every transfer.
  ///
  /// Says whether anything moved.
  func progressOnce() -> Bool {
    if isBroken { return admitSubmissions() }
    var moved = false
    do throws(CommunicationError) {
      moved = admitSubmissions()
      try communicator.progress()
      if try runContinuations() { moved = true }
      // A bounded number, so that sends and sums get their turn.
      for _ in 0..<64 {
        guard let incoming = try communicator.probe() else { break }
        try accept(incoming)
        moved = true
      }
      if try runContinuations() { moved = true }
      if try startSegments() { moved = true }
      if try retire() { moved = true }
      if size > 1 { try tickControl() }
    } catch {
      moved = true
      end(error, tellPeers: true)
    }
    return moved
  }

  private func admitSubmissions() -> Bool {
    let new = gate.withLock {
      defer { submissions.removeAll() }
      return submissions
    }
    for operation in new {
      admitted += 1
      // An earlier one of them may just have failed.
      if let failure = gate.withLock({ failure }) {
        gate.withLock {
          operation.handle.finish(failure)
          gate.broadcast()
        }
        continue
      }
      running.append(operation)
      do throws(CommunicationError) {
        try sendHeaders(of: operation)
        try adoptFuture(of: operation)
      } catch {
        end(error, tellPeers: true)
      }
    }
    return !new.isEmpty
  }

  // MARK: Headers

  private func sendHeaders(of operation: RunningOperation) throws(CommunicationError) {
    let peers = operation.pattern.peers
    guard !peers.isEmpty else { return }
    try gateAgainstFinished(operation)
    let bytes = UnsafeMutableRawBufferPointer.allocate(
      byteCount: OperationHeader.byteCount, alignment: 8)
    operation.header.write(to: bytes)
    operation.headerSendsLeft = peers.count
    let tag = Tag(
      sequence: operation.header.sequence, segment: 0, round: layout.headerRound, layout: layout)
    for peer in peers {
      let request = try communicator.send(UnsafeRawBufferPointer(bytes), to: peer, tag: tag)
      counters.sentHeaders += 1
      pending.append(
        .init(request: request, lane: nil) { () throws(CommunicationError) in
          operation.headerSendsLeft -= 1
          if operation.headerSendsLeft == 0 { bytes.deallocate() }
        })
    }
  }

  private func acceptHeader(
    _ incoming: Incoming, of operation: RunningOperation
  )
    throws(CommunicationError)
  {
    guard incoming.byteCount == OperationHeader.byteCount else {
      throw .sizeMismatch(
        operation: "the header of \(operation.header)", peer: table.name(of: incoming.source),
        expected: OperationHeader.byteCount, found: incoming.byteCount)
    }
    try receiveBlob(incoming) { [self] bytes throws(CommunicationError) in
      let header = bytes.withUnsafeBytes { OperationHeader($0) }
      guard let header, header == operation.header,
        operation.headersMissing.remove(incoming.source) != nil
      else {
        throw .operationMismatch(
          rank: table.name(of: rank), at: "\(operation.header)",
          peer: table.name(of: incoming.source),
          peerAt: header.map { "\($0)" } ?? "something that is no header")
      }
      for key in operation.early.keys where key.source == incoming.source {
        try deliverEarly(key, of: operation)
      }
    }
  }

  // MARK: Messages

  private func accept(_ incoming: Incoming) throws(CommunicationError) {
    table.heard(from: incoming.source, now: monotonicSeconds())
    switch incoming.tag.round {
    case layout.faultRound, layout.goodbyeRound, layout.heartbeatRound: try acceptControl(incoming)
    default:
      // After a failure payload is left where it is: its memory may be gone.
      guard gate.withLock({ failure == nil }) else { return }
      try dispatch(incoming)
    }
  }

  private func dispatch(_ incoming: Incoming) throws(CommunicationError) {
    // The full number is the one nearest to ours that ends in the bits that travelled.
    let span = 1 << layout.sequenceBits
    let ahead = (incoming.tag.sequence - admitted) & (span - 1)
    if ahead < span / 2 {
      future.append(incoming)
      return
    }
    let sequence = admitted + ahead - span
    guard let operation = running.first(where: { $0.header.sequence == sequence }) else {
      throw .strayMessage(
        peer: table.name(of: incoming.source), tag: incoming.tag, bytes: incoming.byteCount)
    }
    try route(incoming, to: operation)
  }

  private func route(
    _ incoming: Incoming, to operation: RunningOperation
  )
    throws(CommunicationError)
  {
    if incoming.tag.round == layout.headerRound {
      try acceptHeader(incoming, of: operation)
      return
    }
    let key = MessageKey(source: incoming.source, tag: incoming.tag)
    guard operation.early[key] == nil else {
      throw .strayMessage(
        peer: table.name(of: incoming.source), tag: incoming.tag, bytes: incoming.byteCount)
    }
    operation.early[key] = incoming
    try deliverEarly(key, of: operation)
  }

  private func adoptFuture(of operation: RunningOperation) throws(CommunicationError) {
    let low = operation.header.sequence & ((1 << layout.sequenceBits) - 1)
    let own = future.filter { $0.tag.sequence == low }
    guard !own.isEmpty else { return }
    future.removeAll { $0.tag.sequence == low }
    for incoming in own { try route(incoming, to: operation) }
  }

  /// Starts the receive of a message once it has come, is expected, and its sender's header was found right.
  func deliverEarly(_ key: MessageKey, of operation: RunningOperation) throws(CommunicationError) {
    guard !operation.headersMissing.contains(key.source), let incoming = operation.early[key],
      let expectation = operation.expected[key]
    else { return }
    operation.early[key] = nil
    operation.expected[key] = nil
    counters.receivedMessages += 1
    counters.receivedBytes += incoming.byteCount
    if let blob = expectation.blob {
      try receiveBlob(incoming, lane: expectation.lane, then: blob)
      return
    }
    guard let bytes = expectation.bytes, let then = expectation.then else { return }
    guard bytes.count == incoming.byteCount else {
      throw .sizeMismatch(
        operation: "\(operation.header), \(incoming.tag)", peer: table.name(of: key.source),
        expected: bytes.count, found: incoming.byteCount)
    }
    let request = try communicator.receive(incoming, into: bytes)
    pending.append(.init(request: request, lane: expectation.lane, then: then))
  }

  /// Receives a message of whatever size it has.
  func receiveBlob(
    _ incoming: Incoming, lane: Lane? = nil,
    then: @escaping ([UInt8]) throws(CommunicationError) -> Void
  ) throws(CommunicationError) {
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: incoming.byteCount, alignment: 16)
    let request = try communicator.receive(incoming, into: memory)
    pending.append(
      .init(request: request, lane: lane) { () throws(CommunicationError) in
        let bytes = [UInt8](memory)
        memory.deallocate()
        try then(bytes)
      })
  }

  /// Runs what waits for transfers that are done, in order of posting, until nothing more is done.
  private func runContinuations() throws(CommunicationError) -> Bool {
    var moved = false
    while true {
      var done: [PendingTransfer] = []
      pending.removeAll {
        guard $0.request.isComplete else { return false }
        done.append($0)
        return true
      }
      if done.isEmpty { return moved }
      moved = true
      for (place, transfer) in done.enumerated() {
        // A failure abandons payload: patterns must not go on.
        if transfer.lane != nil && isEnded { continue }
        do throws(CommunicationError) {
          try transfer.then()
        } catch {
          // The others are done as well, control messages among them.
          pending.insert(contentsOf: done[(place + 1)...], at: 0)
          throw error
        }
        if let lane = transfer.lane { release(lane) }
      }
    }
  }

  private var isEnded: Bool { gate.withLock { failure != nil } }

  private func release(_ lane: Lane) {
    lane.outstanding -= 1
    guard lane.outstanding == 0 else { return }
    lane.operation.activeLanes -= 1
    activeLanes -= 1
  }

  // MARK: Segments

  private func startSegments() throws(CommunicationError) -> Bool {
    var moved = false
    for (place, operation) in running.enumerated() {
      if operation.pattern.isExclusive && !(place == 0 && operation.headersMissing.isEmpty) {
        return moved
      }
      while operation.nextSegment < operation.pattern.segments {
        if activeLanes >= settings.activeSegments { return moved }
        guard operation.pattern.mayStart(segment: operation.nextSegment) else { break }
        try startNextSegment(of: operation)
        moved = true
      }
      if operation.pattern.isExclusive { return moved }
    }
    return moved
  }

  private func startNextSegment(of operation: RunningOperation) throws(CommunicationError) {
    let lane = Lane(engine: self, operation: operation, segment: operation.nextSegment)
    if operation.nextSegment == 0 {
      recorder.update(operation.header.sequence) {
        $0.state = "running"
        $0.started = monotonicSeconds() - startTime
      }
    }
    operation.nextSegment += 1
    operation.activeLanes += 1
    activeLanes += 1
    // One for the start itself, so that a segment that finishes while it starts is counted once.
    lane.outstanding = 1
    try operation.pattern.start(segment: lane.segment, on: lane)
    release(lane)
  }

  /// Takes finished operations off the list and wakes who waits.
  private func retire() throws(CommunicationError) -> Bool {
    guard running.contains(where: \.isDone) else { return false }
    for operation in running where operation.isDone {
      if let stray = operation.early.values.first {
        throw .strayMessage(
          peer: table.name(of: stray.source), tag: stray.tag, bytes: stray.byteCount)
      }
      recorder.update(operation.header.sequence) {
        $0.state = "finished"
        $0.ended = monotonicSeconds() - startTime
      }
    }
    let done = running.filter(\.isDone)
    running.removeAll(where: \.isDone)
    gate.withLock {
      for operation in done { operation.handle.finish() }
      unfinished -= done.count
      gate.broadcast()
    }
    return true
  }

  /// Ends the run's communication with `error`: every unfinished operation throws it.
  func end(_ error: CommunicationError, tellPeers: Bool) {
    let isFirst = gate.withLock {
      guard failure == nil else { return false }
      failure = error
      failureTime = monotonicSeconds()
      return true
    }
    guard isFirst else {
      // The transport fails even while a failure is being reported.
      if case .call = error { isBroken = true }
      return
    }
    let ended = monotonicSeconds() - startTime
    for operation in running {
      recorder.update(operation.header.sequence) {
        $0.state = "failed"
        $0.ended = ended
        $0.waitedFor = operation.waitsFor
      }
    }
    AbandonedMemory.keep(running, pending.filter { $0.lane != nil })
    gate.withLock {
      for operation in running + submissions { operation.handle.finish(error) }
      unfinished = 0
      running.removeAll()
      activeLanes = 0
      gate.broadcast()
    }
    if tellPeers { broadcastFault(error) }
  }
}
