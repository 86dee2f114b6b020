import Foundation
import TestSupport
import Testing

/// The built program, run as a user runs it.
enum Program {
  /// Beside this test bundle.
  static let url: URL = {
    let bundle =
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(filePath: bundle).deletingLastPathComponent().appending(path: "lockstep")
  }()

  struct Result {
    let status: Int32
    let output: String
    let messages: String
    var lines: [String] { output.split(separator: "\n").map(String.init) }
  }

  /// Runs `lockstep arguments` in `folder` with `input` on standard input, to its end.
  static func run(_ arguments: [String], in folder: URL, input: Data = Data()) throws -> Result {
    try run(url, arguments, in: folder, input: input)
  }

  /// Runs a line of bash in which `$LOCKSTEP` is the program.
  ///
  /// In it and in what it starts `await CONDITION` waits until the condition is true, half a minute at most: then that shell ends
  /// with 99, so that a condition that never comes fails a test instead of stopping it.
  static func shell(_ line: String, in folder: URL) throws -> Result {
    let prelude = """
      LOCKSTEP='\(url.path)'
      await() {
        for _ in $(seq 3000); do if eval "$1"; then return; fi; sleep 0.01; done
        echo "waited in vain: $1" >&2; kill $(jobs -p) 2>/dev/null; exit 99
      }
      export -f await

      """
    return try run(URL(filePath: "/bin/bash"), ["-c", prelude + line], in: folder)
  }

  /// What no run of the tests takes, on however loaded a machine.
  private static let patience = 300.0

  private static func run(
    _ program: URL, _ arguments: [String], in folder: URL, input: Data = Data()
  ) throws -> Result {
    // Files instead of pipes: nothing can fill up and wait.
    let names = ["in", "out", "err"].map {
      folder.appending(path: ".\(UUID().uuidString).\($0)")
    }
    defer { for name in names { try? FileManager.default.removeItem(at: name) } }
    try input.write(to: names[0])
    let process = try ChildProcess(
      program, arguments, in: folder, input: names[0].path, output: names[1].path,
      messages: names[2].path)
    let status = process.wait(seconds: patience)
    func text(_ name: URL) throws -> String {
      String(decoding: try Data(contentsOf: name), as: UTF8.self)
    }
    let result = Result(
      status: status ?? -1, output: try text(names[1]), messages: try text(names[2]))
    if status == nil {
      Issue.record(
        "\(arguments) has not ended after \(patience) s: \(result.output)\(result.messages)")
    }
    return result
  }
}
