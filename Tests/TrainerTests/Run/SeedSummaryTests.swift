import Foundation
import TestSupport
import Testing
import Trainer

@Suite struct SeedSummaryTests {
  @Test func `mean, deviation and interval are Student's`() throws {
    let summary = SeedSummary(
      seeds: [1, 2, 3], split: "test",
      scores: [["f1": 1, "x": 1], ["f1": 2], ["f1": 3, "x": 2]])
    #expect(summary.metrics.map(\.name) == ["f1"])
    let f1 = summary.metrics[0]
    #expect(f1.mean == 2 && f1.deviation == 1)
    // t(0.975, 2) / √3
    #expect(abs((f1.halfInterval ?? 0) - 4.303 / 3.0.squareRoot()) < 1e-12)
    #expect(
      summary.text
        == "test f1         mean 2.0000 ± 2.4843 (95 %), deviation 1.0000, of 1.0000 2.0000 3.0000")
    let one = SeedSummary(seeds: [7], split: "dev", scores: [["loss": 0.5]])
    #expect(one.metrics[0].halfInterval == nil)
  }

  @Test func `a run's scores are those of its test rows, else of its best model`() throws {
    let folder = try TemporaryFolder()
    func scores(_ log: String) throws -> (split: String, scores: [String: Double]) {
      try Data(log.utf8).write(to: folder.url.appending(path: "metrics.jsonl"))
      return try SeedSummary.scores(ofRun: folder.url, metric: "f1")
    }
    let steps = "{\"step\":1,\"loss\":3,\"digest\":\"00\"}\n"
    let dev = "{\"step\":1,\"epoch\":1,\"split\":\"dev\",\"f1\":0.5,\"rows\":2,\"seconds\":1}\n"
    let test = "{\"step\":1,\"epoch\":1,\"split\":\"test\",\"f1\":0.4,\"rows\":2,\"seconds\":1}\n"
    let found = try scores(steps + test + dev)
    #expect(found.split == "test" && found.scores == ["f1": 0.4])
    #expect(try scores(steps + dev).scores == ["f1": 0.5])
    func later(_ f1: Double, loss: Double) -> String {
      "{\"step\":2,\"epoch\":2,\"split\":\"dev\",\"f1\":\(f1),\"loss\":\(loss),\"rows\":2,\"seconds\":1}\n"
    }
    let falling = steps + later(0.5, loss: 3) + later(0.7, loss: 2) + later(0.7, loss: 1)
    #expect(try scores(falling + later(0.6, loss: 0)).scores == ["f1": 0.7, "loss": 2])
    #expect(throws: RunError.self) { _ = try scores(steps) }
  }
}
