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
    let mlm_logits: Words, nsp_logits: [Numbers]
  }

  struct Rows: Decodable {
    let values: [[Numbers]]
  }

  struct Tanh: Decodable {
    let last_hidden_rows: Rows, pooled: [Numbers]
    let mlm_logits: Words, nsp_logits: [Numbers]
  }

  /// By input its tokens with the logits of the first words.
  struct Words: Decodable {
    struct Token: Decodable {
      let token: Int, logits: [Double], logsumexp: Double
    }

    let rows: [[Token]]
  }

  struct Variant: Decodable {
    let cls_rows: [Numbers]?
  }

  struct Rounded: Decodable {
    let cls_rows: [Numbers], pooled: [Numbers]
  }

  let inputs: [Input]
  let gelu_erf: Exact
  let gelu_tanh: Tanh
  let variants: [String: Variant]
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

/// Heads of pre-training, and encoders with other constants.
@Suite struct PretrainingOutputTests {
  @Test(arguments: [BertConfiguration.Activation.geluErf, .geluTanh])
  func `the likelihood of every recorded word at a token is the reference's`(
    activation: BertConfiguration.Activation
  ) throws {
    let file = try Fixtures.json("tiny_forward.json", as: ForwardFile.self)
    let expected =
      activation == .geluErf ? file.gelu_erf.mlm_logits.rows : file.gelu_tanh.mlm_logits.rows
    let head = Head(.maskedLanguageModel, outputs: 196, loss: .softmax, dropout: 0)
    let model = try TinyModel(head: head) { $0.activation = activation }
    var examples: [SequenceInput] = [], losses: [Double] = []
    for (input, tokens) in zip(file.inputs, expected) {
      for token in tokens {
        for (word, logit) in token.logits.enumerated() {
          var example = input.sequence
          example.target = [Float](repeating: -1, count: input.ids.count)
          example.target[token.token] = Float(word)
          examples.append(example)
          losses.append(token.logsumexp - logit)
        }
      }
    }
    #expect(losses.count == 5 * 2 * 16)
    let outputs = model.engine.outputs(of: examples, parameters: model.parameters)
    for (output, loss) in zip(outputs, losses) {
      // Two logits of 2e-5 each.
      #expect(abs(try #require(output.loss) - loss) < 4e-5)
    }
  }

  @Test(arguments: [BertConfiguration.Activation.geluErf, .geluTanh])
  func `whether a text follows is scored as in the reference`(
    activation: BertConfiguration.Activation
  ) throws {
    let file = try Fixtures.json("tiny_forward.json", as: ForwardFile.self)
    let expected = activation == .geluErf ? file.gelu_erf.nsp_logits : file.gelu_tanh.nsp_logits
    let model = try TinyModel(head: ForwardReferenceTests.pooler) { $0.activation = activation }
    // The scores of pre-training are a classifier of two classes behind the pooler.
    let weights = try Safetensors(Fixtures.url("tiny_hf/model.safetensors"))
    for part in ["weight", "bias"] {
      model.set("classifier.\(part)", try weights.floats("cls.seq_relationship.\(part)"))
    }
    let outputs = model.engine.outputs(
      of: file.inputs.map(\.sequence), parameters: model.parameters)
    #expect(outputs.count == expected.count)
    for (output, logits) in zip(outputs, expected) {
      #expect(output.values.count == 2 && largestDifference(output.values, logits.values) < 2e-5)
    }
  }

  /// The reference's README: the first is told apart in single precision (1.2e-4), the second is not.
  @Test(arguments: [(Float(1e-5), true), (1e-7, false)])
  func `the epsilon of layer norms is the configuration's`(
    epsilon: Float, isToldApart: Bool
  ) throws {
    let file = try Fixtures.json("tiny_forward.json", as: ForwardFile.self)
    let record = try #require(file.variants[isToldApart ? "erf, eps 1e-5" : "erf, eps 1e-7"])
    let expected = try #require(record.cls_rows)
    func rows(_ epsilon: Float) throws -> [[Float]] {
      let model = try TinyModel { $0.layerNormEpsilon = epsilon }
      return model.engine.hiddenStates(
        of: file.inputs.map(\.sequence), parameters: model.parameters
      ).map { Array($0.prefix(32)) }
    }
    func distance(_ rows: [[Float]]) -> Double {
      zip(rows, expected).reduce(0) { max($0, largestDifference($1.0, $1.1.values)) }
    }
    #expect(expected.count == 5 && expected.allSatisfy { $0.values.count == 32 })
    #expect(try distance(rows(epsilon)) < 2e-5)
    #expect(try (distance(rows(1e-12)) > 4e-5) == isToldApart)
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

    struct Output: Decodable {
      let logits: [[Double]], loss: Double
    }

    struct Tanh: Decodable {
      let hidden_rows: [Row], cls_vector: Output, pooler: Output
    }

    struct Sentences: Decodable {
      struct Sentence: Decodable {
        let ids: [Int32], mean_vector_norm: Double, mean_vector_first_4: [Double]
      }

      let sentences: [Sentence], cosines: [[Double]]
    }

    let inputs: [Input], labels: [Int], gelu_erf: Exact, gelu_tanh: Tanh
    let sentence_cosines: Sentences

    var sequences: [SequenceInput] {
      inputs.enumerated().map { i, input in
        SequenceInput(
          ids: input.ids, segments: input.segments, exampleID: UInt64(i),
          target: [Float(labels[i])])
      }
    }
  }

