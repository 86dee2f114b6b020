import Foundation

/// What durable writers ask of the file system, every operation through one gate.
///
/// Tests stand at the gate: an operation that throws there has not happened, as if the disk had refused it or the process
/// had been killed before it.
package struct DurableOperations: Sendable {
  package enum Operation: Sendable, Equatable {
    case create, write, synchronize, rename, exchange, remove
  }

  /// Called before every operation with the path it is about to change.
  package var gate: (@Sendable (Operation, _ path: String) throws -> Void)?
  /// Whether two folders may change places; false stands for a file system that cannot do that.
  package var exchanges: Bool

  package init(
    exchanges: Bool = true, gate: (@Sendable (Operation, _ path: String) throws -> Void)? = nil
  ) {
    self.exchanges = exchanges
    self.gate = gate
  }

  /// A name beside `destination` that nobody else writes to; `DurableLeftovers` knows it again.
  static func temporary(_ destination: URL) -> URL {
    destination.deletingLastPathComponent().appending(
      path: ".\(destination.lastPathComponent).tmp-\(getpid())-\(UInt32.random(in: 0...(.max)))")
  }

  /// Creates the folder `url`, of which `destination` is to be made.
  func createFolder(_ url: URL, for destination: URL) throws {
    try gate?(.create, url.path)
    guard mkdir(url.path, 0o755) == 0 else { throw DurableFile.failure(destination, "created") }
  }

  /// Renames `source`, replacing a file or an empty folder `target`; returns 0 or the system's error number.
  func rename(_ source: URL, to target: URL) throws -> Int32 {
    try gate?(.rename, target.path)
    return Foundation.rename(source.path, target.path) == 0 ? 0 : errno
  }

  /// Gives two folders each other's name, in one step; returns 0 or the system's error number, of which `cannotExchange`
  /// says that this file system, kernel or C library does not know how.
  func exchange(_ a: URL, _ b: URL) throws -> Int32 {
    guard exchanges, let renameat2 = Self.renameat2 else { return ENOSYS }
    try gate?(.exchange, b.path)
    return renameat2(AT_FDCWD, a.path, AT_FDCWD, b.path, Self.renameExchange) == 0 ? 0 : errno
  }

  static let cannotExchange: Set<Int32> = [ENOSYS, EINVAL, EOPNOTSUPP]

  private typealias Renameat2 =
    @convention(c) (
      Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32
    ) -> Int32

  /// `renameat2(2)`, which glibc has since 2.28 and declares for `_GNU_SOURCE` alone: Swift's Glibc does not import it.
  private static let renameat2: Renameat2? = dlsym(nil, "renameat2").map {
    unsafeBitCast($0, to: Renameat2.self)
  }

  /// `RENAME_EXCHANGE` of linux/fs.h.
  private static let renameExchange: UInt32 = 2

  /// Makes renames inside `folder` durable.
  func synchronizeFolder(_ folder: URL) throws {
    try gate?(.synchronize, folder.path)
    let descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw DurableFile.failure(folder, "opened") }
    defer { close(descriptor) }
    // Some network file systems cannot sync folders and say so; the rename stands all the same.
    guard fsync(descriptor) == 0 || errno == EINVAL else {
      throw DurableFile.failure(folder, "synced")
    }
  }

  /// Removes a file, or a folder with all that is in it; fine if it is not there.
  func remove(_ url: URL) throws {
    guard access(url.path, F_OK) == 0 else { return }
    try gate?(.remove, url.path)
    do {
      try FileManager.default.removeItem(at: url)
    } catch {
      throw DurableFile.failure(url, "removed")
    }
  }
}
