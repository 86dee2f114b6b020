import Foundation

/// What the files of a checkpoint must hold, in `manifest.json`.
///
/// It is written last: without it a checkpoint is not complete.
struct CheckpointManifest: Codable, Equatable {
  struct File: Codable, Equatable {
    let bytes: Int
    /// Lower-case hexadecimal digits.
    let sha256: String
  }

  static let name = "manifest.json"
  static let weights = "model.safetensors"
  static let moments = "optimizer.safetensors"
  static let state = "state.json"
  static let currentVersion = 1

  let version: Int
  let files: [String: File]

  init(files: [String: File]) {
    version = Self.currentVersion
    self.files = files
  }

  init(decoding data: Data, file: String) throws {
    struct Version: Decodable { let version: Int }
    let found = try StrictJSON.decode(Version.self, from: data, file: file).version
    do {
      try StrictJSON.checkKeys(of: data, known: ["version", "files"], file: file)
      self = try StrictJSON.decode(CheckpointManifest.self, from: data, file: file)
    } catch  where found != Self.currentVersion {
      throw CheckpointError.version(found, file, known: Self.currentVersion)
    }
    // Nothing guards the manifest itself: what is of this version but for the number is a number that was changed.
    guard found == Self.currentVersion else {
      throw CheckpointError.damaged(
        file, "says version \(found) and is of version \(Self.currentVersion)")
    }
    let names = [Self.weights, Self.moments, Self.state]
    guard files.keys.sorted() == names.sorted() else {
      throw CheckpointError.damaged(
        file,
        "lists \(files.keys.sorted().joined(separator: ", ")) where "
          + "\(names.joined(separator: ", ")) belong")
    }
  }
}
