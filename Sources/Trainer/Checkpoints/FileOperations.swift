import Crypto
import Foundation
import Model

/// What the checkpoint store asks of the file system, every operation through one gate.
///
/// Tests stand at the gate: an operation that throws there has not happened, as if the disk had
/// refused it or the process had been killed before it.
package struct FileOperations: Sendable {
  package enum Operation: Sendable, Equatable {
    case createFolder, create, synchronize, rename, remove
    /// The next so many bytes.
    case write(Int)
  }

  /// Called before every operation with the path it is about to change.
  package var gate: (@Sendable (Operation, _ path: String) throws -> Void)?

  package init(gate: (@Sendable (Operation, _ path: String) throws -> Void)? = nil) {
    self.gate = gate
  }

  /// Creates the folder `url`; its parent must be there.
  func createFolder(_ url: URL) throws {
    try gate?(.createFolder, url.path)
    guard mkdir(url.path, 0o777) == 0 else {
      throw CheckpointError.system(url.relativePath, "cannot be created", code: errno)
    }
  }

  /// Creates the folder `url` and those above it that are missing, and makes their entries last.
  func createFolders(_ url: URL) throws {
    guard !FileManager.default.fileExists(atPath: url.path) else { return }
    let parent = url.deletingLastPathComponent()
    if parent.path != url.path { try createFolders(parent) }
    try createFolder(url)
    try synchronizeFolder(parent)
  }

  /// The names in a folder, sorted.
  static func entries(_ url: URL) throws -> [String] {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: url.path).sorted()
    } catch {
      throw CheckpointError(
        .system, url.relativePath, "cannot be listed", "make the folder readable")
    }
  }

  /// Renames `source`, replacing a file (not a folder) called `target`.
  func rename(_ source: URL, to target: URL) throws {
    try gate?(.rename, target.path)
    guard Foundation.rename(source.path, target.path) == 0 else {
      throw CheckpointError.system(target.relativePath, "cannot get its name", code: errno)
    }
  }

  /// Makes the entries of the folder `url` last.
  func synchronizeFolder(_ url: URL) throws {
    try gate?(.synchronize, url.path)
    let descriptor = open(url.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw CheckpointError.system(url.relativePath, "cannot be opened", code: errno)
    }
    defer { close(descriptor) }
    // Some network file systems know no fsync of folders and say so with EINVAL: there it is not needed.
    guard fsync(descriptor) == 0 || errno == EINVAL else {
      throw CheckpointError.system(url.relativePath, "cannot be synchronised", code: errno)
    }
  }

  /// Removes a file, a link (and not what it leads to), or a folder with all that is in it; fine if it is not there.
  func remove(_ url: URL) throws {
    var status = stat()
    guard lstat(url.path, &status) == 0 else {
      if errno == ENOENT { return }
      throw CheckpointError.system(url.relativePath, "cannot be removed", code: errno)
    }
    let isFolder = status.st_mode & S_IFMT == S_IFDIR
    if isFolder {
      for name in try Self.entries(url) { try remove(url.appending(path: name)) }
    }
    try gate?(.remove, url.path)
    guard (isFolder ? rmdir(url.path) : unlink(url.path)) == 0 || errno == ENOENT else {
      throw CheckpointError.system(url.relativePath, "cannot be removed", code: errno)
    }
  }

  /// A file that was written and may not have reached the disk.
  final class WrittenFile: @unchecked Sendable {
    let url: URL
    let bytes: Int
    let sha256: String
    /// -1 once it is closed.
    fileprivate var descriptor: Int32

    fileprivate init(_ url: URL, bytes: Int, sha256: String, descriptor: Int32) {
      self.url = url
      self.bytes = bytes
      self.sha256 = sha256
      self.descriptor = descriptor
    }

    deinit { if descriptor >= 0 { close(descriptor) } }
  }

  /// Creates the file `url` and calls `body` with a function that appends to it; `synchronize` makes it last.
  ///
  /// The digest is computed on the way. `progress` is called after every piece.
  func write(
    _ url: URL, progress: @escaping () -> Void = {},
    _ body: (_ append: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
  ) throws -> WrittenFile {
    try gate?(.create, url.path)
    let descriptor = open(url.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw CheckpointError.system(url.relativePath, "cannot be created", code: errno)
    }
    var isOpen = true
    defer { if isOpen { close(descriptor) } }
    var hash = SHA256()
    var total = 0
    try body { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        // In pieces that are still in cache when they are written after they were hashed.
        let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 18))
        hash.update(bufferPointer: piece)
        try append(piece, to: descriptor, url)
        total += piece.count
        progress()
        rest = rest.dropFirst(piece.count)
      }
    }
    isOpen = false
    return WrittenFile(url, bytes: total, sha256: hash.finalize().hex, descriptor: descriptor)
  }

  /// Returns when `file` is on the disk, and closes it; `progress` is called part by part.
  func synchronize(_ file: WrittenFile, progress: () -> Void = {}) throws {
    try gate?(.synchronize, file.url.path)
    let descriptor = file.descriptor
    guard
      DurableFile.synchronize(
        descriptor, path: file.url.path, byteCount: file.bytes, progress: progress)
    else {
      throw CheckpointError.system(
        file.url.relativePath, "cannot be written to the disk", code: errno)
    }
    file.descriptor = -1
    guard close(descriptor) == 0 else {
      throw CheckpointError.system(
        file.url.relativePath, "cannot be written to the disk", code: errno)
    }
  }

  private func append(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, _ url: URL) throws {
    try gate?(.write(bytes.count), url.path)
    var rest = bytes[...]
    while !rest.isEmpty {
      let buffer = UnsafeRawBufferPointer(rebasing: rest)
      let count = Foundation.write(descriptor, buffer.baseAddress, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        let code = count == 0 ? ENOSPC : errno
        throw CheckpointError.system(url.relativePath, "cannot be written", code: code)
      }
      rest = rest.dropFirst(count)
    }
  }
}

extension SHA256Digest {
  /// The digest in lower-case hexadecimal digits.
  var hex: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
      decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}
