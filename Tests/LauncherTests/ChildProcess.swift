import Foundation

/// A child process at the head of a process group of its own, with files for its streams.
///
/// Foundation's `Process` counts a child as running until every descendant has ended too, so a test that leaves a grandchild behind
/// would hang; this one waits for the child alone, for so long at most, and ends what is left of its group.
final class ChildProcess: @unchecked Sendable {
  let id: pid_t
  /// What `waitpid` said, once it has ended; one thread at a time asks.
  private var waitStatus: Int32?

  /// Starts `program` in `folder`.
  ///
  /// - Throws: `POSIXError`.
  init(
    _ program: URL, _ arguments: [String], in folder: URL, input: String = "/dev/null",
    output: String, messages: String
  ) throws {
    func check(_ code: Int32) throws {
      if code != 0 { throw POSIXError(POSIXErrorCode(rawValue: code) ?? .EINVAL) }
    }
    var actions = posix_spawn_file_actions_t()
    try check(posix_spawn_file_actions_init(&actions))
    defer { posix_spawn_file_actions_destroy(&actions) }
    try check(posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0))
    for (number, file) in [(1, output), (2, messages)] {
      try check(
        posix_spawn_file_actions_addopen(
          &actions, Int32(number), file, O_WRONLY | O_CREAT | O_APPEND, 0o600))
    }
    // Of the test's own files it gets none; those that are not open do not matter.
    for number in 3..<Int32(clamping: min(1024, sysconf(Int32(_SC_OPEN_MAX)))) {
      try check(posix_spawn_file_actions_addclose(&actions, number))
    }
    var attributes = posix_spawnattr_t()
    try check(posix_spawnattr_init(&attributes))
    defer { posix_spawnattr_destroy(&attributes) }
    try check(posix_spawnattr_setpgroup(&attributes, 0))
    try check(posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP)))
    // `env` changes the folder and becomes the program.
    let env = "/usr/bin/env"
    var texts = ([env, "-C", folder.path, program.path] + arguments).map { strdup($0) } + [nil]
    defer { for text in texts { free(text) } }
    var started: pid_t = 0
    try check(posix_spawn(&started, env, &actions, &attributes, &texts, environ))
    id = started
  }

  deinit {
    if isRunning { end() }
  }

  var isRunning: Bool {
    if waitStatus == nil {
      var status: Int32 = 0
      if waitpid(id, &status, WNOHANG) == id { waitStatus = status }
    }
    return waitStatus == nil
  }

  /// Returns its exit code, −1 if a signal ended it; nil if after `seconds` it had to be killed.
  func wait(seconds: Double) -> Int32? {
    let begun = ContinuousClock().now
    while isRunning, ContinuousClock().now - begun < .seconds(seconds) { usleep(2_000) }
    let hasEnded = !isRunning
    end()
    guard hasEnded, let waitStatus else { return nil }
    return waitStatus & 0x7F == 0 ? waitStatus >> 8 & 0xFF : -1
  }

  /// Kills it and what is left of its group.
  private func end() {
    kill(-id, SIGKILL)
    while isRunning { usleep(2_000) }
  }
}
