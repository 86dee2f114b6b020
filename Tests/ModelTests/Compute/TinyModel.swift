import Foundation
import Model
import TestSupport

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

/// One record of `tiny_heads.json`, as far as [CLS] heads go.
struct HeadRecord: Decodable {
  struct Gradient: Decodable {
    let norm: Double, offset: Int, values: [Double]
  }

  let head_init: [String: Numbers]
  let labels: Numbers
  let loss: Double
  let numerator: Double
  let denominator: Double
  let grad_norm_all: Double
  let zero_gradients: [String]
  let head_grads: [String: Numbers]
  let encoder_grads: [String: Gradient]
  let loss_with_float32_clip_bounds: Double?
}

/// `tiny_heads.json`, decoding only the records asked for.
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
    for key in heads.allKeys
    where key.stringValue.hasPrefix("sentiment_s") || key.stringValue.hasPrefix("pooled_") {
      records[key.stringValue] = try heads.decode(HeadRecord.self, forKey: key)
    }
    self.records = records
  }

  /// The batch with targets of `width` values each, dealt to `leaves` leaves in turn.
  func packed(_ targets: [Float], width: Int, leaves: Int) -> PackedBatch {
    let sequences = batch.enumerated().map { i, input in
      SequenceInput(
        ids: input.ids, segments: input.segments, exampleID: UInt64(i),
        target: Array(targets[i * width..<(i + 1) * width]))
    }
    return PackedBatch(
      leaves: (0..<leaves).map { leaf in
        sequences.enumerated().filter { $0.offset % leaves == leaf }.map(\.element)
      })
  }
}
