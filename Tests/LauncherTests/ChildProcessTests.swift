import Foundation
import TestSupport
import Testing

/// Nothing that a test starts keeps it waiting for ever.
@Suite struct ChildProcessTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func shell(_ line: String) throws -> ChildProcess {
    try ChildProcess(
      URL(filePath: "/bin/bash"), ["-c", line], in: folder.url,
      output: folder.url.appending(path: "out").path,
      messages: folder.url.appending(path: "err").path)
  }

  @Test func `a grandchild that stays keeps nobody, and goes`() throws {
    let begun = ContinuousClock().now
    let child = try shell("sleep 1000 & echo $!; exit 7")
    #expect(child.wait(seconds: 100) == 7)
    #expect(ContinuousClock().now - begun < .seconds(60))
    let said = try String(contentsOf: folder.url.appending(path: "out"), encoding: .utf8)
    let grandchild = try #require(Int32(said.trimmingCharacters(in: .newlines)))
    // Killed, and then collected by whoever inherits it.
    for _ in 0..<2_000 where kill(grandchild, 0) == 0 { usleep(10_000) }
    #expect(kill(grandchild, 0) == -1)
  }

  @Test func `a child that does not end is killed`() throws {
    let child = try shell("trap '' TERM; while :; do sleep 1; done")
    #expect(child.wait(seconds: 0.2) == nil)
    #expect(!child.isRunning)
  }

  @Test func `a child that a signal ends has no exit code`() throws {
    #expect(try shell("kill -9 $$").wait(seconds: 100) == -1)
  }
}
