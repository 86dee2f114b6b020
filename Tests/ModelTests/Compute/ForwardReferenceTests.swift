import Foundation
import Model
import TestSupport
import Testing

/// `tiny_forward.json`, as far as the encoder and the pooler go.
struct ForwardFile: Decodable {
  struct Input: Decodable {
    let ids: [Int32], segments: [Int32]

    var sequence: SequenceInput { SequenceInput(ids: ids, segments: segments, exampleID: 0) }
  }

  struct Detail: Decodable {
    let input: Int, layers: [Numbers]
  }

  struct Exact: Decodable {
    let detail: Detail, last_hidden: [Numbers], pooled: [Numbers]
  }

  struct Rows: Decodable {
    let values: [[Numbers]]
  }

  struct Tanh: Decodable {
    let last_hidden_rows: Rows, pooled: [Numbers]
  }

  struct Rounded: Decodable {
    let cls_rows: [Numbers], pooled: [Numbers]
  }

  let inputs: [Input]
  let gelu_erf: Exact
  let gelu_tanh: Tanh
  let rounded_weights: [String: RoundedOrText]

  enum RoundedOrText: Decodable {
    case rounded(Rounded), text

    init(from decoder: any Decoder) throws {
      self = (try? Rounded(from: decoder)).map { .rounded($0) } ?? .text
    }
  }
}

func largestDifference(_ a: some Sequence<Float>, _ b: some Sequence<Double>) -> Double {
  zip(a, b).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
}

@Suite struct ForwardReferenceTests {
  static let pooler = Head(outputs: 2, loss: .softmax, usesPooler: true, dropout: 0)

  @Test(arguments: ["tiny_tf", "tiny_hf"])
  func `every layer is the reference's`(folder: String) throws {
    let file = try Fixtures.json("tiny_forward.json", as: ForwardFile.self)
    let model = try TinyModel(folder, head: Self.pooler)
    let inputs = file.inputs.map(\.sequence)
    for (layer, expected) in file.gelu_erf.detail.layers.enumerated() {
      let hidden = model.engine.hiddenStates(
        of: [inputs[file.gelu_erf.detail.input]], layer: layer, parameters: model.parameters)
      #expect(hidden[0].count == expected.values.count)
      #expect(largestDifference(hidden[0], expected.values) < 2e-5, "layer \(layer)")
    }
    let last = model.engine.hiddenStates(of: inputs, parameters: model.parameters)
    for (row, expected) in zip(last, file.gelu_erf.last_hidden) {
      #expect(row.count == expected.values.count)
      #expect(largestDifference(row, expected.values) < 2e-5)
    }
    let pooled = model.engine.pooled(of: inputs, parameters: model.parameters)
    for (row, expected) in zip(pooled, file.gelu_erf.pooled) {
      #expect(largestDifference(row, expected.values) < 2e-5)
    }
  }

  @Test func `the tanh form of GELU is told apart from the erf form`() throws {
    let file = try Fixtures.json("tiny_forward.json", as: ForwardFile.self)
    let model = try TinyModel(head: Self.pooler) { $0.activation = .geluTanh }
    let inputs = file.inputs.map(\.sequence)
    let last = model.engine.hiddenStates(of: inputs, parameters: model.parameters)
    for (row, expected) in zip(last, file.gelu_tanh.last_hidden_rows.values) {
      let ends = row.prefix(32) + row.suffix(32)
      #expect(largestDifference(ends, expected.flatMap(\.values)) < 2e-5)
    }
    let pooled = model.engine.pooled(of: inputs, parameters: model.parameters)
    for (row, expected) in zip(pooled, file.gelu_tanh.pooled) {
      #expect(largestDifference(row, expected.values) < 2e-5)
    }
  }

