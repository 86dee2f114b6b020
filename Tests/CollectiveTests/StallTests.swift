import Collective
import Foundation
import Synchronization
import Testing

/// A rank that others wait for is named with host, process, phase and seconds.
///
/// The durations here say when a stall is declared; no test asserts how fast anything is.
@Suite(.serialized) struct StallTests {
  private func settings(_ rank: Int, notices: Notices) -> CollectiveEngine.Settings {
    var settings = CollectiveEngine.Settings.threaded()
    settings.heartbeatSeconds = 0.02
    settings.silenceSeconds = 0.4
    settings.noticeSeconds = 0.2
    settings.stallSeconds = 1.0
    settings.agreementSeconds = 1.5
    settings.host = "node-\(rank)"
    settings.process = 40 + rank
    settings.onNotice = { notices.add($0) }
    return settings
  }

  @Test func `a rank that stays in a phase is named, and after the time-out all end with 76`()
    throws
  {
    let notices = Notices()
    let codes = Mutex<[Int32]>([])
    let texts = Mutex<[Int: String]>([:])
    let network = InMemoryNetwork(size: 3)
    let done = DispatchGroup()
    for rank in 0..<3 {
      done.enter()
      let settings = settings(rank, notices: notices)
      Thread {
        let engine = CollectiveEngine(network.communicator(rank: rank), settings: settings)
        var code: Int32 = 0
        do {
          try engine.introduce()
          engine.enter(phase: "reading data", step: 120)
          // Until the others have given up on it.
          while rank == 1, engine.currentFailure == nil { usleep(10_000) }
          try engine.barrier().wait()
        } catch {
          code = (error as? CommunicationError)?.exitCode ?? 1
          texts.withLock { $0[rank] = "\(error)" }
        }
        let agreed = engine.finish(exitCode: code)
        codes.withLock { $0.append(agreed) }
        done.leave()
      }.start()
    }
    try #require(done.wait(timeout: .now() + 180) == .success)
    #expect(codes.withLock { $0 } == [76, 76, 76])
    let slow = "rank 1 (node-1, process 41) is still in reading data, step 120, since "
    #expect(notices.all.contains { $0.hasPrefix(slow) && $0.hasSuffix(" s; 2 ranks wait for it.") })
    #expect(texts.withLock { $0[0] }?.hasPrefix(slow) == true)
    #expect(
      texts.withLock { $0[2] }?.hasPrefix("rank 0 (node-0, process 40) failed: " + slow) == true)
  }

  @Test func `a rank that gives no sign of life is named as silent`() throws {
    let notices = Notices()
    let network = InMemoryNetwork(size: 2)
    // Rank 1 introduces itself and then nobody moves its messages any more, as after SIGSTOP.
    let silentSettings: CollectiveEngine.Settings = {
      var settings = settings(1, notices: notices)
      settings.progress = .cooperative
      return settings
    }()
    let ready = DispatchSemaphore(value: 0)
    Thread {
      let engine = CollectiveEngine(network.communicator(rank: 1), settings: silentSettings)
      try? engine.introduce()
      engine.enter(phase: "backward", step: 7)
      for _ in 0..<5 {
        usleep(30_000)
        engine.poll()
      }
      ready.signal()
    }.start()
    let engine = CollectiveEngine(
      network.communicator(rank: 0), settings: settings(0, notices: notices))
    try engine.introduce()
    ready.wait()
    let error = #expect(throws: CommunicationError.self) { try engine.barrier().wait() }
    let silent = "rank 1 (node-1, process 41) has given no sign of life for "
    #expect(error?.description.hasPrefix(silent) == true)
    #expect(error?.description.hasSuffix("it was last seen in backward, step 7.") == true)
    #expect(notices.all.contains { $0.hasPrefix(silent) })
    // Nobody answers, so there is no agreement: the run is aborted with the failure's code.
    #expect(engine.finish(exitCode: 0) == ExitCode.stall)
  }

  @Test(arguments: [true, false])
  func `a rank that looks after nothing for long is silent, but for a thread that does`(
    hasThread: Bool
  ) throws {
    let notices = Notices()
    let results = try onRanks(
      2,
      settings: { rank in
        var settings = settings(rank, notices: notices)
        settings.silenceSeconds = 1
        settings.stallSeconds = 60
        guard rank == 1 else { return settings }
        settings.progress = .cooperative
        settings.idlePollSeconds = hasThread ? 0.05 : nil
        return settings
      }
    ) { engine in
      try engine.introduce()
      engine.enter(phase: "writing a checkpoint", step: 3)
      if engine.rank == 1 { usleep(2_500_000) }
      try engine.barrier().wait()
      return true
    }
    #expect(results == [true, true])
    let isSilent = notices.all.contains { $0.contains(" has given no sign of life for ") }
    #expect(isSilent == !hasThread)
    if hasThread {
      #expect(
        notices.all.contains { $0.contains(" is still in writing a checkpoint, step 3, since ") })
    }
  }

  @Test func `time in which nobody looked, as when a machine sleeps, is nobody's silence`() throws {
    let notices = Notices()
    let results = try onRanks(
      2,
      settings: { rank in
        var settings = settings(rank, notices: notices)
        settings.progress = .cooperative
        return settings
      }
    ) { engine in
      try engine.introduce()
      // Longer than the time-out of one second.
      usleep(1_300_000 + 200_000 * UInt32(engine.rank))
      try engine.barrier().wait()
      return true
    }
    #expect(results == [true, true])
  }
}
