import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// Ten steps of the 2019 sentiment head on the tiny model, against curves computed in float64.
@Suite struct TrainingCurveTests {
  struct File: Decodable {
    struct Curve: Decodable {
      let lr: [Double], losses: [Double], gradient_norms_before_clipping: [Double]
      let final_norms: [String: Double], final_values: [String: [Double]]
    }

    let batches: [[Int]], labels: [Float], head_init: [String: Numbers], curves: [String: Curve]
  }

  struct Inputs: Decodable {
    struct Input: Decodable {
      let ids: [Int32], segments: [Int32]
    }

    let batch: [Input]
  }

  static let rules: [(curve: String, settings: OptimizerSettings)] = [
    ("keras_adam", OptimizerSettings(.adam)),
    ("hf_adamw_linear_warmup", OptimizerSettings(.adamW, weightDecay: 0.01, clipping: .torch(1))),
    ("google_adam_weight_decay", OptimizerSettings(.adamWeightDecay, clipping: .google(1))),
    ("lamb", OptimizerSettings(.lamb)),
  ]

  @Test(arguments: rules.indices)
  func `ten steps follow the reference curve`(rule: Int) throws {
    let (name, settings) = Self.rules[rule]
    let file = try Fixtures.json("training_curves.json", as: File.self)
    let inputs = try Fixtures.json("tiny_heads.json", as: Inputs.self).batch
    let curve = try #require(file.curves[name])
    let model = try ModelFolder.open(Fixtures.url("tiny_hf"), dialect: .huggingface)
    let pool = ThreadPool(threads: 2)
    let engine = Engine(
      configuration: model.configuration,
      head: Head(outputs: 1, loss: .sigmoidClipped, usesPooler: false, dropout: 0), pool: pool)
    let table = engine.table
    let parameters = Arena(count: table.count), gradient = Arena(count: table.count)
    try model.load(into: parameters, table: table)
    for (tensor, key) in [("classifier.weight", "dense/kernel"), ("classifier.bias", "dense/bias")]
    {
      let values = try #require(file.head_init[key]).floats
      let place = try #require(table[tensor])
      for (i, value) in values.enumerated() { parameters[place.range][i] = value }
    }
    let optimizer = Optimizer(
      settings, table: table,
      trainable: [Bool](repeating: true, count: table.parameters.count), pool: pool)

    for (step, examples) in file.batches.enumerated() {
      let leaves = examples.map { example in
        [
          SequenceInput(
            ids: inputs[example].ids, segments: inputs[example].segments,
            exampleID: UInt64(example), target: [file.labels[example]])
        ]
      }
      let loss = engine.gradient(
        of: PackedBatch(leaves: leaves + [[]]), parameters: parameters, into: gradient,
        randomness: nil)
      let count = Double(examples.count)
      #expect(abs(loss.numerator / count - curve.losses[step]) < 2e-5, "\(name) loss \(step)")
      let norm = try optimizer.update(
        parameters: parameters, gradient: gradient, denominator: count,
        learningRate: curve.lr[step], step: step)
      #expect(
        abs(norm / curve.gradient_norms_before_clipping[step] - 1) < 1e-4, "\(name) norm \(step)")
    }
    try check(parameters, table, curve, name)
  }

  private func check(
    _ parameters: Arena, _ table: ParameterTable, _ curve: File.Curve, _ name: String
  ) throws {
    var compared = 0
    for parameter in table.parameters {
      let known = TensorNames.tensorFlow(canonical: parameter.name)
      let key =
        parameter.name.hasPrefix("classifier")
        ? (parameter.name.hasSuffix("weight") ? "dense/kernel" : "dense/bias")
        : try #require(known).name
      guard let norm = curve.final_norms[key] else { continue }
      compared += 1
      let values = Array(parameters[parameter.range])
      let length = values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(length - norm) < 2e-5 * max(norm, 1), "\(name) norm of \(key)")
      if let expected = curve.final_values[key] {
        let ours = tensorFlowLayout(
          values, shape: parameter.shape, transposed: known?.transposed ?? false)
        for (x, y) in zip(ours, expected) { #expect(abs(Double(x) - y) < 2e-5, "\(name) \(key)") }
      }
    }
    #expect(compared == 37, "compared \(compared) tensors")
  }
}
