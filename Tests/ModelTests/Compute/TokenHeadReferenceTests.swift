import Foundation
import Model
import TestSupport
import Testing

/// Loss and every gradient of heads over tokens against float64 numbers of another implementation.
@Suite struct TokenHeadReferenceTests {
  /// Compares the head of `record` on several numbers of leaves; `targets` makes each example's target.
  static func check(
    _ name: String, _ head: Head, _ tensors: [String: RecordedTensor],
    targets: (HeadsFile, HeadRecord) throws -> [[Float]]
  ) throws {
    let file = try Fixtures.json("tiny_heads.json", as: HeadsFile.self)
    let record = try #require(file.records[name])
    let model = try TinyModel("tiny_hf", head: head)
    try record.setHead(of: model, tensors)
    let targets = try targets(file, record)
    for leaves in [1, 2, 8] {
      let batch = file.packed(targets, leaves: leaves)
      let gradient = Arena(count: model.engine.table.count)
      let loss = model.engine.gradient(
        of: batch, parameters: model.parameters, into: gradient, randomness: nil)
      #expect(batch.sequences.reduce(0) { $0 + head.terms(of: $1) } == Int(record.divisor))
      #expect(abs(loss.numerator / record.divisor / record.loss - 1) < 1e-5, "\(leaves) leaves")
      record.check(gradient, model.engine.table, head: tensors, "\(name), \(leaves) leaves")
    }
    // Inference computes the same loss, example by example.
    let examples = file.packed(targets, leaves: 1).sequences
    let outputs = model.engine.outputs(of: examples, parameters: model.parameters)
    let sum = outputs.reduce(0) { $0 + ($1.loss ?? .nan) }
    #expect(abs(sum / record.divisor / record.loss - 1) < 1e-5)
  }

  static let classifier = [
    "classifier.weight": RecordedTensor(name: "dense/kernel", isTransposed: true),
    "classifier.bias": RecordedTensor(name: "dense/bias"),
  ]

  @Test func `a softmax over the labels of each token`() throws {
    try Self.check(
      "token_softmax", Head(.tokens, outputs: 5, loss: .softmax, dropout: 0), Self.classifier
    ) { file, record in
      // -100 is how PyTorch says that a token has no label.
      var labels = try #require(record.labels).floats.map { $0 < 0 ? -1 : $0 }[...]
      return file.batch.map { input in
        defer { labels = labels.dropFirst(input.ids.count) }
        return Array(labels.prefix(input.ids.count))
      }
    }
  }
}
