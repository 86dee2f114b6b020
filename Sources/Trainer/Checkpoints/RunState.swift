import Foundation
import Model

/// Where a run stands: all that a resume needs beside weights and moments.
///
/// No rank, host or thread appears in it: a run continues on any number of ranks up to its leaves.
package struct RunState: Sendable, Equatable, Codable {
  /// The best evaluation so far.
  package struct Best: Sendable, Equatable, Codable {
    package var metric: String
    package var value: Double
    /// Updates made when it was reached.
    package var step: Int

    package init(metric: String, value: Double, step: Int) {
      self.metric = metric
      self.value = value
      self.step = step
    }
  }

  /// The version of the format that this program writes; it reads this one and those before.
  package static let currentVersion = 2

  package private(set) var version = Self.currentVersion
  /// Updates made: the global step, from 0, that comes next.
  package var step: Int
  /// The epoch of that step, from 0.
  package var epoch: Int
  /// Rows of that epoch that were seen.
  package var positionInEpoch: Int
  package var best: Best?
  package var seed: UInt64
  /// Sequences of a step `G`.
  package var batchSize: Int
  /// Leaves of a step `M`.
  package var leaves: Int
  /// A hash of the rows after parsing.
  package var dataFingerprint: String
  package var recipeHash: String
  package var dialect: Dialect
  /// `Numerics.fingerprint`: equal where the bits continue.
  package var numericsFingerprint: String
  /// What the model's folder gives beside the weights; version 1 has none.
  package var inputs: ModelInputs?
  /// Whether the evaluations that are due after `step` are still to be made, which is then a resume's first work; version 1 has none.
  package var awaitsEvaluation: Bool?

  package init(
    step: Int, epoch: Int, positionInEpoch: Int, best: Best? = nil, seed: UInt64, batchSize: Int,
    leaves: Int, dataFingerprint: String, recipeHash: String, dialect: Dialect,
    numericsFingerprint: String, inputs: ModelInputs, awaitsEvaluation: Bool
  ) {
    precondition(best?.value.isFinite ?? true, "a best metric of \(best?.value ?? .nan)")
    self.step = step
    self.epoch = epoch
    self.positionInEpoch = positionInEpoch
    self.best = best
    self.seed = seed
    self.batchSize = batchSize
    self.leaves = leaves
    self.dataFingerprint = dataFingerprint
    self.recipeHash = recipeHash
    self.dialect = dialect
    self.numericsFingerprint = numericsFingerprint
    self.inputs = inputs
    self.awaitsEvaluation = awaitsEvaluation
  }
}

extension RunState {
  /// The state in `data`, refused where a key is unknown, missing or of another type, or a number makes no sense.
  package init(decoding data: Data, file: String) throws {
    struct Version: Decodable { let version: Int }
    let found = try StrictJSON.decode(Version.self, from: data, file: file).version
    guard (1...Self.currentVersion).contains(found) else {
      throw CheckpointError.version(found, file, known: Self.currentVersion)
    }
    try StrictJSON.checkKeys(of: data, known: CodingKeys.allCases.map(\.rawValue), file: file)
    self = try StrictJSON.decode(RunState.self, from: data, file: file)
    if version > 1 {
      let lacking = inputs == nil ? "inputs" : awaitsEvaluation == nil ? "awaitsEvaluation" : nil
      if let lacking { throw CheckpointError.damaged(file, "lacks the key \"\(lacking)\"") }
    }
    guard step >= 0, epoch >= 0, positionInEpoch >= 0, batchSize > 0, leaves > 0,
      best.map({ $0.step >= 0 && $0.step <= step }) ?? true, awaitsEvaluation != true || step > 0
    else {
      throw CheckpointError.damaged(
        file,
        "holds step \(step), epoch \(epoch), position \(positionInEpoch), batch \(batchSize), "
          + "leaves \(leaves), best step \(best?.step ?? 0), which cannot be")
    }
  }

  private enum CodingKeys: String, CodingKey, CaseIterable {
    case version, step, epoch, positionInEpoch, best, seed, batchSize, leaves, dataFingerprint
    case recipeHash, dialect, numericsFingerprint, inputs, awaitsEvaluation
  }
}

/// JSON that is read as strictly as it was written.
enum StrictJSON {
  static func encode(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(value) + Data("\n".utf8)
  }

  static func decode<T: Decodable>(_ type: T.Type, from data: Data, file: String) throws -> T {
    do {
      return try JSONDecoder().decode(type, from: data)
    } catch let error as DecodingError {
      throw CheckpointError.damaged(file, sentence(error))
    }
  }

  /// Refuses keys of the object in `data` that are not `known`.
  static func checkKeys(of data: Data, known: [String], file: String) throws {
    let object = try decode([String: Anything].self, from: data, file: file)
    let unknown = object.keys.filter { !known.contains($0) }.sorted()
    guard unknown.isEmpty else {
      throw CheckpointError.damaged(file, "holds the unknown key \"\(unknown[0])\"")
    }
  }

  /// Accepts every value.
  private struct Anything: Decodable { init(from decoder: any Decoder) {} }

  private static func sentence(_ error: DecodingError) -> String {
    func place(_ path: [any CodingKey]) -> String {
      path.isEmpty ? "the file" : path.map(\.stringValue).joined(separator: ".")
    }
    switch error {
    case .keyNotFound(let key, let context):
      return "lacks the key \"\(place(context.codingPath + [key]))\""
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      return "holds a value of the wrong type at \(place(context.codingPath))"
    case .dataCorrupted(let context):
      return context.codingPath.isEmpty
        ? "is not JSON" : "holds an unknown value at \(place(context.codingPath))"
    @unknown default: return "cannot be decoded"
    }
  }
}
