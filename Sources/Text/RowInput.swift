import Foundation

/// Where rows stand: in a file, which its URL names, or in memory.
package protocol RowInput {
  /// What messages call it.
  var rowName: String { get }
  /// What its name ends in, in lower case: it tells how the rows are written.
  var rowEnding: String { get }
  /// All its bytes.
  func rowBytes() throws(DataErrors) -> Data
}

/// Rows in memory, read as a file of that name and ending would be.
package struct RowBytes: RowInput, Sendable {
  package let rowName: String
  package let rowEnding: String
  private let bytes: Data

  package init(_ bytes: Data, name: String, ending: String) {
    (self.bytes, rowName, rowEnding) = (bytes, name, ending)
  }

  package func rowBytes() -> Data { bytes }
}

extension URL: RowInput {
  /// As the user named it.
  package var rowName: String { relativePath }
  package var rowEnding: String { pathExtension.lowercased() }

  /// The bytes of the file, mapped.
  package func rowBytes() throws(DataErrors) -> Data {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      let folder = deletingLastPathComponent()
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
      let near = suggestion(for: lastPathComponent, among: names.sorted())
      throw DataErrors(
        DataProblem(
          file: rowName, rule: "there is no such file",
          remedy: near.map { "did you mean \(DataProblem.quoted($0)) in the same folder?" }
            ?? "check the path; a relative one starts at the working folder"))
    }
    guard !isFolder.boolValue else {
      throw DataErrors(
        DataProblem(file: rowName, rule: "is a folder", remedy: "name a file of rows inside it"))
    }
    do {
      return try Data(contentsOf: self, options: .mappedIfSafe)
    } catch {
      throw DataErrors(
        DataProblem(
          file: rowName, rule: "cannot be read (\(error.localizedDescription))",
          remedy: "check its permissions"))
    }
  }
}

/// How the rows of a message are written as JSON, and so what answers to them is.
package enum JSONForm: Sendable, Equatable {
  /// One object, on one line or several.
  case object
  /// One array of objects.
  case array
  /// An object a line.
  case lines

  /// The form that `bytes`, which hold JSON or nearly, begin with.
  package init(of bytes: Data) {
    let space: [UInt8] = [0x20, 0x09, 0x0A, 0x0D]
    guard let start = bytes.firstIndex(where: { !space.contains($0) }) else {
      self = .object
      return
    }
    if bytes[start] == UInt8(ascii: "[") {
      self = .array
      return
    }
    // Of several lines that begin with an object, either the first holds a whole one or all make one together.
    let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.endIndex
    let hasMore = bytes[end...].contains { !space.contains($0) }
    let closes = bytes[start..<end].last { !space.contains($0) } == UInt8(ascii: "}")
    self = hasMore && closes ? .lines : .object
  }

  /// `bytes`, which have this form, as rows that messages call `name`.
  package func rows(_ bytes: Data, name: String) -> RowBytes {
    switch self {
    case .array: return RowBytes(bytes, name: name, ending: "json")
    case .lines: return RowBytes(bytes, name: name, ending: "jsonl")
    case .object:
      // On one line it is the only line; on several the only element of an array.
      let text = bytes.prefix(
        through: bytes.lastIndex { ![0x0A, 0x0D].contains($0) } ?? bytes.endIndex - 1)
      guard text.contains(0x0A) else { return RowBytes(bytes, name: name, ending: "jsonl") }
      return RowBytes(Data("[".utf8) + bytes + Data("]".utf8), name: name, ending: "json")
    }
  }

  /// The answers to the rows of a message of this form, each one JSON object.
  package func text(_ answers: [String]) -> String {
    switch self {
    case .object, .lines: answers.joined(separator: "\n") + "\n"
    case .array: "[\(answers.joined(separator: ","))]\n"
    }
  }
}
