import Foundation

/// A folder that appears under its name only when it is complete.
///
/// Whenever the process is killed, the name stands for the old folder or for the new one, whole, on file systems that can exchange
/// two folders (ext4, XFS, Btrfs, tmpfs). On others the old one steps aside for the moment between two renames; who is killed
/// there leaves it under a hidden name, from which `DurableLeftovers` puts it back.
package final class DurableFolder {
  /// Where the contents are written until `commit`; the former contents afterwards, until they are removed.
  package let url: URL
  private let destination: URL
  private let replacing: Bool
  private let operations: DurableOperations
  private var isInPlace = false

  /// A folder to become `destination`.
  ///
  /// An existing `destination` must be empty, unless `replacing`.
  package init(
    _ destination: URL, replacing: Bool, operations: DurableOperations = DurableOperations()
  ) throws {
    self.destination = destination
    self.replacing = replacing
    self.operations = operations
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
        "choose another destination, or replace it (--replace)")
    }
    let parent = destination.deletingLastPathComponent()
    url = DurableOperations.temporary(destination)
    do {
      try manager.createDirectory(at: parent, withIntermediateDirectories: true)
    } catch {
      throw DurableFile.failure(parent, "created")
    }
    try operations.createFolder(url, for: destination)
  }

  deinit {
    // What cannot be removed now is a leftover for the next writer.
    try? operations.remove(url)
    if isInPlace { try? operations.remove(old) }
  }

  /// Makes the folder appear under its name, durably.
  ///
  /// - Throws: `WeightsError`; the former contents are under the name then, or, if only the last sync failed, the new ones.
  package func commit() throws {
    precondition(!isInPlace, "\(destination.path) was committed before")
    try operations.synchronizeFolder(url)
    // Linux renames a folder over an empty one; with a full one it changes places.
    var code = try operations.rename(url, to: destination)
    if replacing, code == ENOTEMPTY || code == EEXIST {
      code = try operations.exchange(url, destination)
      if DurableOperations.cannotExchange.contains(code) { code = try stepAside() }
    }
    guard code == 0 else { throw DurableFile.failure(destination, "put in place", code) }
    isInPlace = true
    try operations.synchronizeFolder(destination.deletingLastPathComponent())
  }

  /// Where the former contents are between two renames.
  private var old: URL { url.appendingPathExtension(DurableLeftovers.steppedAside) }

  /// Replaces the destination by two renames; returns 0 or the system's error number, with the former contents back in place.
  private func stepAside() throws -> Int32 {
    let code = try operations.rename(destination, to: old)
    guard code == 0 else { return code }
    let failure: Result<Int32, any Error> = Result {
      try operations.rename(url, to: destination)
    }
    if case .success(0) = failure { return 0 }
    let restored = try operations.rename(old, to: destination)
    guard restored == 0 else {
      throw WeightsError(
        .output, destination.relativePath,
        "cannot be put in place, and its former contents cannot get their name back: \(String(cString: strerror(restored)))",
        "rename \(old.lastPathComponent) to \(destination.lastPathComponent)")
    }
    return try failure.get()
  }
}

/// What durable writers leave behind that are killed.
package enum DurableLeftovers {
  static let steppedAside = "old"

  /// Puts back or removes in `folder` what killed writers of `names` left; returns a sentence for each.
  ///
  /// Only for a caller who knows that nobody is writing them.
  /// - Throws: `WeightsError` if something cannot be removed.
  package static func clear(
    _ folder: URL, of names: [String], operations: DurableOperations = DurableOperations()
  ) throws -> [String] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    var notices: [String] = []
    // Contents that stepped aside come first: their name may be free.
    let found = entries.sorted().compactMap { entry in
      names.first { isLeftover(entry, of: $0) }.map { (entry: entry, name: $0) }
    }.sorted { hasSteppedAside($0.entry) && !hasSteppedAside($1.entry) }
    for (entry, name) in found {
      let url = folder.appending(path: entry), target = folder.appending(path: name)
      if hasSteppedAside(entry), access(target.path, F_OK) != 0 {
        let code = try operations.rename(url, to: target)
        guard code == 0 else { throw DurableFile.failure(target, "put back", code) }
        try operations.synchronizeFolder(folder)
        notices.append("\(target.relativePath): put back after a writer was ended replacing it.")
      } else {
        try operations.remove(url)
        notices.append("\(url.relativePath): removed, left by a writer that was ended.")
      }
    }
    return notices
  }

  private static func hasSteppedAside(_ entry: String) -> Bool {
    entry.hasSuffix(".\(steppedAside)")
  }

  /// Whether `entry` is a name that `DurableOperations.temporary` makes of `name`.
  private static func isLeftover(_ entry: String, of name: String) -> Bool {
    let prefix = ".\(name).tmp-"
    guard entry.hasPrefix(prefix) else { return false }
    var rest = entry.dropFirst(prefix.count)
    if hasSteppedAside(entry) { rest = rest.dropLast(steppedAside.count + 1) }
    let numbers = rest.split(separator: "-", omittingEmptySubsequences: false)
    return numbers.count == 2 && numbers.allSatisfy { UInt32($0) != nil }
  }
}
