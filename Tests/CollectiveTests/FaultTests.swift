import Collective
import Foundation
import Synchronization
import TestSupport
import Testing

/// Whatever goes wrong on one rank ends all of them with a sentence that names it.
@Suite(.serialized) struct FaultTests {
  /// What each rank's `body` threw, and the exit code all agreed on.
  private func failures(
    ranks: Int,
    settings: @escaping @Sendable (Int) -> CollectiveEngine.Settings = { _ in .cooperative() },
    _ body: @escaping @Sendable (CollectiveEngine) throws -> Void
  ) throws -> [(error: CommunicationError?, exitCode: Int32)] {
    let network = InMemoryNetwork(size: ranks)
    let results = Mutex<[Int: (CommunicationError?, Int32)]>([:])
    let done = DispatchGroup()
    for rank in 0..<ranks {
      done.enter()
      let thread = Thread {
        let engine = CollectiveEngine(network.communicator(rank: rank), settings: settings(rank))
        var failure: CommunicationError?
        do { try body(engine) } catch { failure = error as? CommunicationError }
        let code = engine.finish(exitCode: failure?.exitCode ?? 0)
        results.withLock { $0[rank] = (failure, code) }
        done.leave()
      }
      thread.start()
    }
    let isOver = done.wait(timeout: .now() + 180) == .success
    let all = results.withLock { $0 }
    if !isOver { throw RanksHang(ranks: (0..<ranks).filter { all[$0] == nil }) }
    return try (0..<ranks).map { try all[$0].unwrapped() }
  }

  @Test(arguments: [2, 3, 4])
  func `a rank that brings another count is named by a neighbour, and no rank hangs`(
    ranks: Int
  )
    throws
  {
    let buffers = (0..<ranks).map { Buffer(.init(repeating: 1, count: $0 == ranks - 1 ? 90 : 100)) }
    let ownership = try LeafOwnership(ranks: ranks, leaves: ranks == 3 ? 4 : ranks)
    let seconds = (0..<ranks).map { Buffer(.init(repeating: 1, count: buffers[$0].count)) }
    let failed = try failures(ranks: ranks) { engine in
      let buffer = buffers[engine.rank]
      let plan = try SlicePlan.balanced(count: buffer.count, ranks: ranks)
      let parts = [buffer, seconds[engine.rank]].prefix(ownership.subtrees(of: engine.rank).count)
      try engine.allReduce(parts.map(\.start), plan: plan, ownership: ownership).wait()
    }
    for (error, code) in failed {
      let text = "\(try error.unwrapped())"
      #expect(text.contains("operation 0 (all-reduce of 400 bytes"))
      #expect(text.contains("operation 0 (all-reduce of 360 bytes"))
      #expect(text.contains("rank \(ranks - 1)"))
      #expect(code == ExitCode.disagreement)
    }
  }

