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
  private let operations: DurableOperations
  private static let bufferSize = 1 << 20

  /// `observe` sees all bytes in order, for a hash.
  package init(
    _ destination: URL, operations: DurableOperations = DurableOperations(),
    observe: ((UnsafeRawBufferPointer) -> Void)? = nil
  ) throws {
    self.destination = destination
    self.operations = operations
    self.observe = observe
    let url = DurableOperations.temporary(destination)
    try operations.gate?(.create, url.path)
    temporary = url.path
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Self.failure(destination, "created") }
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    try? operations.remove(URL(filePath: temporary))
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

  /// Makes the file appear under its name, durably; `progress` is called part by part.
  package func commit(progress: () -> Void = {}) throws {
    precondition(descriptor >= 0, "\(destination.path) was committed before")
    try flush()
    try operations.gate?(.synchronize, temporary)
    guard
      Self.synchronize(
        descriptor, path: temporary, byteCount: byteCount, progress: progress)
    else {
      throw Self.failure(destination, "synced")
    }
    let closed = close(descriptor) == 0 ? 0 : errno
    descriptor = -1
    do {
      let source = URL(filePath: temporary)
      let code = closed == 0 ? try operations.rename(source, to: destination) : closed
      guard code == 0 else { throw Self.failure(destination, "put in place", code) }
    } catch {
      try? operations.remove(URL(filePath: temporary))
      throw error
    }
    try operations.synchronizeFolder(destination.deletingLastPathComponent())
  }

  /// Bytes that are brought to the disk at a time.
  private static let synchronizedPart = 32 << 20

  /// Brings the `byteCount` bytes of the file at `path`, written through `descriptor`, to the disk; false where `errno` says why not.
  ///
  /// A slow disk takes minutes for a large file, during which `fsync` says nothing: so the data go first, part by part, with a call of
  /// `progress` after each. The corresponding C functions are `msync`, which takes a part where `fsync` takes all, and `fsync`.
  package static func synchronize(
    _ descriptor: Int32, path: String, byteCount: Int, progress: () -> Void
  ) -> Bool {
    if byteCount > synchronizedPart { synchronizeParts(of: path, byteCount, progress) }
    guard fsync(descriptor) == 0 else { return false }
    progress()
    return true
  }

  /// What fails here fails in `fsync` as well, which reports every error since the file was opened for writing.
  private static func synchronizeParts(
    of path: String, _ byteCount: Int, _ progress: () -> Void
  ) {
    let reader = open(path, O_RDONLY | O_CLOEXEC)
    guard reader >= 0 else { return }
    defer { close(reader) }
    for start in stride(from: 0, to: byteCount, by: synchronizedPart) {
      let count = min(synchronizedPart, byteCount - start)
      // Mapped, and not read: it takes no memory.
      guard let part = mmap(nil, count, PROT_READ, MAP_SHARED, reader, off_t(start)),
        part != MAP_FAILED
      else { return }
      msync(part, count, MS_SYNC)
      munmap(part, count)
      progress()
    }
  }

  private func flush() throws {
    guard !buffer.isEmpty else { return }
    try buffer.withUnsafeBytes { try writeOut($0) }
    buffer.removeAll(keepingCapacity: true)
  }

  private func writeOut(_ bytes: UnsafeRawBufferPointer) throws {
    try operations.gate?(.write, temporary)
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw Self.failure(destination, "written") }
      done += count
    }
  }

  static func failure(_ url: URL, _ action: String, _ code: Int32 = errno) -> WeightsError {
    WeightsError(
      .output, url.relativePath, "cannot be \(action): \(String(cString: strerror(code)))",
      remedy(code))
  }

  /// What helps where the system refuses with `code` to write a file.
  package static func remedy(_ code: Int32) -> String {
    switch code {
    case ENOSPC, EDQUOT, EFBIG: "free some space, or give a folder on another disk"
    case EACCES, EPERM, EROFS: "give a folder that you may write to"
    case ENOENT, ENOTDIR: "check the path"
    default: "check the disk and the path"
    }
  }
}
