import Foundation
import Model

/// `metrics.jsonl`: one line a step and one an evaluation, in the order in which they happened.
package final class MetricsLog: Sendable {
  private let url: URL
  private let descriptor: Int32

  /// Opens the log of a run that continues after `step` steps.
  ///
  /// Lines from the first one past that step on, or with its evaluations where these are to be made again, and a last line that was cut off, are removed: a run that was interrupted
  /// reads like one that was not. `progress` is called while a long log is read.
  ///
  /// - Throws: `RunError` where it cannot be read or written.
  package init(
    _ url: URL, keepingThrough step: Int, withEvaluations: Bool = true, progress: () -> Void = {}
  ) throws {
    self.url = url
    descriptor = open(url.path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw RunError.system(url.path, "written", errno) }
    struct Line: Decodable {
      var step: Int
      var split: String?
    }
    let decoder = JSONDecoder()
    let file = try InputFile(url)
    var kept = 0
    try file.lines(progress: progress) { line in
      // What is no line of ours says nothing of a step, and stays.
      if let found = try? decoder.decode(Line.self, from: line),
        found.step > step || found.step == step && found.split != nil && !withEvaluations
      {
        return false
      }
      kept += line.count + 1
      return true
    }
    guard kept < file.byteCount else { return }
    guard ftruncate(descriptor, off_t(kept)) == 0 else {
      throw RunError.system(url.path, "shortened", errno)
    }
  }

  deinit { close(descriptor) }

  /// What a line holds: numbers by name, in the order of writing.
  package enum Value: Sendable, Equatable {
    case integer(Int)
    case number(Double)
    case numbers([Double])
    case text(String)

    /// As JSON; a number that JSON cannot say is null.
    var json: String {
      switch self {
      case .integer(let value): "\(value)"
      case .number(let value): value.isFinite ? "\(value)" : "null"
      case .numbers(let values):
        "[\(values.map { Value.number($0).json }.joined(separator: ","))]"
      case .text(let value): JSONText.quoted(value)
      }
    }
  }

  /// Appends one line; it is in the file when this returns.
  package func write(_ fields: [(String, Value)]) throws {
    let members = fields.map { "\"\($0.0)\":\($0.1.json)" }
    let line = "{\(members.joined(separator: ","))}\n"
    try FileDescriptorOutput.write(Data(line.utf8), to: descriptor, name: url.path)
  }

  /// Returns when the lines written are on the disk; any thread may ask for it.
  func synchronize() throws {
    // Special files (EINVAL) have no disk.
    guard fdatasync(descriptor) == 0 || errno == EINVAL else {
      throw RunError.system(url.path, "written to the disk", errno)
    }
  }
}

extension InputFile {
  /// A line of a log is some hundred bytes, and eight for each leaf.
  private static let longestLine = 1 << 24

  /// Calls `body` with each line that has its line end (which is not in it), from the first on, while it returns true.
  ///
  /// A few hundred KiB are in memory at a time. `progress` is called after each piece of the file.
  ///
  /// - Throws: `RunError` where there are no lines.
  func lines(progress: () -> Void = {}, _ body: (_ line: Data) throws -> Bool) throws {
    struct End: Error {}
    var rest = Data()
    do {
      try stream(at: 0, count: byteCount) { piece in
        rest.append(contentsOf: piece)
        var start = rest.startIndex
        while let end = rest[start...].firstIndex(of: 0x0A) {
          guard try body(rest[start..<end]) else { throw End() }
          start = end + 1
        }
        rest = Data(rest[start...])
        guard rest.count <= Self.longestLine else {
          throw RunError.damaged(path, "a line is longer than \(Self.longestLine) bytes")
        }
        progress()
      }
    } catch is End {}
  }
}