  /// The model with the reference's classifier.
  private static func loaded(
    usesPooler: Bool, activation: BertConfiguration.Activation = .geluErf
  ) throws -> (engine: Engine, parameters: Arena) {
    var model = try ModelFolder.open(try #require(Fixtures.miniLM), dialect: .huggingface)
    model.configuration.activation = activation
    let head = Head(outputs: 2, loss: .softmax, usesPooler: usesPooler, dropout: 0)
    let engine = Engine(
      configuration: model.configuration, head: head, pool: ThreadPool(threads: 2))
    let parameters = Arena(count: engine.table.count)
    try model.load(into: parameters, table: engine.table)
    let classifier = try #require(engine.table["classifier.weight"])
    for j in 0..<2 {
      for i in 0..<384 {
        parameters[classifier.range][384 * j + i] = Float(0.02 * sin(Double(i + 1 + 384 * j)))
      }
    }
    return (engine, parameters)
  }

  @Test(arguments: [false, true])
  func `hidden rows, logits and losses with the tanh form of GELU are the reference's`(
    usesPooler: Bool
  ) throws {
    let file = try Fixtures.json("minilm_real.json", as: File.self)
    let (engine, parameters) = try Self.loaded(usesPooler: usesPooler, activation: .geluTanh)
    let hidden = engine.hiddenStates(of: file.sequences, parameters: parameters)
    #expect(!file.gelu_tanh.hidden_rows.isEmpty)
    for row in file.gelu_tanh.hidden_rows {
      let values = hidden[row.input][row.token * 384..<row.token * 384 + row.values.count]
      #expect(largestDifference(values, row.values) < 3e-5)
    }
    let record = usesPooler ? file.gelu_tanh.pooler : file.gelu_tanh.cls_vector
    let outputs = engine.outputs(of: file.sequences, parameters: parameters)
    for (output, logits) in zip(outputs, record.logits) {
      #expect(largestDifference(output.values, logits) < 3e-5)
    }
    let loss = outputs.reduce(0) { $0 + ($1.loss ?? .nan) } / Double(outputs.count)
    #expect(abs(loss / record.loss - 1) < 1e-5)
  }

  @Test func `sentences are as alike as in the reference`() throws {
    let record = try Fixtures.json("minilm_real.json", as: File.self).sentence_cosines
    let (engine, parameters) = try Self.loaded(usesPooler: false)
    let inputs = record.sentences.map {
      SequenceInput(
        ids: $0.ids, segments: $0.ids.map { _ in 0 }, exampleID: 0)
    }
    let vectors = engine.hiddenStates(of: inputs, parameters: parameters).map { rows in
      (0..<384).map { i in
        stride(from: i, to: rows.count, by: 384).reduce(0) { $0 + Double(rows[$1]) }
          / Double(rows.count / 384)
      }
    }
    func norm(_ x: [Double]) -> Double { x.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    for (vector, sentence) in zip(vectors, record.sentences) {
      #expect(abs(norm(vector) / sentence.mean_vector_norm - 1) < 1e-5)
      for (x, y) in zip(vector, sentence.mean_vector_first_4) { #expect(abs(x - y) < 3e-5) }
    }
    #expect(record.cosines.count == 5)
    for (a, row) in zip(vectors, record.cosines) {
      for (b, expected) in zip(vectors, row) {
        let cosine = zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } / norm(a) / norm(b)
        #expect(abs(cosine - expected) < 1e-5)
      }
    }
  }

  @Test(arguments: [false, true])
  func `hidden rows, loss and every gradient are the reference's`(usesPooler: Bool) throws {
    let file = try Fixtures.json("minilm_real.json", as: File.self)
    let (engine, parameters) = try Self.loaded(usesPooler: usesPooler)
    let gradient = Arena(count: engine.table.count), sequences = file.sequences
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
