import Testing

import Trainer

@Suite struct SlowRankTests {
  @Test func `a rank that computes half as fast is named once, with its time and the others'`() {
    var detector = SlowRankDetector(ranks: 3)
    let work = [3.0, 3, 2]
    var findings: [SlowRankDetector.Finding] = []
    for _ in 0..<40 {
      if let finding = detector.observe([0.3, 0.3, 0.6], work: work) { findings.append(finding) }
    }
    #expect(findings.map(\.rank) == [2])
    #expect(abs(findings[0].seconds - 0.6) < 1e-9 && abs(findings[0].expected - 0.3) < 1e-9)
    // Well again, and slow again: said again.
    for _ in 0..<20 { #expect(detector.observe([0.3, 0.3, 0.2], work: work) == nil) }
    let again = (0..<20).compactMap { _ in detector.observe([0.3, 0.3, 0.6], work: work) }
    #expect(again.count == 1)
  }

  @Test func `more work, single slow steps and few steps are no slow rank`() {
    var detector = SlowRankDetector(ranks: 2)
    for step in 0..<60 {
      #expect(detector.observe([0.2, step % 16 == 3 ? 5 : 0.1], work: [2, 1]) == nil)
    }
    var short = SlowRankDetector(ranks: 2)
    for _ in 0..<SlowRankDetector.window - 1 {
      #expect(short.observe([1, 9], work: [1, 1]) == nil)
    }
    #expect(short.observe([1, 9], work: [1, 1])?.rank == 1)
  }

  @Test func `a rank without sequences, or with one where others have a short one, is not slow`() {
    var idle = SlowRankDetector(ranks: 2)
    for _ in 0..<40 { #expect(idle.observe([0.3, 0.001], work: [100, 0]) == nil) }
    // A step has costs that a short sequence has as well.
    var uneven = SlowRankDetector(ranks: 3)
    for _ in 0..<40 {
      #expect(uneven.observe([0.5, 0.15, 0.12], work: [100, 30, 20]) == nil)
      #expect(uneven.observe([0.12, 0.11, 0.1], work: [100, 30, 20]) == nil)
    }
    // Much work done slowly is found all the same.
    var slow = SlowRankDetector(ranks: 3)
    let found = (0..<40).compactMap { _ in slow.observe([0.5, 0.1, 0.1], work: [100, 50, 50]) }
    #expect(found.map(\.rank) == [0] && abs(found[0].expected - 0.2) < 1e-9)
  }

  @Test func `the hidden share counts overlapping spans once and no more than backward could hide`()
  {
    let trace = ExchangeTrace(
      spans: [(1, 2), (1.5, 3), (4, 6)].map { (start: $0.0, end: $0.1) }, first: 1, backwardEnd: 5)
    #expect(trace.busy == 4 && trace.hidden == 3 && trace.hideable == 4)
    #expect(trace.share == 0.75)
    // Exchange longer than backward: all of backward is the most that can be hidden.
    let long = ExchangeTrace(spans: [(start: 1, end: 9)], first: 1, backwardEnd: 3)
    #expect(long.hidden == 2 && long.hideable == 2 && long.share == 1)
    #expect(ExchangeTrace(spans: [], first: 0, backwardEnd: 1).share == 1)
  }
}
