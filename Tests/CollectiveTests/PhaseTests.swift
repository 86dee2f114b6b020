import Collective
import Testing

/// When a rank that others wait for is slow and when it stands still, in times that are given and not lived through.
@Suite struct PhaseTests {
  /// Rank 0 is in a long phase from second 0 and says at `progress` that it gets on; rank 1 waits from second 1.
  ///
  /// What rank 0 concludes each second until it ends the run, up to second 600.
  private func verdicts(progress: [Double]) -> (notices: [String], stall: String?, second: Int) {
    var table = PhaseTable(ranks: 2, now: 0)
    var phase = Phase(now: 0)
    phase.enter("writing a checkpoint", step: 120, now: 0)
    var other = Phase(now: 0)
    other.enter("writing a checkpoint", step: 120, now: 0)
    _ = other.startWaiting(for: "gather of blobs", now: 1)
    var notices: [String] = []
    for second in 1...600 {
      let now = Double(second)
      if let last = progress.last(where: { $0 <= now }) { phase.advance(now: last) }
      table.note(Heartbeat(phase, now: now), of: 0, now: now)
      table.note(Heartbeat(other, now: now), of: 1, now: now)
      let verdict = table.verdict(judged: [0, 1], now: now, silence: 3, notice: 5, stall: 120)
      notices += verdict.notices
      if let stall = verdict.stall { return (notices, stall, second) }
    }
    return (notices, nil, 600)
  }

  @Test func `a rank that gets on is named and not ended, however long it takes`() {
    let (notices, stall, _) = verdicts(progress: stride(from: 0.0, to: 600, by: 100).map { $0 })
    #expect(stall == nil)
    #expect(
      notices.first
        == "rank 0 is still in writing a checkpoint, step 120, since 7 s; 1 rank waits for it.")
    #expect(
      notices.last
        == "rank 0 is still in writing a checkpoint, step 120, since 448 s, its last progress 48 s ago; 1 rank waits for it."
    )
  }

  @Test
  func `a rank without progress ends the run after the time-out, as one that hangs in computing`() {
    let (_, stall, second) = verdicts(progress: [])
    #expect(second == 122)  // rank 1 waits since second 1, for more than 120 s
    #expect(
      stall
        == "rank 0 is still in writing a checkpoint, step 120, since 122 s; 1 rank waits for it.")
  }

  @Test func `a rank that got on and then stands still ends the run after the time-out`() {
    let (_, stall, second) = verdicts(progress: [50, 150, 200])
    #expect(second == 321)
    #expect(
      stall
        == "rank 0 is still in writing a checkpoint, step 120, since 321 s, its last progress 121 s ago; 1 rank waits for it."
    )
  }

  @Test func `a collective that ended is progress`() {
    var phase = Phase(now: 0)
    phase.enter("reading rows", step: 0, now: 0)
    _ = phase.startWaiting(for: "all-gather of blobs", now: 10)
    phase.stopWaiting(now: 30)
    var other = Phase(now: 0)
    _ = other.startWaiting(for: "all-gather of blobs", now: 0)
    var table = PhaseTable(ranks: 2, now: 0)
    for (second, isStall) in [(149.0, false), (151, true)] {
      table.note(Heartbeat(phase, now: second), of: 0, now: second)
      table.note(Heartbeat(other, now: second), of: 1, now: second)
      let verdict = table.verdict(judged: [0, 1], now: second, silence: 3, notice: 5, stall: 120)
      #expect((verdict.stall != nil) == isStall)
    }
  }

  @Test func `a heartbeat is read as it was written`() throws {
    var phase = Phase(now: 0)
    phase.enter("evaluating", step: 7, now: 3)
    phase.advance(now: 5)
    for waits in [false, true] {
      if waits { _ = phase.startWaiting(for: "barrier", now: 6) }
      let beat = Heartbeat(phase, now: 11)
      #expect(Heartbeat(beat.bytes) == beat)
    }
  }
}
