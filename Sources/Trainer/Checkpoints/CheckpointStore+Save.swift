import Foundation
import Model

/// A checkpoint that was written.
package struct SavedCheckpoint: Sendable, Equatable {
  package let url: URL
  /// SHA-256 of its `model.safetensors`.
  package let weightsDigest: String
  /// Bytes of all its files.
  package let bytes: Int
  /// A sentence for each folder that should have gone and is there still; each is worth printing.
  package fileprivate(set) var notices: [String] = []
}

/// A checkpoint whose files are written and which is none yet: it has a passing name, and the disk may not have it.
package struct DraftedCheckpoint: Sendable {
  package let saved: SavedCheckpoint
  fileprivate let state: RunState
  fileprivate let partial: URL
  fileprivate let files: [FileOperations.WrittenFile]
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
    let draft = try draft(
      state, parameters: parameters, moments: optimizer.momentTensors, optimizer)
    return try publish(draft)
  }

  /// Writes the files of a checkpoint, of which the system may hold a part in memory; `publish` makes it the latest.
  ///
  /// When this returns, the parameters and moments may change. `moments` are the optimizer's, wherever they come from. `progress` is
  /// called after every piece.
  package func draft(
    _ state: RunState, parameters: Arena, moments: [SafetensorsWriter.Tensor],
    _ optimizer: Optimizer, progress: @escaping () -> Void = {}
  ) throws -> DraftedCheckpoint {
    precondition(isWritable, "a checkpoint of step \(state.step) for a store that is only read")
    let partial = url(ofStep: state.step, .partial)
    return try removing(partial) {
      if Self.exists(partial) { try operations.remove(partial) }
      try operations.createFolder(partial)
      var written: [FileOperations.WrittenFile] = []
      func write(
        _ name: String, _ body: (_ append: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
      ) throws {
        written.append(
          try operations.write(partial.appending(path: name), progress: progress, body))
      }
      func write(_ name: String, json: Data) throws {
        try write(name) { append in try json.withUnsafeBytes(append) }
      }
      let weights = SafetensorsWriter.tensors(optimizer.table, of: parameters)
      try write(CheckpointManifest.weights) { try SafetensorsWriter.stream(weights, to: $0) }
      try write(CheckpointManifest.moments) {
        try SafetensorsWriter.stream(moments, metadata: [:], to: $0)
      }
      try write(CheckpointManifest.state, json: StrictJSON.encode(state))
      let files = written.map {
        ($0.url.lastPathComponent, CheckpointManifest.File(bytes: $0.bytes, sha256: $0.sha256))
      }
      let manifest = CheckpointManifest(files: Dictionary(files) { $1 })
      try write(CheckpointManifest.name, json: StrictJSON.encode(manifest))
      return DraftedCheckpoint(
        saved: SavedCheckpoint(
          url: url(ofStep: state.step), weightsDigest: written[0].sha256,
          bytes: written.reduce(0) { $0 + $1.bytes }), state: state, partial: partial,
        files: written)
    }
  }

  /// Waits for the disk, then makes `draft` the latest checkpoint and removes those that need not be kept.
  ///
  /// A folder that cannot be removed is a notice and no error: the new checkpoint is there, and the next one tries again.
  ///
  /// May run on another thread than the one that trains, while no other call of this store does. `progress` is called whenever the disk
  /// has another part.
  @discardableResult
  package func publish(
    _ draft: DraftedCheckpoint, progress: () -> Void = {}
  ) throws -> SavedCheckpoint {
    var saved = draft.saved
    let final = saved.url
    try removing(draft.partial) {
      for file in draft.files { try operations.synchronize(file, progress: progress) }
      try operations.synchronizeFolder(draft.partial)
      saved.notices += try publish(draft.partial, as: final, step: draft.state.step)
    }
    damaged.remove(draft.state.step)
    try name(final.lastPathComponent)
    saved.notices += try prune(after: draft.state)
    return saved
  }

  /// Removes `partial` when `body` throws.
  private func removing<Result>(_ partial: URL, after body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch {
      // What cannot be removed now is removed at the next start.
      try? operations.remove(partial)
      throw error
    }
  }

  /// Gives a complete folder its name; returns what could not be removed.
  private func publish(_ partial: URL, as final: URL, step: Int) throws -> [String] {
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
    return try replaces ? discard(replaced) : []
  }

  /// Removes what nobody needs any more; returns a sentence if it stays.
  private func discard(_ url: URL) throws -> [String] {
    do {
      try operations.remove(url)
      return []
    } catch let error as CheckpointError {
      return [Self.remains(url, error)]
    }
  }

  /// Writes `LATEST`.
  private func name(_ name: String) throws {
    let partial = run.appending(path: ".\(Self.latestName).\(Passing.partial.rawValue)")
    if Self.exists(partial) { try operations.remove(partial) }
    do {
      let text = Array("\(name)\n".utf8)
      try operations.synchronize(
        operations.write(partial) { append in try text.withUnsafeBytes(append) })
      try operations.rename(partial, to: latest)
    } catch {
      try? operations.remove(partial)
      throw error
    }
    try operations.synchronizeFolder(run)
  }

  /// Removes checkpoints older than the last `keep`, but not the best; returns what could not be removed.
  ///
  /// Later ones than this (the run was continued from before them) are neither counted nor removed: they
  /// are replaced when the run comes to them. Damaged ones do not count as kept.
  private func prune(after state: RunState) throws -> [String] {
    let upToNow = try steps.filter { $0 <= state.step }
    let kept = upToNow.filter { !damaged.contains($0) }.suffix(keep)
    var notices: [String] = []
    for step in upToNow where step < kept.first ?? 0 && step != state.best?.step {
      // Renamed first, so that a folder with a final name never lacks a file.
      let removed = url(ofStep: step, .removed)
      do {
        try operations.remove(removed)
        try operations.rename(url(ofStep: step), to: removed)
        try operations.remove(removed)
      } catch let error as CheckpointError {
        notices.append(Self.remains(url(ofStep: step), error))
      }
    }
    return notices
  }
}
