import Foundation

/// Finds the committed fixtures and, when they were fetched, the real weights and data.
package enum Fixtures {
  /// The checkout's root folder.
  package static let root = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// `Tests/Fixtures/NAME`.
  package static func url(_ name: String) -> URL { root.appending(path: "Tests/Fixtures/\(name)") }

  /// The bytes of `Tests/Fixtures/NAME`.
  package static func data(_ name: String) throws -> Data { try Data(contentsOf: url(name)) }

  /// `Tests/Fixtures/NAME` decoded from JSON.
  package static func json<T: Decodable>(_ name: String, as type: T.Type = T.self) throws -> T {
    try JSONDecoder().decode(type, from: data(name))
  }

  /// The real MiniLM folder that `scripts/quickstart` fetches, or nil when it was not fetched.
  package static let miniLM: URL? = {
    let folder = root.appending(path: "models/minilm")
    let weights = folder.appending(path: "model.safetensors").path
    return FileManager.default.fileExists(atPath: weights) ? folder : nil
  }()
}

/// A folder of its own that is removed when it goes out of scope.
package final class TemporaryFolder {
  package let url: URL

  package init() throws {
    url = FileManager.default.temporaryDirectory.appending(path: "lockstep-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }
}
