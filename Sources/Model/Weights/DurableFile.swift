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

  /// Makes the file appear under its name, durably.
  package func commit() throws {
    precondition(descriptor >= 0, "\(destination.path) was committed before")
    try flush()
    try operations.gate?(.synchronize, temporary)
    guard fsync(descriptor) == 0 else { throw Self.failure(destination, "synced") }
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
      "free space there, or choose a folder that can be written")
  }
}
