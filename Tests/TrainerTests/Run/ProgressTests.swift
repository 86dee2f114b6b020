import Foundation
import TestSupport
import Testing
import Trainer

@Suite struct ProgressTests {
  @Test func `a line has fixed keys in fixed order`() {
    var text = ""
    let progress = Progress(firstStep: 0, totalSteps: 10, isTerminal: false) { text += $0 }
    progress.step(1, loss: 0.5, learningRate: 1.83e-5, norm: 2.41, tokens: 100, isLast: false)
    progress.step(2, loss: 0.25, learningRate: 1e-5, norm: 1, tokens: 100, isLast: false)
    progress.step(10, loss: 0.75, learningRate: 0, norm: 1, tokens: 100, isLast: true)
    let lines = text.split(separator: "\n")
    // The second is too soon after the first; the last is shown in any case, with the mean since.
    #expect(lines.count == 2)
    #expect(lines[0].hasPrefix("step 1/10  loss 0.5000  lr 1.83e-05  norm 2.41  tokens/s "))
    #expect(lines[0].contains("  left "))
    #expect(lines[1].hasPrefix("step 10/10  loss 0.5000  lr 0.00e+00  norm 1.00  tokens/s "))
  }

  @Test(arguments: [(0.2, "1s"), (45, "45s"), (192, "3m12s"), (7500, "2h05m"), (-1, "0s")])
  func `durations are short`(seconds: Double, text: String) {
    #expect(Progress.duration(seconds) == text)
  }

  @Test func `a log keeps what is before the step, and nothing that was cut off`() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let file = folder.url.appending(path: "metrics.jsonl")
    let log = try MetricsLog(file, keepingThrough: 0)
    for step in 1...3 {
      try log.write([("step", .integer(step)), ("loss", .number(.nan)), ("name", .text("a\"\n"))])
    }
    let before = try String(contentsOf: file, encoding: .utf8)
    #expect(before.hasPrefix("{\"step\":1,\"loss\":null,\"name\":\"a\\\"\\n\"}\n"))
    try Data((before + "{\"step\":4").utf8).write(to: file)
    _ = try MetricsLog(file, keepingThrough: 2)
    let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
    #expect(lines.count == 2)
    #expect(lines[1].hasPrefix("{\"step\":2,"))
  }
}
