import Foundation
import Model
import TestSupport
import Testing

/// What tokens become that know a subject, against the same in double precision.
///
/// The products of the last layer's two sublayers are zero here, so that the sum in front of its norm is known from the layer below:
/// `z = LN₁(h + a) + b`, with `a`, `b` their biases.
@Suite struct SubjectConditionTests {
  static let layer = "bert.encoder.layer.1", hidden = 32, predicates = 3

  private struct Oracle {
    let engine: Engine, parameters: Arena

    func vector(_ name: String) throws -> [Double] {
      parameters[try #require(engine.table[name]).range].map(Double.init)
    }

    /// Rows of `z`, from the output of the layer below.
    func sums(_ below: [Float]) throws -> [[Double]] {
      let a = try vector("\(layer).attention.output.dense.bias")
      let b = try vector("\(layer).output.dense.bias")
      let gamma = try vector("\(layer).attention.output.LayerNorm.weight")
      let beta = try vector("\(layer).attention.output.LayerNorm.bias")
      return rows(below).map { row in
        let normal = normalized(zip(row, a).map { $0 + $1 })
        return (0..<hidden).map { gamma[$0] * normal[$0] + beta[$0] + b[$0] }
      }
    }

    func rows(_ values: [Float]) -> [[Double]] {
      stride(from: 0, to: values.count, by: hidden).map { start in
        values[start..<start + hidden].map(Double.init)
      }
    }

    func normalized(_ row: [Double]) -> [Double] {
      let mean = row.reduce(0, +) / Double(row.count)
      let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(row.count)
      return row.map {
        ($0 - mean) / (variance + Double(engine.configuration.layerNormEpsilon)).squareRoot()
      }
    }

    /// σ of the objects' outputs `[S, 2C]` where `t` know the subject `span`.
    func objects(_ t: [[Double]], _ span: HeadSpan) throws -> [Double] {
      let c = t[span.start] + t[span.end]
      func condition(_ weight: String, _ bias: String) throws -> [Double] {
        let w = try vector(weight), base = try vector(bias)
        return (0..<hidden).map { i in
          c.indices.reduce(base[i]) { $0 + w[i * c.count + $1] * c[$1] }
        }
      }
      let gain = try condition("condition.gamma.weight", "condition.LayerNorm.weight")
      let shift = try condition("condition.beta.weight", "condition.LayerNorm.bias")
      let weight = try vector("object.weight"), bias = try vector("object.bias")
      return t.flatMap { row in
        let x = normalized(row)
        return bias.indices.map { output in
          let logit = (0..<hidden).reduce(bias[output]) {
            $0 + weight[output * hidden + $1] * (gain[$1] * x[$1] + shift[$1])
          }
          return 1 / (1 + exp(-logit))
        }
      }
    }
  }

  private func oracle(_ conditioning: Head.Conditioning) throws -> Oracle {
    let (engine, parameters) = GradientLawTests.model(
      hidden: Self.hidden, threads: 2,
      head: HeadGradientTests.relation(conditioning, .sigmoid).head)
    for part in ["attention.output", "output"] {
      for i in try #require(engine.table["\(Self.layer).\(part).dense.weight"]).range {
        parameters.base[i] = 0
      }
    }
    // A norm that is far from doing nothing, so that its output is not what it reads.
    let gamma = try #require(engine.table["\(Self.layer).output.LayerNorm.weight"]).range
    for (number, i) in gamma.enumerated() { parameters.base[i] = 0.3 + 0.1 * Float(number % 9) }
    return Oracle(engine: engine, parameters: parameters)
  }

  static let sequences = GradientLawTests.sequences([7, 19, 12]).map {
    SequenceInput(ids: $0.ids, segments: $0.segments, exampleID: $0.exampleID, target: [])
  }
  static let spans = [
    [HeadSpan(start: 1, end: 2, score: 1), HeadSpan(start: 4, end: 4, score: 1)],
    [HeadSpan(start: 9, end: 17, score: 1)], [],
  ]

  @Test(arguments: [Head.Conditioning.layerNorm, .preNorm])
  func `objects are read from tokens whose norm the subject sets`(
    conditioning: Head.Conditioning
  ) throws {
    let oracle = try oracle(conditioning), engine = oracle.engine
    let found = engine.outputs(
      of: Self.sequences, parameters: oracle.parameters, as: .objectScores(of: Self.spans))
    let below = engine.hiddenStates(of: Self.sequences, layer: 1, parameters: oracle.parameters)
    let outputs = engine.hiddenStates(of: Self.sequences, parameters: oracle.parameters)
    for (number, spans) in Self.spans.enumerated() {
      let t =
        conditioning == .preNorm
        ? try oracle.sums(below[number]) : oracle.rows(outputs[number])
      let expected = try spans.flatMap { try oracle.objects(t, $0) }
      #expect(found[number].values.count == expected.count)
      for (value, expected) in zip(found[number].values, expected) {
        #expect(abs(Double(value) - expected) < 2e-6, "example \(number)")
      }
    }
  }

  @Test func `the last layer's own norm changes subjects and no objects of pre-norm`() throws {
    let oracle = try oracle(.preNorm), engine = oracle.engine
    func scores() -> (subjects: [[Float]], objects: [[Float]]) {
      func values(_ form: Engine.OutputForm) -> [[Float]] {
        engine.outputs(of: Self.sequences, parameters: oracle.parameters, as: form).map(\.values)
      }
      return (values(.scores), values(.objectScores(of: Self.spans)))
    }
    let before = scores()
    let gamma = try #require(engine.table["\(Self.layer).output.LayerNorm.weight"]).range
    for i in gamma { oracle.parameters.base[i] *= -1 }
    let after = scores()
    #expect(after.objects == before.objects)
    #expect(after.subjects != before.subjects)
  }
}
