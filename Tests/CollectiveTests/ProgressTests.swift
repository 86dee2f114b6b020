import Collective
import Foundation
import Testing

/// Who moves messages where nobody says: settled once the ranks know their hosts and their threads.
@Suite(.serialized) struct ProgressTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var hosts = ["a", "a"]
    var asked = CollectiveEngine.Progress.automatic
    var threads = 1
    var processors = 2
    var introduces = true
    let expected: CollectiveEngine.Progress
  }

  static let cases = [
    Case(testDescription: "one host, no core to spare", expected: .cooperative),
    Case(testDescription: "more threads than cores", threads: 3, expected: .cooperative),
    Case(testDescription: "one core to spare", processors: 3, expected: .thread),
    Case(testDescription: "two hosts", hosts: ["a", "b"], expected: .thread),
    Case(
      testDescription: "two hosts, one of them full", hosts: ["a", "a", "b"], expected: .thread),
    Case(testDescription: "hosts not known yet", introduces: false, expected: .thread),
    Case(testDescription: "a thread asked for", asked: .thread, expected: .thread),
    Case(testDescription: "none asked for", asked: .cooperative, expected: .cooperative),
    Case(testDescription: "alone", hosts: ["a"], processors: 1, expected: .cooperative),
  ]

  private func settings(_ test: Case, rank: Int) -> CollectiveEngine.Settings {
    var settings = CollectiveEngine.Settings.cooperative()
    settings.progress = test.asked
    settings.idlePollSeconds = 0.05
    settings.host = test.hosts[rank]
    return settings
  }

  @Test(arguments: cases) func `the thread is given up on one full host alone`(test: Case) throws {
    let found = try onRanks(test.hosts.count, settings: { settings(test, rank: $0) }) { engine in
      if test.introduces { try engine.introduce() }
      engine.settleProgress(threads: test.threads, processors: test.processors)
      return engine.progress
    }
    #expect(found == test.hosts.map { _ in test.expected })
  }

  @Test(arguments: [2, 5])
  func `operations that are under way when the thread is given up end with the same sums`(
    ranks: Int
  ) throws {
    let test = Case(
      testDescription: "", hosts: .init(repeating: "a", count: ranks), expected: .cooperative)
    let ownership = try LeafOwnership(ranks: ranks, leaves: 8)
    let leaves = Array(ReductionTests.leaves(count: 65_539, seed: 7).prefix(8))
    let results = try onRanks(ranks, longestDelay: 300e-6, settings: { settings(test, rank: $0) }) {
      engine in
      try engine.introduce()
      var running: [(buffers: [Buffer], operation: CollectiveOperation)] = []
      for number in 0..<12 {
        let buffers = contributions(
          of: engine.rank, ownership: ownership, leaves: leaves, offset: 1)
        let plan = try SlicePlan.balanced(count: 65_539, ranks: ranks, segmentBytes: 20_000)
        running.append(
          (
            buffers,
            try engine.allReduce(
              buffers.map(\.start), plan: plan, ownership: ownership, exchange: .automatic)
          ))
        // Each rank at another moment; the others go on with what they have.
        if number == 5 + engine.rank { engine.settleProgress(threads: 1, processors: 2) }
      }
      for (_, operation) in running { try operation.wait() }
      return (engine.progress, running.map { bits($0.buffers[0].values) })
    }
    let expected = bits(canonicalSum(leaves[...]))
    for (progress, sums) in results {
      #expect(progress == .cooperative)
      #expect(sums.allSatisfy { $0 == expected })
    }
  }

  @Test func `a thread that was given up still gives signs of life`() throws {
    let notices = Notices()
    let results = try onRanks(
      2,
      settings: { rank in
        var settings = CollectiveEngine.Settings.cooperative()
        settings.progress = .automatic
        settings.host = "a"
        settings.idlePollSeconds = 0.05
        settings.heartbeatSeconds = 0.1
        settings.silenceSeconds = 0.5
        settings.onNotice = { notices.add($0) }
        return settings
      }
    ) { engine in
      try engine.introduce()
      engine.settleProgress(threads: 1, processors: 2)
      engine.enter(phase: "writing a checkpoint", step: 3)
      // Longer than a silence is borne; nothing polls but the thread that looks now and then.
      if engine.rank == 1 { usleep(1_500_000) }
      try engine.barrier().wait()
      return engine.progress
    }
    #expect(results == [.cooperative, .cooperative])
    #expect(!notices.all.contains { $0.contains(" has given no sign of life for ") })
  }
}
