import Foundation
import Model

/// What several runs that differ in their seed alone reached: mean, deviation and the interval in which the mean lies.
package struct SeedSummary: Sendable, Equatable, Codable {
  package struct Metric: Sendable, Equatable, Codable {
    package var name: String
    /// By seed, in order.
    package var values: [Double]
    package var mean: Double
    /// The sample's standard deviation (n − 1); 0 for one run.
    package var deviation: Double
    /// Half the width of the 95 % interval of the mean, by Student's t; nil for one run.
    package var halfInterval: Double?
  }

  package var seeds: [UInt64]
  /// `test`, or `dev` where there are no test rows: of the best model.
  package var split: String
  package var metrics: [Metric]

  /// The 0.975 quantile of Student's t for 1 to 30 degrees of freedom; 1.96 beyond.
  private static let quantiles = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
  ]

  /// Summarises `scores`, one for each seed; metrics that a run lacks are left out.
  package init(seeds: [UInt64], split: String, scores: [[String: Double]]) {
    precondition(seeds.count == scores.count, "\(scores.count) scores of \(seeds.count) seeds")
    self.seeds = seeds
    self.split = split
    let names = Set(scores.first?.keys.map { $0 } ?? []).sorted()
    metrics = names.compactMap { name in
      let values = scores.compactMap { $0[name] }
      return values.count == seeds.count ? Self.metric(name, values) : nil
    }
  }

  private static func metric(_ name: String, _ values: [Double]) -> Metric {
    let n = Double(values.count), mean = values.reduce(0, +) / n
    guard values.count > 1 else {
      return Metric(name: name, values: values, mean: mean, deviation: 0, halfInterval: nil)
    }
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    let deviation = (squares / (n - 1)).squareRoot()
    let t = values.count - 1 <= quantiles.count ? quantiles[values.count - 2] : 1.96
    return Metric(
      name: name, values: values, mean: mean, deviation: deviation,
      halfInterval: t * deviation / n.squareRoot())
  }

  /// A line a metric.
  package var text: String {
    let lines = metrics.map { metric in
      let interval = metric.halfInterval.map { " ± \(Progress.fixed($0, 4)) (95 %)" } ?? ""
      return
        "\(split) \(metric.name.padded(to: 10)) mean \(Progress.fixed(metric.mean, 4))\(interval), deviation \(Progress.fixed(metric.deviation, 4)), of \(metric.values.map { Progress.fixed($0, 4) }.joined(separator: " "))"
    }
    return lines.joined(separator: "\n")
  }

  /// Writes it to `url`.
  package func write(to url: URL) throws {
    let file = try DurableFile(url)
    try file.write([UInt8](StrictJSON.encode(self)))
    try file.commit()
  }
}

extension SeedSummary {
  /// What the finished run in `run` reached: its scores on the test rows, or those of its best model, chosen by `metric`, on the dev rows.
  package static func scores(
    ofRun run: URL, metric: String
  ) throws -> (split: String, scores: [String: Double]) {
    struct Line: Decodable {
      var values: [String: Double] = [:]
      var split: String?
      struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
      }
      init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        split = try container.decodeIfPresent(String.self, forKey: Key(stringValue: "split"))
        for key in container.allKeys {
          values[key.stringValue] = try? container.decode(Double.self, forKey: key)
        }
      }
    }
    let log = try InputFile.contents(of: try RunDirectory(run, resumes: true).metrics)
    let lines = log.split(separator: 0x0A).compactMap {
      try? JSONDecoder().decode(Line.self, from: Data($0))
    }.filter { $0.split != nil }
    // The first of equals, as the run itself keeps it; while no evaluation defines the metric, the first model.
    var best: Line?
    for line in lines where line.split == "dev" {
      guard let value = line.values[metric] else { continue }
      if let known = best?.values[metric], !Evaluation.isBetter(value, than: known, metric: metric)
      {
        continue
      }
      best = line
    }
    guard let found = lines.last(where: { $0.split == "test" }) ?? best ?? lines.last else {
      throw RunError(
        .usage,
        "\(run.path) has no evaluation. Give data.dev or data.test, which seeds are compared by.")
    }
    let scores = found.values.filter { !["step", "epoch", "rows", "seconds"].contains($0.key) }
    return (found.split ?? "", scores)
  }
}
