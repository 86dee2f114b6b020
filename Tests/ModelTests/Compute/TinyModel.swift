import Foundation
import Model
import TestSupport
import Testing

/// The tiny reference checkpoint, loaded, with a head and the reference batch.
struct TinyModel {
  let engine: Engine
  let parameters: Arena

  init(
    _ folder: String = "tiny_hf", head: Head? = nil, threads: Int = 2,
    adjust: (inout BertConfiguration) -> Void = { _ in }
  ) throws {
    var model = try ModelFolder.open(Fixtures.url(folder), dialect: .huggingface)
    adjust(&model.configuration)
    engine = Engine(
      configuration: model.configuration, head: head, pool: ThreadPool(threads: threads))
    parameters = Arena(count: engine.table.count)
    try model.load(into: parameters, table: engine.table)
  }

  /// Overwrites the tensor `name` with `values`.
  func set(_ name: String, _ values: [Float]) {
    guard let parameter = engine.table[name] else { preconditionFailure("no tensor \(name)") }
    precondition(values.count == parameter.range.count, "\(values.count) values for \(name)")
    for (i, value) in values.enumerated() { parameters[parameter.range][i] = value }
  }
}

extension Safetensors {
  /// The numbers of the tensor `name`, row by row, in single precision.
  func floats(_ name: String) throws -> [Float] {
    let count = try #require(tensor(name), "no tensor \(name)").shape.reduce(1, *)
    var values = [Float](repeating: 0, count: count)
    try values.withUnsafeMutableBufferPointer { try read(name, into: $0) }
    return values
  }
}

/// One record of `tiny_heads.json`, as far as all heads have it.
struct HeadRecord: Decodable {
  struct Gradient: Decodable {
    let norm: Double, offset: Int, values: [Double]
  }

  let head_init: [String: Numbers]
  let labels: Numbers?
  let loss: Double
  let denominator: Numbers
  let grad_norm_all: Double
  let zero_gradients: [String]
  let head_grads: [String: Numbers]
  let encoder_grads: [String: Gradient]
  let loss_with_float32_clip_bounds: Double?
  let start: [Int]?, end_inclusive: [Int]?
  let gold_subjects_start_end_inclusive: [[[Int]]]?
  let conditioning_subject_start_end_inclusive: [[Int]]?
  let objects_start_end_inclusive_class: [[[Int]]]?
  let positions: [[Int]]?
  let input_ids: [[Int32]]?, targets_example_position_id: [[Int]]?
  let pairs: [[Int]]?

  /// What the loss is divided by; the tests' heads have one.
  var divisor: Double { denominator.values[0] }
}

/// Where a head's tensor stands in a record.
struct RecordedTensor {
  var name: String
  /// Whether the record holds `[in, out]`.
  var isTransposed = false
}

extension HeadRecord {
  /// Compares the gradient of the *summed* loss with the record's, tensor by tensor.
  ///
  /// `head`: by the name of each of the head's tensors its place in the record; those of `skipped` are compared elsewhere.
  func check(
    _ gradient: Arena, _ table: ParameterTable, head: [String: RecordedTensor],
    but skipped: [String] = [], tolerance: Double = 5e-5, _ what: String
  ) {
    var checked = 0
    for parameter in table.parameters where !skipped.contains(parameter.name) {
      // The reference's gradient is that of the mean.
      let values = gradient[parameter.range].map { $0 / Float(divisor) }
      let norm = values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      if let place = head[parameter.name] {
        if zero_gradients.contains(place.name) {
          #expect(norm / grad_norm_all < 1e-5, "\(what): \(parameter.name) should have no gradient")
          continue
        }
        let expected = head_grads[place.name]?.values ?? []
        let ours = tensorFlowLayout(
          values, shape: parameter.shape, transposed: place.isTransposed)
        #expect(ours.count == expected.count, "\(what): \(parameter.name)")
        #expect(relativeDistance(ours, expected) < tolerance, "\(what): \(parameter.name)")
        continue
      }
      guard let (name, transposed) = TensorNames.tensorFlow(canonical: parameter.name) else {
        Issue.record("no TensorFlow name for \(parameter.name)")
        continue
      }
      if zero_gradients.contains(name) {
        #expect(norm / grad_norm_all < 1e-5, "\(what): \(name) should have no gradient")
        continue
      }
      guard let expected = encoder_grads[name] else {
        #expect(norm == 0, "\(what): \(name) is not in the reference")
        continue
      }
      checked += 1
      #expect(abs(norm / expected.norm - 1) < tolerance, "\(what): norm of \(name)")
      let part = tensorFlowLayout(values, shape: parameter.shape, transposed: transposed)[
        expected.offset..<expected.offset + expected.values.count]
      for (x, y) in zip(part, expected.values) {
        #expect(abs(Double(x) - y) < tolerance * expected.norm, "\(what): \(name)")
      }
    }
    #expect(checked >= 34, "\(what): only \(checked) encoder tensors were compared")
  }

  /// Sets the head's tensors of `model` to the record's.
  func setHead(of model: TinyModel, _ head: [String: RecordedTensor]) throws {
    for (name, place) in head {
      let values = try #require(head_init[place.name]).floats
      let shape = try #require(model.engine.table[name]).shape
      model.set(
        name,
        place.isTransposed
          ? tensorFlowLayout(values, shape: shape.reversed(), transposed: true) : values)
    }
  }
}

/// `tiny_heads.json`, as far as all heads have it.
struct HeadsFile: Decodable {
  struct Input: Decodable {
    let ids: [Int32], segments: [Int32]
  }

  let batch: [Input]
  let records: [String: HeadRecord]

  private struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Name.self)
    batch = try container.decode([Input].self, forKey: Name(stringValue: "batch"))
    let heads = try container.nestedContainer(
      keyedBy: Name.self, forKey: Name(stringValue: "heads"))
    var records: [String: HeadRecord] = [:]
    for key in heads.allKeys {
      records[key.stringValue] = try heads.decode(HeadRecord.self, forKey: key)
    }
    self.records = records
  }

  /// The batch with a target for each example, dealt to `leaves` leaves in turn.
  func packed(_ targets: [[Float]], leaves: Int) -> PackedBatch {
    let sequences = zip(batch, targets).enumerated().map { i, example in
      SequenceInput(
        ids: example.0.ids, segments: example.0.segments, exampleID: UInt64(i),
        target: example.1)
    }
    return PackedBatch(
      leaves: (0..<leaves).map { leaf in
        sequences.enumerated().filter { $0.offset % leaves == leaf }.map(\.element)
      })
  }

  /// The same with targets of `width` values each, side by side.
  func packed(_ targets: [Float], width: Int, leaves: Int) -> PackedBatch {
    packed(
      batch.indices.map { Array(targets[$0 * width..<($0 + 1) * width]) }, leaves: leaves)
  }
}
