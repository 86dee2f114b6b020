import Foundation
import Model

/// The places in a run's directory that do not belong to the checkpoint store.
package struct RunDirectory: Sendable {
  package let url: URL

  package var recipe: URL { url.appending(path: "recipe.yaml") }
  package var dataReport: URL { url.appending(path: "data-report.json") }
  package var metrics: URL { url.appending(path: "metrics.jsonl") }
  package var best: URL { url.appending(path: "best") }

  /// The directory at `url`, which need not exist.
  ///
  /// - Throws: `RunError` if it is a file, or holds a run and `resumes` is false.
  package init(_ url: URL, resumes: Bool) throws {
    self.url = url.absoluteURL
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder), !isFolder.boolValue
    {
      throw RunError(
        .inputOutput, "\(url.path) is a file, and a run is a directory. Give another with --run.")
    }
    if !resumes, holdsRun { throw RunError.exists(url.path) }
  }

  /// Removes what killed writers of these files left, or puts back what they were replacing; returns a sentence for each.
  ///
  /// Only for whoever holds the run's lock. Files of other names may be another program's, which no lock keeps away: they stay.
  func clearLeftovers() throws -> [String] {
    try DurableLeftovers.clear(
      url, of: [best, recipe, dataReport, metrics].map(\.lastPathComponent))
  }

  /// Whether a run has been written here: a run writes its recipe when its weights are in place, and a copy of a run may lack it.
  package var holdsRun: Bool {
    let files = [recipe, metrics, best, url.appending(path: CheckpointStore.latestName)]
    return files.contains { FileManager.default.fileExists(atPath: $0.path) }
      || (try? CheckpointStore(reading: url).steps.isEmpty) == false
  }
}

/// Whoever read our output has enough of it.
package struct BrokenPipe: Error {}

/// Writing all of a buffer to a descriptor.
package enum FileDescriptorOutput {
  /// Writes `data`, however many calls that takes.
  ///
  /// - Throws: `BrokenPipe`, or `RunError` that names `name`.
  package static func write(_ data: Data, to descriptor: Int32, name: String) throws {
    try data.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let written = Foundation.write(
          descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
        if written < 0 {
          switch errno {
          case EINTR: continue
          case EPIPE: throw BrokenPipe()
          case let code: throw RunError.system(name, "written", code)
          }
        }
        done += written
      }
    }
  }
}
