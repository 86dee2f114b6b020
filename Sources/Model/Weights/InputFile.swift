import Foundation

/// A file opened for reading at given places.
///
/// Bytes are read, not mapped: a mapping counts towards the process's memory beside the arena that
/// it fills, and a file that shrinks under a mapping kills the process instead of throwing.
package final class InputFile: Sendable {
  /// The path, as errors name it.
  package let path: String
  package let byteCount: Int
  private let descriptor: Int32

  package init(_ url: URL) throws {
    path = url.relativePath
    // A named pipe would wait for a writer before it is known to be none of ours.
    descriptor = open(url.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw WeightsError(
        .missing, path, "cannot be opened: \(String(cString: strerror(errno)))",
        "check the path and its permissions")
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw WeightsError(.format, path, "is not a regular file", "name a file of weights")
    }
    byteCount = Int(status.st_size)
  }

  deinit { close(descriptor) }

  /// Fills `buffer` from byte `offset` on.
  package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
    let available = max(0, byteCount - max(0, offset))
    guard offset >= 0, buffer.count <= available else {
      throw WeightsError.truncated(
        path, "the part at byte \(offset)", needed: buffer.count, available: available)
    }
    var done = 0
    while done < buffer.count {
      let count = pread(
        descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done,
        off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        let reason = count == 0 ? "it has become shorter" : String(cString: strerror(errno))
        throw WeightsError(
          .truncated, path, "cannot be read at byte \(offset + done): \(reason)",
          WeightsError.fetchAgain)
      }
      done += count
    }
  }

  /// The `count` bytes from `offset` on.
  package func bytes(at offset: Int, count: Int) throws -> [UInt8] {
    // Checked before memory is asked for: `count` may come from a file.
    guard count >= 0, offset >= 0, count <= byteCount - min(offset, byteCount) else {
      throw WeightsError.truncated(
        path, "the part at byte \(offset)", needed: count, available: max(0, byteCount - offset))
    }
    return try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      try read(at: offset, into: UnsafeMutableRawBufferPointer(buffer))
      initialized = count
    }
  }

  /// Calls `body` with the `count` bytes from `offset` on, in pieces of `piece` bytes (the last may be shorter).
  package func stream(
    at offset: Int, count: Int, piece: Int = 1 << 19,
    _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    guard count > 0 else { return }
    let scratch = UnsafeMutableRawBufferPointer.allocate(
      byteCount: min(piece, count), alignment: 64)
    defer { scratch.deallocate() }
    var done = 0
    while done < count {
      let part = UnsafeMutableRawBufferPointer(rebasing: scratch[0..<min(piece, count - done)])
      try read(at: offset + done, into: part)
      try body(UnsafeRawBufferPointer(part))
      done += part.count
    }
  }
}

extension InputFile {
  /// All bytes of a small file; `limit` keeps a mistaken path from filling memory.
  package static func contents(of url: URL, limit: Int = 1 << 28) throws -> [UInt8] {
    let file = try InputFile(url)
    guard file.byteCount <= limit else {
      throw WeightsError(
        .format, file.path, "holds \(file.byteCount) bytes where at most \(limit) make sense",
        "name the right file")
    }
    return try file.bytes(at: 0, count: file.byteCount)
  }
}
