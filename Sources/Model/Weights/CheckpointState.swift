import Foundation

/// The text file `checkpoint` in which TensorFlow notes the latest checkpoint of a folder
/// (a CheckpointState message in protocol buffers' text form).
enum CheckpointState {
  /// The prefix the file names, or nil when there is no such file.
  static func latest(in folder: URL) throws -> URL? {
    let url = folder.appending(path: "checkpoint")
    guard FileManager.default.fileExists(atPath: url.path) else { return nil }
    let file = url.relativePath
    let bytes = try InputFile.contents(of: url, limit: 1 << 24)
    for line in bytes.split(separator: 0x0A) {
      let line = line.drop { $0 == 0x20 || $0 == 0x09 }
      guard line.starts(with: "model_checkpoint_path:".utf8) else { continue }
      guard let open = line.firstIndex(of: 0x22), let close = line.lastIndex(of: 0x22),
        open < close,
        let path = unescaped(line[(open + 1)..<close])
      else { throw WeightsError.malformed(file, "model_checkpoint_path has no text in quotes") }
      // Relative names start from the folder; an absolute one of another machine is looked up here.
      let named = path.hasPrefix("/") ? URL(filePath: path) : folder.appending(path: path)
      let here = folder.appending(path: named.lastPathComponent)
      for candidate in [named, here]
      where FileManager.default.fileExists(atPath: candidate.path + ".index") {
        return candidate
      }
      throw WeightsError(
        .missing, file, "names the checkpoint \"\(path)\", which is not there",
        "name the prefix of the checkpoint to read")
    }
    throw WeightsError.malformed(file, "holds no model_checkpoint_path")
  }

  /// The file's text for the only checkpoint `name` of a folder.
  static func text(_ name: String) -> String {
    let escaped = name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    return "model_checkpoint_path: \"\(escaped)\"\nall_model_checkpoint_paths: \"\(escaped)\"\n"
  }

  /// The text of a quoted string: octal escapes (as written for other than ASCII) and quotes.
  private static func unescaped(_ text: ArraySlice<UInt8>) -> String? {
    var bytes: [UInt8] = []
    var rest = text
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        bytes.append(byte)
        continue
      }
      let digits = rest.prefix(3).prefix { (0x30...0x37).contains($0) }
      if digits.isEmpty {
        guard let next = rest.popFirst() else { return nil }
        bytes.append(next)
      } else {
        bytes.append(UInt8(truncatingIfNeeded: digits.reduce(0) { $0 << 3 | Int($1 - 0x30) }))
        rest = rest.dropFirst(digits.count)
      }
    }
    let name = String(validating: bytes, as: UTF8.self)
    return name?.isEmpty == true ? nil : name
  }
}
