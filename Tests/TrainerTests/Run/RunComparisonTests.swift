import Foundation
import Model
import TestSupport
import Testing
import Trainer

private struct LoggedLine: Decodable {
  var step: Int
  var loss: Double?
  var learningRate: Double?
  var leafLosses: [Double]?
}

private func steps(_ run: URL) throws -> [LoggedLine] {
  try Data(contentsOf: run.appending(path: "metrics.jsonl")).split(separator: 0x0A).map {
    try JSONDecoder().decode(LoggedLine.self, from: $0)
  }.filter { $0.leafLosses != nil }
}

/// What a comparison of `a` with `b` that finds a difference says.
private func finding(
  _ a: URL, _ b: URL, observe: ((URL) -> LeafGradientObserver?)? = nil
) throws -> String {
  let error = #expect(throws: RunError.self) {
    try comparison(observe: observe).compare(a, b)
  }
  #expect(error?.status == .disagreement)
  return try #require(error).description
}

@Suite struct RunComparisonTests {
  @Test func `another row in one leaf is named with its step, leaf and first tensor`() throws {
    let task = try MadeUpTask()
    let train = task.url.appending(path: "train.tsv")
    var lines = try String(contentsOf: train, encoding: .utf8).split(separator: "\n").map(
      String.init)
    let place = try #require(lines.lastIndex { $0.contains("movie") })
    lines[place] = lines[place].replacing("movie", with: "film", maxReplacements: 1)
    try task.write(lines.joined(separator: "\n") + "\n", to: "other.tsv")
    let (a, b) = (task.url.appending(path: "a"), task.url.appending(path: "b"))
    try trained(task.recipe, into: a, ["checkpoint.everySteps=1", "checkpoint.keep=20"])
    try trained(task.recipe, into: b, ["data.train=\(task.url.path)/other.tsv"])
    let found = try finding(a, b)
    let prepared = try PreparedRun(Recipe(contentsOf: task.recipe, overrides: []), threads: 1)
    var rows = BatchRows(prepared.batches)
    let step = try #require(
      (0..<prepared.totalSteps).first { rows.rows(ofStep: $0).contains(place - 1) })
    #expect(found.hasPrefix("step \(step + 1): the loss is "), "\(found)")
    let logged = try [a, b].map { try steps($0)[step].leafLosses ?? [] }
    let leaf = try #require(logged[0].indices.first { logged[0][$0] != logged[1][$0] })
    let start = step == 0 ? "its beginning" : "its checkpoint of step \(step)"
    #expect(
      found.contains(
        "Computed again here, \(a.path) from \(start) and \(b.path) from its beginning: "
          + "Leaf \(leaf + 1) of 8 is the first that differs. Its row \(place) reads otherwise. "
          + "Its loss is \(logged[0][leaf]) in \(a.path) and \(logged[1][leaf]) in \(b.path). "),
      "\(found)")
    #expect(
      found.contains(
        "the first in the order of the forward pass is bert.embeddings.word_embeddings.weight; "
          + "the first that the backward pass reaches is classifier.bias. After the update "),
      "\(found)")
    #expect(!found.contains("is not confirmed"), "\(found)")
  }

  @Test
  func `a defect in one tensor of one leaf's gradient is named though all losses are the same`()
    throws
  {
    let task = try MadeUpTask()
    let (a, b) = (task.url.appending(path: "a"), task.url.appending(path: "b"))
    try trained(task.recipe, into: a, ["checkpoint.everySteps=3", "checkpoint.keep=9"])
    try FileManager.default.copyItem(at: a, to: b)
    try changeLog(b, step: 8) { line in
      line.replacing("\"gradientNorm\":", with: "\"gradientNorm\":1")
        .replacing("\"digest\":\"", with: "\"digest\":\"0")
    }
    let tensor = "bert.encoder.layer.1.output.dense.weight"
    let found = try finding(a, b) { run in
      guard run == b else { return nil }
      return { step, leaf, gradient, table in
        guard step == 8, leaf == 2, let place = table[tensor]?.range.lowerBound else {
          return
        }
        gradient.base[place + 5] += 1
      }
    }
    #expect(found.hasPrefix("step 8: the gradient norm is "), "\(found)")
    #expect(
      found.contains(
        "Computed again here, \(a.path) from its checkpoint of step 6 and \(b.path) from its checkpoint of step 6: "
          + "Leaf 3 of 8 is the first that differs. Its rows are the same. Its loss is the same, "),
      "\(found)")
    #expect(found.contains("In its gradient 1 of "), "\(found)")
    #expect(
      found.contains(" tensors differ, the first in the order of the forward pass is \(tensor). "),
      "\(found)")
    #expect(found.contains("The log of \(b.path) is not confirmed: the gradient norm is "))
    #expect(!found.contains("The log of \(a.path) is not"))
  }

  @Test func `what a machine did wrong once is told from the logs, and labelled so`() throws {
    let task = try MadeUpTask()
    let (a, b) = (task.url.appending(path: "a"), task.url.appending(path: "b"))
    try trained(task.recipe, into: a)
    try FileManager.default.copyItem(at: a, to: b)
    try changeLog(b, step: 4) { line in
      // The second of embeddings, two layers and head.
      line.replacing(/"gradientNorms":\[([^,]*),/) { "\"gradientNorms\":[\($0.output.1),1" }
        .replacing("\"digest\":\"", with: "\"digest\":\"0")
    }
    let logs =
      "By the logs alone: the losses of all 8 leaves are the same; "
      + "the first group of tensors whose gradient's norm differs is layer 0."
    let found = try finding(a, b)
    #expect(found.hasPrefix("step 4: the digest of the parameters is "), "\(found)")
    #expect(
      found.contains(
        "from its beginning: the step is the same in both, leaf by leaf and tensor by tensor. "
          + "The log of \(b.path) is not confirmed: the digest of the parameters is "), "\(found)")
    #expect(found.hasSuffix(logs), "\(found)")
    // And where nothing can be computed.
    try FileManager.default.removeItem(at: task.url.appending(path: "train.tsv"))
    let without = try finding(a, b)
    #expect(without.contains("The step cannot be computed again in \(a.path): "), "\(without)")
    #expect(without.hasSuffix(logs), "\(without)")
  }

  @Test(arguments: [
    ("optimizer.learningRate=1e-3", "optimizer.learningRate", "0.002", "0.001"),
    ("seed=9", "seed", "1", "9"),
  ])
  func `runs of different recipes name the step and the keys`(
    override: String, key: String, here: String, there: String
  ) throws {
    let task = try MadeUpTask()
    let (a, b) = (task.url.appending(path: "a"), task.url.appending(path: "b"))
    try trained(task.recipe, into: a)
    try trained(task.recipe, into: b, [override])
    let logged = try [steps(a), steps(b)]
    let step = try #require(
      zip(logged[0], logged[1]).first {
        $0.learningRate != $1.learningRate || $0.leafLosses != $1.leafLosses
      }?.0.step)
    let found = try finding(a, b)
    #expect(found.hasPrefix("step \(step): the "), "\(found)")
    #expect(
      found.contains(
        "Their recipes differ: \(key) is \(here) in \(a.path) and \(there) in \(b.path). By the logs alone: "
      ), "\(found)")
  }
}
