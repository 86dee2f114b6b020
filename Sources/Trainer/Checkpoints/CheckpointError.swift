import Foundation

/// Why a checkpoint could not be written or read.
///
/// The description is one sentence: the file, what was found there, and what would work. A command ends with the
/// input/output exit code, 74; with that of a wrong recipe, 64, where the checkpoint is of another model (`ExitStatus`).
package struct CheckpointError: Error, Equatable, CustomStringConvertible {
  /// What a caller may want to tell apart.
  package enum Rule: String, Sendable {
    /// The system refused an operation on a file.
    case system
    /// A file is not what was written.
    case damaged
    /// Every checkpoint of the run is damaged.
    case noneUsable
    /// The checkpoint is of another model, or of another version of Lockstep.
    case mismatch
    /// Another process writes to the same run.
    case busy
  }

  package let rule: Rule
  /// The file or folder, as the user would name it.
  package let file: String
  package let finding: String
  package let remedy: String

  package init(_ rule: Rule, _ file: String, _ finding: String, _ remedy: String) {
    self.rule = rule
    self.file = file
    self.finding = finding
    self.remedy = remedy
  }

  package var description: String { "\(file): \(finding); \(remedy)." }
}

extension CheckpointError {
  /// The system call that was to do `action` (such as "cannot be written") failed with `code`.
  package static func system(_ path: String, _ action: String, code: Int32) -> CheckpointError {
    let remedy =
      switch code {
      case ENOSPC, EDQUOT, EFBIG:
        "free space on this disk, or choose a run directory on another with --run"
      case EACCES, EPERM, EROFS, ENOTDIR, ENOENT:
        "make the folder writable, or choose another run directory with --run"
      default: "check the disk, or choose a run directory on another with --run"
      }
    return CheckpointError(.system, path, "\(action): \(String(cString: strerror(code)))", remedy)
  }

  /// The file says that it is of version `found`, of which this program knows nothing.
  static func version(_ found: Int, _ path: String, known: Int) -> CheckpointError {
    CheckpointError(
      .mismatch, path, "is of version \(found) where this Lockstep reads version \(known)",
      "resume with the Lockstep that wrote it")
  }

  static func damaged(_ path: String, _ finding: String) -> CheckpointError {
    CheckpointError(
      .damaged, path, finding,
      "restore the file, or remove the checkpoint's folder to do without it"
    )
  }
}
