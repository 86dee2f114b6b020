import Foundation
import TestSupport

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
  static func shell(_ line: String, in folder: URL) throws -> Result {
    try run(URL(filePath: "/bin/bash"), ["-c", "LOCKSTEP='\(url.path)'; \(line)"], in: folder)
  }

  private static func run(
    _ program: URL, _ arguments: [String], in folder: URL, input: Data = Data()
  ) throws -> Result {
    let process = Process()
    process.executableURL = program
    process.arguments = arguments
    process.currentDirectoryURL = folder
    // Files instead of pipes: nothing can fill up and wait.
    let names = ["in", "out", "err"].map {
      folder.appending(path: ".\(UUID().uuidString).\($0)")
    }
    defer { for name in names { try? FileManager.default.removeItem(at: name) } }
    try input.write(to: names[0])
    for name in names[1...] { try Data().write(to: name) }
    process.standardInput = try FileHandle(forReadingFrom: names[0])
    process.standardOutput = try FileHandle(forWritingTo: names[1])
    process.standardError = try FileHandle(forWritingTo: names[2])
    try process.run()
    process.waitUntilExit()
    func text(_ name: URL) throws -> String {
      String(decoding: try Data(contentsOf: name), as: UTF8.self)
    }
    return Result(
      status: process.terminationReason == .exit ? process.terminationStatus : -1,
      output: try text(names[1]), messages: try text(names[2]))
  }
}
