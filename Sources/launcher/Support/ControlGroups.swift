import Foundation

/// What control groups leave to this process: those of a container, a Slurm job, a systemd unit.
///
/// cgroups(7): a process is in one group of each hierarchy, and is held by the limits of that group and of all above it. In a
/// container the group's path may be one of the host, which is not there: then those above it are read, of which the first
/// is the container's own.
package struct ControlGroups {
  private let root: String
  private let membership: String

  /// - Parameters:
  ///   - root: where the hierarchies are mounted.
  ///   - membership: the file that says which groups the process is in.
  package init(root: String = "/sys/fs/cgroup", membership: String = "/proc/self/cgroup") {
    self.root = root
    self.membership = membership
  }

  /// Bytes that the process may still take under the tightest limit; nil where there is none.
  package var availableMemory: Int? { folders(of: "memory").compactMap(remainingMemory).min() }

  /// CPUs' worth of time that the tightest quota gives, rounded up; nil where there is none.
  package var processors: Int? { folders(of: "cpu").compactMap(quotaProcessors).min() }

  private func remainingMemory(_ folder: Folder) -> Int? {
    let (limitName, usageName, cacheName) =
      folder.isSecond
      ? ("memory.max", "memory.current", "inactive_file")
      : ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    guard let limit = TextFile.number(in: "\(folder.path)/\(limitName)") else { return nil }
    let used = TextFile.number(in: "\(folder.path)/\(usageName)") ?? 0
    // Cached files count as used, and give way.
    let statistics = TextFile.lines(of: "\(folder.path)/memory.stat")
    let cached = statistics.first { $0.hasPrefix("\(cacheName) ") }
      .flatMap { Int($0.dropFirst(cacheName.count + 1)) }
    return max(0, limit - max(0, used - (cached ?? 0)))
  }

  private func quotaProcessors(_ folder: Folder) -> Int? {
    let quota: Int?
    let period: Int?
    if folder.isSecond {
      // Microseconds of each period, such as "200000 100000"; "max" is no quota.
      let fields = TextFile.lines(of: "\(folder.path)/cpu.max").first?.split(separator: " ") ?? []
      quota = fields.first.flatMap { Int($0) }
      period = fields.last.flatMap { Int($0) }
    } else {
      quota = TextFile.number(in: "\(folder.path)/cpu.cfs_quota_us")
      period = TextFile.number(in: "\(folder.path)/cpu.cfs_period_us")
    }
    guard let quota, let period, quota > 0, period > 0 else { return nil }
    return max(1, Int((Double(quota) / Double(period)).rounded(.up)))
  }

  private struct Folder {
    let path: String
    /// Whether its files are those of version 2.
    let isSecond: Bool
  }

  /// The process' group for `controller` and those above it.
  private func folders(of controller: Substring) -> [Folder] {
    TextFile.lines(of: membership).flatMap { line -> [Folder] in
      // Such as "0::/system.slice/job" (version 2), "4:cpu,cpuacct:/job" (version 1).
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { return [] }
      let isSecond = parts[1].isEmpty
      guard isSecond || parts[1].split(separator: ",").contains(controller) else { return [] }
      let group = parts[2].split(separator: "/").map(String.init)
      let mount = isSecond ? [root] : [root, String(parts[1])]
      return (0...group.count).map {
        Folder(path: (mount + group.prefix($0)).joined(separator: "/"), isSecond: isSecond)
      }
    }
  }
}

/// The small files in which the system tells of itself.
enum TextFile {
  /// The lines of the file at `path`; none if it cannot be read.
  static func lines(of path: String) -> [String] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
    return text.split(separator: "\n").map(String.init)
  }

  /// The number that is the first line of the file at `path`, if it is one.
  static func number(in path: String) -> Int? {
    lines(of: path).first.flatMap { Int($0) }
  }
}
