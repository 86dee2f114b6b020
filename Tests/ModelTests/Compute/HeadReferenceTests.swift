import Foundation
import Model
import TestSupport
import Testing

/// Loss and every gradient of the [CLS] heads against float64 numbers of another implementation.
@Suite struct HeadReferenceTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var record: String
    var head: Head
    /// The classifier's names in the record, and whether its kernel is `[in, out]`.
    var weight = "output_weights", bias = "output_bias", transposed = false
    var tolerance = 5e-5
    var testDescription: String { record }
  }

  static func sentiment(_ name: String, _ loss: Head.Loss, tolerance: Double = 5e-5) -> Case {
    Case(
      record: "sentiment_\(name)",
      head: Head(outputs: 1, loss: loss, usesPooler: false, dropout: 0), weight: "dense/kernel",
      bias: "dense/bias", transposed: true, tolerance: tolerance)
  }

  static let cases = [
    sentiment("seed_clip", .sigmoidClipped),
    sentiment("seed_exact", .sigmoid),
    sentiment("saturated_clip", .sigmoidClipped, tolerance: 1e-3),
    sentiment("saturated_exact", .sigmoid, tolerance: 1e-3),
    Case(
      record: "pooled_softmax",
      head: Head(outputs: 3, loss: .softmax, usesPooler: true, dropout: 0)),
    Case(
      record: "pooled_multilabel",
      head: Head(outputs: 4, loss: .sigmoid, usesPooler: true, dropout: 0)),
    Case(
      record: "pooled_regression",
      head: Head(outputs: 1, loss: .squaredError, usesPooler: true, dropout: 0)),
  ]

  @Test(arguments: cases, ["tiny_tf", "tiny_hf"])
  func `loss and gradients are the reference's on any number of leaves`(
    _ c: Case, folder: String
  ) throws {
    let file = try Fixtures.json("tiny_heads.json", as: HeadsFile.self)
    let record = try #require(file.records[c.record])
    let model = try TinyModel(folder, head: c.head)
    let tensors = [
      "classifier.weight": RecordedTensor(name: c.weight, isTransposed: c.transposed),
      "classifier.bias": RecordedTensor(name: c.bias),
    ]
    try record.setHead(of: model, tensors)
    let width = c.head.loss == .softmax ? 1 : c.head.outputs

    for leaves in [1, 2, 8] {
      let batch = file.packed(
        try #require(record.labels).floats, width: width, leaves: leaves)
      let gradient = Arena(count: model.engine.table.count)
      let loss = model.engine.gradient(
        of: batch, parameters: model.parameters, into: gradient, randomness: nil)
      let expected = (record.loss_with_float32_clip_bounds ?? record.loss) * record.divisor
      #expect(abs(loss.numerator / expected - 1) < 1e-5, "\(leaves) leaves")
      record.check(
        gradient, model.engine.table, head: tensors, tolerance: c.tolerance, c.record)
    }
  }

  @Test func `every number of a gradient is the reference's`() throws {
    let c = try #require(Self.cases.first { $0.record == "sentiment_seed_clip" })
    let file = try Fixtures.json("tiny_heads.json", as: HeadsFile.self)
    let record = try #require(file.records[c.record])
    let whole = try Safetensors(Fixtures.url("tiny_sentiment_grads.safetensors"))
    let model = try TinyModel(head: c.head)
    try record.setHead(
      of: model,
      [
        "classifier.weight": RecordedTensor(name: c.weight, isTransposed: true),
        "classifier.bias": RecordedTensor(name: c.bias),
      ])
    let gradient = Arena(count: model.engine.table.count)
    _ = model.engine.gradient(
      of: file.packed(try #require(record.labels).floats, width: 1, leaves: 2),
      parameters: model.parameters, into: gradient, randomness: nil)
    // One column: transposed or not, the numbers stand alike.
    let heads = ["classifier.weight": "head.dense.kernel", "classifier.bias": "head.dense.bias"]
    var compared: Set<String> = []
    for parameter in model.engine.table.parameters {
      let name = heads[parameter.name] ?? parameter.name
      let values = gradient[parameter.range].map { $0 / Float(record.divisor) }
      let expected = try whole.floats(name)
      #expect(expected.count == values.count, "\(name)")
      compared.insert(name)
      let norm = values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      if let (place, _) = TensorNames.tensorFlow(canonical: parameter.name),
        record.zero_gradients.contains(place)
      {
        #expect(norm / record.grad_norm_all < 1e-5, "\(name) should have no gradient")
      } else {
        #expect(relativeDistance(values, expected.map(Double.init)) < 5e-5, "\(name)")
      }
    }
    #expect(compared == Set(whole.tensors.map(\.name)))
  }
}