  @Test(arguments: ["fp16", "bf16"])
  func `weights in sixteen bits give the outputs of the widened numbers`(kind: String) throws {
    let file = try Fixtures.json("tiny_forward.json", as: ForwardFile.self)
    guard case .rounded(let expected)? = file.rounded_weights[kind] else {
      Issue.record("no record for \(kind)")
      return
    }
    let model = try TinyModel("tiny_hf_\(kind)", head: Self.pooler)
    let pooled = model.engine.pooled(of: file.inputs.map(\.sequence), parameters: model.parameters)
    for (row, values) in zip(pooled, expected.pooled) {
      #expect(largestDifference(row, values.values) < 2e-5)
    }
  }
}

/// The real MiniLM weights; enabled when `scripts/fetch-data minilm` has fetched them.
@Suite(.enabled(if: Fixtures.miniLM != nil, "scripts/fetch-data minilm fetches the weights"))
struct MiniLMReferenceTests {
  struct File: Decodable {
    struct Input: Decodable {
      let ids: [Int32], segments: [Int32]
    }

    struct Row: Decodable {
      let input: Int, token: Int, values: [Double]
    }

    struct Gradient: Decodable {
      let norm: Double, offset: Int?, values: [Double]
    }

    struct Record: Decodable {
      let loss: Double, grad_norm_all: Double
      let gradients: [String: Gradient], zero_gradients: [String]
    }

    struct Exact: Decodable {
      let hidden_rows: [Row], cls_vector: Record, pooler: Record
    }

    let inputs: [Input], labels: [Int], gelu_erf: Exact
  }

  @Test(arguments: [false, true])
  func `hidden rows, loss and every gradient are the reference's`(usesPooler: Bool) throws {
    let file = try Fixtures.json("minilm_real.json", as: File.self)
    let folder = try #require(Fixtures.miniLM)
    let model = try ModelFolder.open(folder, dialect: .huggingface)
    let head = Head(outputs: 2, loss: .softmax, usesPooler: usesPooler, dropout: 0)
    let engine = Engine(
      configuration: model.configuration, head: head, pool: ThreadPool(threads: 2))
    let parameters = Arena(count: engine.table.count), gradient = Arena(count: engine.table.count)
    try model.load(into: parameters, table: engine.table)
    let classifier = try #require(engine.table["classifier.weight"])
    for j in 0..<2 {
      for i in 0..<384 {
        parameters[classifier.range][384 * j + i] = Float(0.02 * sin(Double(i + 1 + 384 * j)))
      }
    }
    let sequences = file.inputs.enumerated().map { i, input in
      SequenceInput(
        ids: input.ids, segments: input.segments, exampleID: UInt64(i),
        target: [Float(file.labels[i])])
    }
    let hidden = engine.hiddenStates(of: sequences, parameters: parameters)
    for row in file.gelu_erf.hidden_rows {
      let values = hidden[row.input][row.token * 384..<row.token * 384 + row.values.count]
      #expect(largestDifference(values, row.values) < 3e-5)
    }
    let record = usesPooler ? file.gelu_erf.pooler : file.gelu_erf.cls_vector
    let loss = engine.gradient(
      of: PackedBatch(leaves: [[sequences[0]], [sequences[1]]]), parameters: parameters,
      into: gradient, randomness: nil)
    #expect(abs(loss.numerator / 2 / record.loss - 1) < 1e-5)
    var checked = 0
    for parameter in engine.table.parameters {
      let name = parameter.name.replacing("bert.", with: "", maxReplacements: 1)
      let norm =
        gradient[parameter.range].reduce(0) { $0 + Double($1) * Double($1) }.squareRoot() / 2
      if record.zero_gradients.contains(name) {
        #expect(norm / record.grad_norm_all < 1e-5)
        continue
      }
      guard let expected = record.gradients[name], let offset = expected.offset else { continue }
      checked += 1
      #expect(abs(norm / expected.norm - 1) < 1e-4, "norm of \(name)")
      for (x, y) in zip(gradient[parameter.range].dropFirst(offset), expected.values) {
        #expect(abs(Double(x) / 2 - y) < 1e-4 * expected.norm, "\(name)")
      }
    }
    #expect(checked >= 95, "only \(checked) tensors were compared")
  }
}
