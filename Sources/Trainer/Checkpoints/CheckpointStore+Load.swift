import Crypto
import Foundation
import Model

/// A checkpoint that was verified and read.
package struct LoadedCheckpoint: Sendable, Equatable {
  package let url: URL
  package let state: RunState
  /// SHA-256 of its `model.safetensors`.
  package let weightsDigest: String
  /// A sentence for each newer checkpoint that could not be used; each is worth printing.
  package let notices: [String]
}

extension CheckpointStore {
  /// Reads the newest checkpoint, of those before step `limit`, that is complete and unharmed; nil if there is none.
  ///
  /// Sizes and SHA-256 of all files are checked before anything is read into memory. Throws `CheckpointError` when all
  /// checkpoints are damaged, or when one is of another model; `parameters` and the moments are as before then,
  /// but for a disk that fails in the middle of reading. `progress` is called after every piece and tensor.
  package func load(
    into parameters: Arena, optimizer: Optimizer, before limit: Int = .max,
    progress: () -> Void = {}
  ) throws -> LoadedCheckpoint? {
    var notices: [String] = []
    for step in try steps.reversed() where step < limit {
      let url = url(ofStep: step)
      do {
        let verified = try Self.verify(url, step: step, progress: progress)
        try Self.reading(url) {
          try Self.read(url, into: parameters, optimizer: optimizer, progress: progress)
        }
        return LoadedCheckpoint(
          url: url, state: verified.state, weightsDigest: verified.digest, notices: notices)
      } catch let error as CheckpointError where error.rule == .damaged || error.rule == .system {
        damaged.insert(step)
        notices.append("\(url.relativePath) cannot be used (\(error.file): \(error.finding)).")
      }
    }
    guard notices.isEmpty else {
      throw CheckpointError(
        .noneUsable, folder.relativePath,
        "no checkpoint can be used: " + notices.joined(separator: " "),
        "restore a checkpoint, or remove the folder to start the run anew")
    }
    return nil
  }

  /// Checks every file of a checkpoint against its manifest, and its state.
  static func verify(
    _ url: URL, step: Int, progress: () -> Void = {}
  ) throws -> (state: RunState, digest: String) {
    let manifestURL = url.appending(path: CheckpointManifest.name)
    let manifest = try CheckpointManifest(
      decoding: contents(manifestURL), file: manifestURL.relativePath)
    for (name, expected) in manifest.files.sorted(by: { $0.key < $1.key }) {
      let file = url.appending(path: name)
      let found = try digest(file, expectedBytes: expected.bytes, progress: progress)
      guard found == expected.sha256 else {
        throw CheckpointError.damaged(
          file.relativePath,
          "has the SHA-256 \(found.prefix(12))… where its manifest says \(expected.sha256.prefix(12))…"
        )
      }
    }
    let state = try state(url, step: step)
    return (state, manifest.files[CheckpointManifest.weights]?.sha256 ?? "")
  }

  /// The state in the checkpoint `url`, which is only as good as its file.
  static func state(_ url: URL, step: Int) throws -> RunState {
    let file = url.appending(path: CheckpointManifest.state)
    let state = try RunState(decoding: contents(file), file: file.relativePath)
    guard state.step == step else {
      throw CheckpointError.damaged(
        file.relativePath, "is of step \(state.step) in a folder of step \(step)")
    }
    return state
  }

  private static func read(
    _ url: URL, into parameters: Arena, optimizer: Optimizer, progress: () -> Void
  ) throws {
    let table = optimizer.table
    precondition(parameters.count == table.count, "\(parameters.count) of \(table.count) elements")
    let weights = try Safetensors(url.appending(path: CheckpointManifest.weights))
    let moments = try Safetensors(url.appending(path: CheckpointManifest.moments))
    let trained = optimizer.trainedParameters
    // Both files are compared with the table before either is read.
    try check(weights, table.parameters.map { ($0.name, $0.shape) })
    try check(
      moments,
      trained.flatMap { parameter in
        optimizer.stateArenas.map { ("\(parameter.name).\($0.suffix)", parameter.shape) }
      })
    optimizer.momentsWereReplaced()
    for parameter in table.parameters {
      try weights.read(parameter.name, into: parameters[parameter.range])
      progress()
    }
    for parameter in trained {
      for (suffix, arena) in optimizer.stateArenas {
        try moments.read("\(parameter.name).\(suffix)", into: arena[parameter.range])
        progress()
      }
    }
  }

  /// Refuses a file whose tensors are not `expected`.
  private static func check(
    _ file: Safetensors, _ expected: [(name: String, shape: [Int])]
  ) throws {
    let remedy = "resume with the recipe that the run was started with"
    for (name, shape) in expected {
      guard let found = file.tensor(name) else {
        throw CheckpointError(.mismatch, file.location, "holds no tensor \(name)", remedy)
      }
      guard found.shape == shape, found.elementType == .float32 else {
        throw CheckpointError(
          .mismatch, file.location,
          "the tensor \(name) is \(found.typeName) \(found.shape) where this model has F32 \(shape)",
          remedy)
      }
    }
    guard file.tensors.count == expected.count else {
      let known = Set(expected.map(\.name))
      let extra = file.tensors.first { !known.contains($0.name) }?.name ?? ""
      throw CheckpointError(
        .mismatch, file.location, "holds the tensor \(extra), which this model has not", remedy)
    }
  }

  /// The bytes of a small file.
  private static func contents(_ url: URL) throws -> Data {
    try reading(url) { try Data(InputFile.contents(of: url, limit: 1 << 20)) }
  }

  /// The SHA-256 of a file that must hold `expectedBytes`.
  private static func digest(
    _ url: URL, expectedBytes: Int, progress: () -> Void
  ) throws -> String {
    try reading(url) {
      let file = try InputFile(url)
      guard file.byteCount == expectedBytes else {
        throw CheckpointError.damaged(
          url.relativePath,
          "holds \(file.byteCount) bytes where its manifest says \(expectedBytes)")
      }
      var hash = SHA256()
      try file.stream(at: 0, count: file.byteCount) {
        hash.update(bufferPointer: $0)
        progress()
      }
      return hash.finalize().hex
    }
  }

  /// Turns what reading the file `url` throws into the store's error.
  private static func reading<T>(_ url: URL, _ body: () throws -> T) throws -> T {
    do {
      return try body()
    } catch let error as WeightsError {
      throw CheckpointError.damaged(url.relativePath, error.finding)
    }
  }
}
