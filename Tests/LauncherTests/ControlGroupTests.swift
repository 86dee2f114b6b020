import Foundation
import TestSupport
import Testing
import lockstep

/// Limits of control groups, read from made-up hierarchies.
struct ControlGroupTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// The groups of a process whose `/proc/self/cgroup` is `membership`, with `files` in the hierarchies.
  private func groups(_ membership: String, _ files: [String: String]) throws -> ControlGroups {
    for (path, text) in files {
      let url = folder.url.appending(path: "groups/\(path)")
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }
    let list = folder.url.appending(path: "membership")
    try Data(membership.utf8).write(to: list)
    return ControlGroups(root: folder.url.appending(path: "groups").path, membership: list.path)
  }

  @Test func `version 2: the tightest of the groups from the process' own to the root holds`()
    throws
  {
    let files = [
      "job/memory.max": "9000\n", "job/memory.current": "4000\n",
      "job/memory.stat": "anon 3000\ninactive_file 500\nactive_file 500\n",
      "job/step/memory.max": "max\n", "job/step/memory.current": "4000\n",
      "job/step/task/memory.max": "8000\n", "job/step/task/memory.current": "1000\n",
      "job/cpu.max": "250000 100000\n", "job/step/cpu.max": "max 100000\n",
      "other/memory.max": "1\n", "other/cpu.max": "1 100000\n",
    ]
    let found = try groups("0::/job/step/task\n", files)
    #expect(found.availableMemory == 9000 - (4000 - 500))
    #expect(found.processors == 3)
    let step = try groups("0::/job/step\n", ["job/step/cpu.max": "50000 100000"])
    #expect(step.processors == 1)
  }

  @Test func `version 1: each controller has a hierarchy of its own`() throws {
    let found = try groups(
      "9:name=systemd:/x\n4:memory:/job\n3:cpu,cpuacct:/job/task\n0::/\n",
      [
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/job/memory.limit_in_bytes": "7000", "memory/job/memory.usage_in_bytes": "2000",
        "memory/job/memory.stat": "inactive_file 9\ntotal_inactive_file 300",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/job/cpu.cfs_quota_us": "400000",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        "name=systemd/x/memory.limit_in_bytes": "1",
      ])
    #expect(found.availableMemory == 7000 - (2000 - 300))
    #expect(found.processors == 4)
  }

  @Test func `in a container, where the path is the host's, the container's own limits hold`()
    throws
  {
    let found = try groups(
      "4:memory:/docker/5f\n0::/../../kubepods/pod7\n",
      [
        "memory/memory.limit_in_bytes": "5000", "memory/memory.usage_in_bytes": "6000",
        "cpu.max": "100000 100000",
      ])
    #expect(found.availableMemory == 0)
    #expect(found.processors == 1)
  }

  @Test(arguments: [
    "", "0::/job\n", "no colons at all\n", "0:/job\n", "4:memory\n", "\u{0}\u{1}::::\n",
  ])
  func `without limits, or with files that say nothing, there are none`(membership: String) throws {
    let found = try groups(
      membership,
      [
        "job/memory.max": "plenty", "job/cpu.max": "0 0", "cpu.max": "", "memory.max": "max\n",
        "memory.current": "-3",
      ])
    #expect(found.availableMemory == nil)
    #expect(found.processors == nil)
  }

  /// Real groups, one inside of the other: root may make them, where the system lets it.
  @Test(
    .enabled(
      if: RealGroups.isPossible,
      "control groups cannot be made here: that needs root and a hierarchy it may write"))
  func `doctor sees the memory and the processors that are left to a group`() throws {
    let result = try Program.shell(
      """
      \(RealGroups.make)
      sh -c 'for g in $0; do echo $$ >$g/inner/cgroup.procs || exit 1; done; exec "$1" doctor' "$groups" "$LOCKSTEP"
      echo "ended with $?"
      """, in: folder.url)
    #expect(result.lines.contains("ended with 69"), "\(result)")
    #expect(result.messages.contains(#/Only [23]\d\d MB of memory are available/#), "\(result)")
    #expect(result.lines.contains { $0.contains(#/^CPU .*, 1 usable/#) }, "\(result)")
  }
}

private enum RealGroups {
  /// Makes groups of either version with 400 MB and one processor, each with a group `inner`, and removes them at the end.
  static let make = """
    set -e
    groups=
    trap 'for g in $groups; do rmdir $g/inner $g; done' EXIT
    root=/sys/fs/cgroup name=lockstep-test-$$
    if [ -e $root/memory/memory.limit_in_bytes ]; then
      for c in memory cpu; do mkdir $root/$c/$name; groups="$groups $root/$c/$name"; mkdir $root/$c/$name/inner; done
      echo 400000000 >$root/memory/$name/memory.limit_in_bytes
      echo 100000 >$root/cpu/$name/cpu.cfs_period_us
      echo 100000 >$root/cpu/$name/cpu.cfs_quota_us
    else
      mkdir $root/$name
      groups=$root/$name
      mkdir $root/$name/inner
      echo 400000000 >$root/$name/memory.max
      echo "100000 100000" >$root/$name/cpu.max
    fi
    set +e
    """

  static let isPossible: Bool =
    geteuid() == 0 && (try? Program.shell(make, in: .temporaryDirectory))?.status == 0
}
