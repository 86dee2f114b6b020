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
    let weight = try #require(record.head_init[c.weight]).floats
    model.set(
      "classifier.weight",
      c.transposed
        ? tensorFlowLayout(weight, shape: [32, c.head.outputs], transposed: true) : weight)
    model.set("classifier.bias", try #require(record.head_init[c.bias]).floats)
    let width = c.head.loss == .softmax ? 1 : c.head.outputs

    for leaves in [1, 2, 8] {
      let batch = file.packed(record.labels.floats, width: width, leaves: leaves)
      let gradient = Arena(count: model.engine.table.count)
      let loss = model.engine.gradient(
        of: batch, parameters: model.parameters, into: gradient, randomness: nil)
      let expected = (record.loss_with_float32_clip_bounds ?? record.loss) * record.denominator
      #expect(abs(loss.numerator / expected - 1) < 1e-5, "\(leaves) leaves")
      check(gradient, model.engine.table, record, c)
    }
  }

  private func check(
    _ gradient: Arena, _ table: ParameterTable, _ record: HeadRecord, _ c: Case
  ) {
    var checked = 0
    for parameter in table.parameters {
      // The reference's gradient is that of the mean; ours is that of the sum.
      let values = gradient[parameter.range].map { $0 / Float(record.denominator) }
      if parameter.name.hasPrefix("classifier") {
        let isWeight = parameter.name.hasSuffix("weight")
        let expected = record.head_grads[isWeight ? c.weight : c.bias]?.values ?? []
        #expect(values.count == expected.count)
        let distance = relativeDistance(values, expected)
        #expect(distance < c.tolerance, "\(c.record) \(parameter.name)")
        continue
      }
      guard let (name, transposed) = TensorNames.tensorFlow(canonical: parameter.name) else {
        Issue.record("no TensorFlow name for \(parameter.name)")
        continue
      }
      let norm = values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      if record.zero_gradients.contains(name) {
        #expect(norm / record.grad_norm_all < 1e-5, "\(name) should have no gradient")
        continue
      }
      guard let expected = record.encoder_grads[name] else {
        #expect(norm == 0, "\(name) is not in the reference")
        continue
      }
      checked += 1
      #expect(abs(norm / expected.norm - 1) < c.tolerance, "\(c.record) norm of \(name)")
      let part = tensorFlowLayout(values, shape: parameter.shape, transposed: transposed)[
        expected.offset..<expected.offset + expected.values.count]
      for (x, y) in zip(part, expected.values) {
        #expect(abs(Double(x) - y) < c.tolerance * expected.norm, "\(c.record) \(name)")
      }
    }
    #expect(checked >= 35, "only \(checked) encoder tensors were compared")
  }
}
