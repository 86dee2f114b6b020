import Foundation

/// A run's checkpoints: `checkpoints/step-00000120/` and `LATEST` in the run's directory.
///
/// A checkpoint is written under a name that starts with a dot, synchronised, and then renamed: a
/// folder called `step-…` is complete, whenever the process is killed. Old ones go only after the new one is there. One
/// process writes; on a cluster that is rank 0. Not for two threads at a time.
///
/// Documentation/CheckpointFormat.md describes the files.
package final class CheckpointStore: @unchecked Sendable {
  /// The run's directory.
  package let run: URL
  /// Checkpoints that are kept beside the best: the last so many.
  package let keep: Int
  /// Sentences about what a writer that was killed had left; each is worth printing once.
  package let notices: [String]
  let operations: FileOperations
  /// nil where the store is only read.
  private let lock: Int32?
  /// Steps whose checkpoints were found unusable, and have not been written anew since.
  var damaged: Set<Int> = []

  /// Opens the store of `run`, made if need be, and clears away what a killed writer left.
  ///
  /// Throws `CheckpointError` where the folder cannot be written or another process has it open.
  package init(run: URL, keep: Int = 2, operations: FileOperations = FileOperations()) throws {
    precondition(keep >= 1, "a store that keeps \(keep) checkpoints")
    self.run = run
    self.keep = keep
    self.operations = operations
    let folder = run.appending(path: Self.folderName)
    try operations.createFolders(folder)
    let path = folder.appending(path: ".lock")
    let lock = open(path.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    self.lock = lock
    guard lock >= 0 else {
      throw CheckpointError.system(path.relativePath, "cannot be created", code: errno)
    }
    do {
      var notices: [String] = []
      if flock(lock, LOCK_EX | LOCK_NB) != 0 {
        let code = errno
        guard code != EWOULDBLOCK else {
          throw CheckpointError(
            .busy, run.relativePath, "another process is writing to this run",
            "wait for it to end, or choose another run directory with --run")
        }
        // File systems without locks (ENOLCK, ENOTSUP).
        notices.append(
          "\(path.relativePath): this file system has no locks (\(String(cString: strerror(code)))); make sure that no other process trains in \(run.relativePath)."
        )
      }
      self.notices = notices + (try Self.clear(run, operations))
    } catch {
      close(lock)
      throw error
    }
  }

  /// Opens the store of `run` for reading alone: nothing is created, locked or cleared away, whoever else has it open.
  ///
  /// A run without checkpoints has none to load. Who writes meanwhile may remove a checkpoint that is being read: it cannot be
  /// used then, and an earlier one is taken.
  package init(reading run: URL) {
    self.run = run
    keep = 1
    notices = []
    operations = FileOperations()
    lock = nil
  }

  deinit { if let lock { close(lock) } }

  /// Whether checkpoints can be written.
  var isWritable: Bool { lock != nil }

  /// Steps of the complete checkpoints, rising.
  package var steps: [Int] {
    get throws {
      guard Self.exists(folder) else { return [] }
      return try FileOperations.entries(folder).compactMap(Self.step(of:)).sorted()
    }
  }

  /// Where the checkpoint of `step` is, or would be.
  package func url(ofStep step: Int) -> URL { folder.appending(path: Self.name(ofStep: step)) }

  var folder: URL { run.appending(path: Self.folderName) }
  var latest: URL { run.appending(path: Self.latestName) }
}

// Names.
extension CheckpointStore {
  static let folderName = "checkpoints"
  static let latestName = "LATEST"

  /// What a folder is called while it is not, or no longer, a checkpoint.
  enum Passing: String, CaseIterable {
    /// Being written.
    case partial
    /// About to be deleted.
    case removed
    /// Making room for a new checkpoint of the same step.
    case replaced
  }

  /// The folder name of a complete checkpoint, such as `step-00000120`.
  static func name(ofStep step: Int) -> String {
    precondition(step >= 0, "a checkpoint of step \(step)")
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.utf8.count)) + digits
  }

  /// The step of a complete checkpoint's folder name, nil for all other names.
  static func step(of name: String) -> Int? {
    guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0,
      self.name(ofStep: step) == name
    else { return nil }
    return step
  }

  /// A folder that is no checkpoint, such as `.step-00000120.partial`.
  func url(ofStep step: Int, _ passing: Passing) -> URL {
    folder.appending(path: ".\(Self.name(ofStep: step)).\(passing.rawValue)")
  }

  static func exists(_ url: URL) -> Bool { FileManager.default.fileExists(atPath: url.path) }
}

extension CheckpointStore {
  /// What is said of a folder that no one needs any more and that cannot be removed: no reason to end a training.
  static func remains(_ url: URL, _ error: CheckpointError) -> String {
    "\(url.relativePath) is not needed any more and stays: \(error)"
  }

  /// Finishes or undoes what a killed writer had begun; returns a sentence for each.
  private static func clear(_ run: URL, _ operations: FileOperations) throws -> [String] {
    var notices: [String] = []
    let folder = run.appending(path: folderName)
    for entry in try FileOperations.entries(folder) {
      for passing in Passing.allCases {
        let suffix = ".\(passing.rawValue)"
        guard entry.hasPrefix("."), entry.hasSuffix(suffix),
          step(of: String(entry.dropFirst().dropLast(suffix.count))) != nil
        else { continue }
        let found = folder.appending(path: entry)
        let target = folder.appending(path: String(entry.dropFirst().dropLast(suffix.count)))
        if passing == .replaced && !exists(target) {
          // Killed between the two renames of a replacement: the old one is complete.
          try operations.rename(found, to: target)
          notices.append("\(target.relativePath): put back after a writer was ended replacing it.")
        } else {
          do {
            try operations.remove(found)
            notices.append("\(found.relativePath): removed, left by a writer that was ended.")
          } catch let error as CheckpointError {
            notices.append(Self.remains(found, error))
          }
        }
      }
    }
    let latest = run.appending(path: ".\(latestName).\(Passing.partial.rawValue)")
    if exists(latest) { try operations.remove(latest) }
    return notices
  }
}
