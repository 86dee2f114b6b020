import Foundation

/// A run's directory, owned by this process while the value lives.
///
/// It holds `recipe.yaml`, `metrics.jsonl`, `checkpoints/`, `LATEST` and `best/`.
package final class RunDirectory {
  package let url: URL
  private let lock: Int32

  package var recipe: URL { url.appending(path: "recipe.yaml") }
  package var metrics: URL { url.appending(path: "metrics.jsonl") }
  package var best: URL { url.appending(path: "best") }

  /// Opens or makes the directory and locks it against other processes.
  ///
  /// - Throws: `RunError` if it holds a run and `resumes` is false, is in use, or cannot be written.
  package init(_ url: URL, resumes: Bool) throws {
    self.url = url
    do {
      try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    } catch {
      throw RunError.system(url.path, "made", error)
    }
    let path = url.appending(path: ".lock").path
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard lock >= 0 else { throw RunError.system(url.path, "written", errno) }
    // The lock goes with the process, however it ends.
    guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      close(lock)
      throw RunError.inUse(url.path)
    }
    if !resumes, holdsRun {
      close(lock)
      throw RunError.exists(url.path)
    }
  }

  deinit { close(lock) }

  /// Whether a run has been written here.
  package var holdsRun: Bool {
    ["recipe.yaml", "metrics.jsonl", "checkpoints", "best", "LATEST"].contains {
      FileManager.default.fileExists(atPath: url.appending(path: $0).path)
    }
  }
}

/// Writes whole files: the name shows either what was there before or all of the new content.
package enum AtomicFile {
  /// Writes `data` beside `url`, syncs it and renames it to `url`.
  package static func write(_ data: Data, to url: URL) throws {
    let writer = try AtomicFileWriter(url)
    try writer.write(data)
    try writer.finish()
  }
}

/// A file that appears under its name when it is finished, and not at all if it never is.
package final class AtomicFileWriter {
  private let url: URL
  private let temporary: String
  private var descriptor: Int32
  private var buffer = Data()

  package init(_ url: URL) throws {
    self.url = url
    temporary =
      url.deletingLastPathComponent()
      .appending(path: ".\(url.lastPathComponent).\(getpid()).partial").path
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw RunError.system(url.path, "written", errno) }
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    unlink(temporary)
  }

  /// Appends `data`.
  package func write(_ data: Data) throws {
    buffer.append(data)
    if buffer.count >= 1 << 16 { try flush() }
  }

  /// Syncs the content and gives it its name.
  package func finish() throws {
    try flush()
    guard fsync(descriptor) == 0 else { throw RunError.system(url.path, "written", errno) }
    guard rename(temporary, url.path) == 0 else {
      throw RunError.system(url.path, "written", errno)
    }
    close(descriptor)
    descriptor = -1
    // So that the name survives a power cut; some file systems refuse it, and the content is safe without.
    let folder = open(url.deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }

  private func flush() throws {
    try FileDescriptorOutput.write(buffer, to: descriptor, name: url.path)
    buffer.removeAll(keepingCapacity: true)
  }
}

/// Writing all of a buffer to a descriptor.
package enum FileDescriptorOutput {
  /// Writes `data`, however many calls that takes.
  package static func write(_ data: Data, to descriptor: Int32, name: String) throws {
    try data.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let written = Foundation.write(
          descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
        if written < 0 {
          if errno == EINTR { continue }
          throw RunError.system(name, "written", errno)
        }
        done += written
      }
    }
  }
}
