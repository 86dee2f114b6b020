import Foundation
import Model

/// A checkpoint that was written.
package struct SavedCheckpoint: Sendable, Equatable {
  package let url: URL
  /// SHA-256 of its `model.safetensors`.
  package let weightsDigest: String
  /// Bytes of all its files.
  package let bytes: Int
}

extension CheckpointStore {
  /// Writes a checkpoint and makes it the latest, then removes those that need not be kept: all but the last
  /// `keep` up to this step, and the one of `state.best`.
  ///
  /// Throws `CheckpointError`; the checkpoints there were are there still, and nothing incomplete is left
  /// under a final name.
  @discardableResult
  package func save(
    _ state: RunState, parameters: Arena, optimizer: Optimizer
  ) throws -> SavedCheckpoint {
    let partial = url(ofStep: state.step, .partial)
    let final = url(ofStep: state.step)
    let saved: SavedCheckpoint
    do {
      saved = try write(state, parameters: parameters, optimizer: optimizer, into: partial)
      try publish(partial, as: final, step: state.step)
    } catch {
      // What cannot be removed now is removed at the next start.
      try? operations.remove(partial)
      throw error
    }
    try name(final.lastPathComponent)
    try prune(after: state)
    return SavedCheckpoint(
      url: final, weightsDigest: saved.weightsDigest, bytes: saved.bytes)
  }

  /// Writes all files of a checkpoint into the new folder `folder`, the manifest last.
  private func write(
    _ state: RunState, parameters: Arena, optimizer: Optimizer, into folder: URL
  ) throws -> SavedCheckpoint {
    if Self.exists(folder) { try operations.remove(folder) }
    try operations.createFolder(folder)
    var files: [String: CheckpointManifest.File] = [:]
    func write(
      _ name: String, _ body: (_ append: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
      let written = try operations.write(folder.appending(path: name), body)
      files[name] = .init(bytes: written.bytes, sha256: written.sha256)
    }
    func write(_ name: String, json: Data) throws {
      try write(name) { append in try json.withUnsafeBytes(append) }
    }
    let weights = SafetensorsWriter.tensors(optimizer.table, of: parameters)
    try write(CheckpointManifest.weights) { try SafetensorsWriter.stream(weights, to: $0) }
    let moments = optimizer.momentTensors
    try write(CheckpointManifest.moments) {
      try SafetensorsWriter.stream(moments, metadata: [:], to: $0)
    }
    try write(CheckpointManifest.state, json: StrictJSON.encode(state))
    let digest = files[CheckpointManifest.weights]?.sha256 ?? ""
    let manifest = CheckpointManifest(files: files)
    try write(CheckpointManifest.name, json: StrictJSON.encode(manifest))
    try operations.synchronizeFolder(folder)
    return SavedCheckpoint(
      url: folder, weightsDigest: digest, bytes: files.values.reduce(0) { $0 + $1.bytes })
  }

  /// Gives a complete folder its name.
  private func publish(_ partial: URL, as final: URL, step: Int) throws {
    // A checkpoint of the same step is there when a run was continued from before it.
    let replaced = url(ofStep: step, .replaced)
    let replaces = Self.exists(final)
    if replaces { try operations.rename(final, to: replaced) }
    do {
      try operations.rename(partial, to: final)
    } catch {
      if replaces { try? operations.rename(replaced, to: final) }
      throw error
    }
    try operations.synchronizeFolder(folder)
    if replaces { try operations.remove(replaced) }
  }

  /// Writes `LATEST`.
  private func name(_ name: String) throws {
    let partial = run.appending(path: ".\(Self.latestName).\(Passing.partial.rawValue)")
    if Self.exists(partial) { try operations.remove(partial) }
    do {
      let text = Array("\(name)\n".utf8)
      _ = try operations.write(partial) { append in try text.withUnsafeBytes(append) }
      try operations.rename(partial, to: latest)
    } catch {
      try? operations.remove(partial)
      throw error
    }
    try operations.synchronizeFolder(run)
  }

  /// Removes checkpoints older than the last `keep`, but not the best.
  ///
  /// Later ones than this (the run was continued from before them) are neither counted nor removed: they
  /// are replaced when the run comes to them.
  private func prune(after state: RunState) throws {
    let upToNow = try steps.filter { $0 <= state.step }
    for step in upToNow.dropLast(keep) where step != state.best?.step {
      // Renamed first, so that a folder with a final name never lacks a file.
      let removed = url(ofStep: step, .removed)
      if Self.exists(removed) { try operations.remove(removed) }
      try operations.rename(url(ofStep: step), to: removed)
      try operations.remove(removed)
    }
  }
}