  @Test func `the sentence of a mismatch says what both ranks are at and what to do`() throws {
    let bytes = Buffer(.init(repeating: 1, count: 10))
    let failed = try failures(ranks: 2) { engine in
      if engine.rank == 0 {
        try engine.broadcast(bytes.bytes).wait()
      } else {
        try engine.barrier().wait()
      }
    }
    let texts = try failed.map { "\(try $0.error.unwrapped())" }
    let broadcast = "operation 0 (broadcast of 40 bytes, plan "
    let barrier = "operation 0 (barrier, plan 0)"
    #expect(texts.allSatisfy { $0.contains("The ranks disagree about what to exchange: rank ") })
    #expect(
      texts.allSatisfy {
        $0.contains("rank 0 is at \(broadcast)") || $0.contains("and rank 0 at \(broadcast)")
      })
    #expect(
      texts.allSatisfy {
        $0.contains("rank 1 is at \(barrier)") || $0.contains("and rank 1 at \(barrier)")
      })
    #expect(
      texts.allSatisfy {
        $0.hasSuffix("Every rank must run the same program with the same recipe and data.")
      })
  }

  @Test func `an empty vector on one rank is a mismatch and not a wait`() throws {
    let buffers = [Buffer([1, 2]), Buffer([])]
    let ownership = try LeafOwnership(ranks: 2, leaves: 2)
    let failed = try failures(ranks: 2) { engine in
      let plan = try SlicePlan.balanced(count: buffers[engine.rank].count, ranks: 2)
      try engine.allReduce([buffers[engine.rank].start], plan: plan, ownership: ownership).wait()
    }
    #expect(failed.allSatisfy { $0.exitCode == ExitCode.disagreement })
  }

  @Test func `other cuts of the same vector are a mismatch`() throws {
    let buffers = (0..<2).map { _ in Buffer(.init(repeating: 1, count: 5_000)) }
    let ownership = try LeafOwnership(ranks: 2, leaves: 2)
    let failed = try failures(ranks: 2) { engine in
      let plan = try SlicePlan.balanced(
        count: 5_000, ranks: 2, segmentBytes: engine.rank == 0 ? 4_096 : 8_192)
      try engine.allReduce([buffers[engine.rank].start], plan: plan, ownership: ownership).wait()
    }
    #expect(failed.allSatisfy { $0.exitCode == ExitCode.disagreement })
  }

  @Test(arguments: [CollectiveEngine.Progress.cooperative, .thread])
  func `a rank that throws ends every rank with its message and its exit code`(
    progress: CollectiveEngine.Progress
  ) throws {
    let failed = try failures(
      ranks: 4,
      settings: { rank in
        var settings = CollectiveEngine.Settings.cooperative()
        settings.progress = progress
        settings.host = "node-\(rank)"
        settings.process = 70 + rank
        return settings
      }
    ) { engine in
      try engine.introduce()
      if engine.rank == 2 {
        engine.fail("train.tsv:7: the label is missing.", exitCode: ExitCode.data)
      }
      try engine.barrier().wait()
    }
    for (rank, (error, code)) in failed.enumerated() {
      #expect(code == ExitCode.data)
      #expect(
        "\(try error.unwrapped())"
          == (rank == 2
            ? "train.tsv:7: the label is missing."
            : "rank 2 (node-2, process 72) failed: train.tsv:7: the label is missing."))
    }
  }

  @Test func `operations submitted after a failure throw it too`() throws {
    let failed = try failures(ranks: 2) { engine in
      if engine.rank == 0 { engine.fail("no", exitCode: 70) }
      try? engine.barrier().wait()
      try engine.barrier().wait()
    }
    #expect(failed[0].error == .failedHere(message: "no", exitCode: 70))
    #expect(failed[1].error == .peerFailed(peer: "rank 0", message: "no", exitCode: 70))
  }

  private static let ends: [(wishes: [Int32], agreed: Int32)] = [
    ([75, 0, 0, 0, 0], 75), ([74, 75, 75, 75, 75], 74), ([75, 75, 64, 75, 78], 78),
  ]

  @Test(arguments: ends)
  func `the worst exit code wins: a failure before a stop with a checkpoint`(
    wishes: [Int32], agreed: Int32
  ) throws {
    let network = InMemoryNetwork(size: wishes.count)
    let codes = Mutex<[Int32]>([])
    let done = DispatchGroup()
    for (rank, wish) in wishes.enumerated() {
      done.enter()
      Thread {
        let engine = CollectiveEngine(network.communicator(rank: rank), settings: .cooperative())
        let code = engine.finish(exitCode: wish)
        codes.withLock { $0.append(code) }
        done.leave()
      }.start()
    }
    #expect(done.wait(timeout: .now() + 60) == .success)
    #expect(codes.withLock { $0 } == .init(repeating: agreed, count: wishes.count))
  }

  @Test func `a clean end needs no failure`() throws {
    #expect(try failures(ranks: 3) { _ in }.map(\.exitCode) == [0, 0, 0])
  }

  // Rank 3 of 5 exchanges nothing with rank 0 in a barrier, and yet rank 0 must tell.
  @Test(arguments: [(3, 2), (5, 3)])
  func `a rank that ends while another one still needs it is named`(ranks: Int, leaver: Int) throws
  {
    let failed = try failures(ranks: ranks) { engine in
      if engine.rank != leaver { try engine.barrier().wait() }
    }
    #expect(
      "\(try failed[0].error.unwrapped())"
        == "rank \(leaver) ended with exit code 0 while it is needed at operation 0 (barrier, plan 0). "
        + "Every rank must run the same program with the same recipe and data.")
    #expect(failed.allSatisfy { $0.exitCode == ExitCode.disagreement })
  }

  @Test func `a rank that ends badly without a word is named too, after a while`() throws {
    let failed = try failures(
      ranks: 2,
      settings: { _ in
        var settings = CollectiveEngine.Settings.cooperative()
        settings.silenceSeconds = 0.1
        settings.heartbeatSeconds = 0.05
        return settings
      }
    ) { engine in
      if engine.rank == 1 { throw CommunicationError.stall("") }
      try engine.barrier().wait()
    }
    #expect(
      failed[0].error
        == .peerFinished(
          peer: "rank 1", exitCode: ExitCode.stall, operation: "operation 0 (barrier, plan 0)"))
    #expect(failed.allSatisfy { $0.exitCode == ExitCode.disagreement })
  }

  @Test func `the flight recorder keeps the last 512 operations and whom a failed one waited for`()
    throws
  {
    let lines = Mutex<[Int: String]>([:])
    let records = Mutex<[FlightRecorder.Record]>([])
    _ = try failures(ranks: 2) { engine in
      for _ in 0..<600 { try engine.barrier().wait() }
      defer {
        lines.withLock { $0[engine.rank] = engine.recorder.jsonLines(rank: engine.rank) }
        if engine.rank == 0 { records.withLock { $0 = engine.recorder.records } }
      }
      if engine.rank == 1 { throw CommunicationError.failedHere(message: "gone", exitCode: 70) }
      _ = try engine.allGather([1]).wait()
    }
    let kept = records.withLock { $0 }
    #expect(kept.map(\.sequence) == Array(89...600))
    #expect(kept.dropLast().allSatisfy { $0.state == "finished" && $0.kind == "barrier" })
    let last = try kept.last.unwrapped()
    #expect(last.kind == "all-gather of blobs" && last.state == "failed" && last.waitedFor == [1])
    let text = try lines.withLock { $0[0] }.unwrapped()
    #expect(text.utf8.count { $0 == 0x0A } == 512)
    #expect(text.contains(#""kind":"all-gather of blobs""#))
  }
}
