import Foundation

/// A file that appears under its name only when it is complete and on the disk.
///
/// Bytes go to a temporary name in the same folder; `commit` syncs, renames and syncs the folder. A file that was not
/// committed is removed.
package final class DurableFile {
  /// Bytes written so far.
  package private(set) var byteCount = 0
  private let destination: URL
  private let temporary: String
  private var descriptor: Int32
  /// Small writes are gathered: a checkpoint has hundreds of tensors of a few hundred bytes.
  private var buffer: [UInt8] = []
  private let observe: ((UnsafeRawBufferPointer) -> Void)?
  private static let bufferSize = 1 << 20

  /// `observe` sees all bytes in order, for a hash.
  package init(_ destination: URL, observe: ((UnsafeRawBufferPointer) -> Void)? = nil) throws {
    self.destination = destination
    self.observe = observe
    let name = ".\(destination.lastPathComponent).tmp-\(getpid())-\(UInt32.random(in: 0...(.max)))"
    temporary = destination.deletingLastPathComponent().appending(path: name).path
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Self.failure(destination, "created") }
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    unlink(temporary)
  }

  package func write(_ bytes: UnsafeRawBufferPointer) throws {
    observe?(bytes)
    byteCount += bytes.count
    if buffer.count + bytes.count <= Self.bufferSize {
      buffer += bytes
    } else {
      try flush()
      try writeOut(bytes)
    }
  }

  package func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

  /// Makes the file appear under its name, durably.
  package func commit() throws {
    precondition(descriptor >= 0, "\(destination.path) was committed before")
    try flush()
    guard fsync(descriptor) == 0 else { throw Self.failure(destination, "synced") }
    let closed = close(descriptor)
    descriptor = -1
    guard closed == 0, rename(temporary, destination.path) == 0 else {
      let error = Self.failure(destination, "put in place")
      unlink(temporary)
      throw error
    }
    try Self.syncFolder(destination.deletingLastPathComponent())
  }

  /// Makes renames inside `folder` durable.
  static func syncFolder(_ folder: URL) throws {
    let descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(folder, "opened") }
    defer { close(descriptor) }
    // Some network file systems cannot sync folders and say so; the rename stands all the same.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw failure(folder, "synced") }
  }

  private func flush() throws {
    guard !buffer.isEmpty else { return }
    try buffer.withUnsafeBytes { try writeOut($0) }
    buffer.removeAll(keepingCapacity: true)
  }

  private func writeOut(_ bytes: UnsafeRawBufferPointer) throws {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw Self.failure(destination, "written") }
      done += count
    }
  }

  static func failure(_ url: URL, _ action: String) -> WeightsError {
    WeightsError(
      .output, url.relativePath, "cannot be \(action): \(String(cString: strerror(errno)))",
      "free space there, or choose a folder that can be written")
  }
}

/// A folder that appears under its name only when it is complete.
package final class DurableFolder {
  /// Where the contents are written until `commit`.
  package let url: URL
  private let destination: URL
  private let replacing: Bool
  private var committed = false

  /// A folder to become `destination`.
  ///
  /// An existing `destination` must be empty, unless `replacing`.
  package init(_ destination: URL, replacing: Bool) throws {
    self.destination = destination
    self.replacing = replacing
    let manager = FileManager.default
    let contents = try? manager.contentsOfDirectory(atPath: destination.path)
    if contents == nil && manager.fileExists(atPath: destination.path) {
      throw WeightsError(
        .output, destination.relativePath, "is a file where a folder is to be written",
        "choose another destination")
    }
    if let contents, !contents.isEmpty, !replacing {
      throw WeightsError(
        .output, destination.relativePath, "is a folder that is not empty",
        "choose another destination, or say that it is to be replaced")
    }
    let parent = destination.deletingLastPathComponent()
    let name = ".\(destination.lastPathComponent).tmp-\(getpid())-\(UInt32.random(in: 0...(.max)))"
    url = parent.appending(path: name)
    do {
      try manager.createDirectory(at: parent, withIntermediateDirectories: true)
    } catch {
      throw DurableFile.failure(parent, "created")
    }
    guard mkdir(url.path, 0o755) == 0 else { throw DurableFile.failure(destination, "created") }
  }

  deinit {
    if !committed { try? FileManager.default.removeItem(at: url) }
  }

  package func commit() throws {
    let old = url.appendingPathExtension("old")
    try DurableFile.syncFolder(url)
    // Linux renames a folder over an empty one; a full one steps aside first.
    if rename(url.path, destination.path) != 0 {
      guard replacing, errno == ENOTEMPTY || errno == EEXIST,
        rename(destination.path, old.path) == 0, rename(url.path, destination.path) == 0
      else { throw DurableFile.failure(destination, "put in place") }
    }
    committed = true
    try DurableFile.syncFolder(destination.deletingLastPathComponent())
    try? FileManager.default.removeItem(at: old)
  }
}
