import Foundation
import Model

/// `metrics.jsonl`: one line a step and one an evaluation, in the order in which they happened.
package final class MetricsLog {
  private let url: URL
  private let descriptor: Int32

  /// Opens the log of a run that continues after `step` steps.
  ///
  /// Lines past that step, and a last line that was cut off, are removed: a run that was interrupted
  /// reads like one that was not.
  package init(_ url: URL, keepingThrough step: Int) throws {
    self.url = url
    if let data = try? Data(contentsOf: url) {
      let kept = Self.lines(of: data, through: step)
      if kept != data {
        let file = try DurableFile(url)
        try file.write([UInt8](kept))
        try file.commit()
      }
    }
    descriptor = open(url.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw RunError.system(url.path, "written", errno) }
  }

  deinit { close(descriptor) }

  private static func lines(of data: Data, through step: Int) -> Data {
    struct Line: Decodable { var step: Int }
    var kept = Data()
    var start = data.startIndex
    while let end = data[start...].firstIndex(of: 0x0A) {
      let line = data[start...end]
      start = end + 1
      guard let number = try? JSONDecoder().decode(Line.self, from: line).step, number <= step
      else { continue }
      kept.append(line)
    }
    return kept
  }

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
}

/// JSON strings, written scalar by scalar.
package enum JSONText {
  /// `text` in quotes, with what JSON cannot hold escaped.
  package static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
