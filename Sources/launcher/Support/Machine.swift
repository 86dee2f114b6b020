import Foundation

/// What this machine gives to this process.
enum Machine {
  /// CPUs that the process may run on.
  static var processors: Int {
    var set = cpu_set_t()
    guard sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0 else {
      return max(1, ProcessInfo.processInfo.activeProcessorCount)
    }
    let count = withUnsafeBytes(of: &set) { $0.reduce(0) { $0 + $1.nonzeroBitCount } }
    return max(1, count)
  }

  /// The first CPU's flags, such as `avx512f`; the kernel lists what it supports itself.
  static let flags: Set<String> = {
    for line in lines(of: "/proc/cpuinfo") where line.hasPrefix("flags") {
      return Set(line.split(separator: " ").map(String.init))
    }
    return []
  }()

  /// The CPU's name.
  static let processorName: String = {
    for line in lines(of: "/proc/cpuinfo") where line.hasPrefix("model name") {
      return line.split(separator: ":", maxSplits: 1).last.map {
        $0.trimmingCharacters(in: .whitespaces)
      } ?? "unknown"
    }
    return "unknown"
  }()

  /// Whether the CPU and the system have the four extensions that OpenBLAS' AVX-512 kernels use.
  static var hasAVX512: Bool { flags.isSuperset(of: ["avx512f", "avx512dq", "avx512bw", "avx512vl"]) }

  /// Bytes that the process may still take: free memory, or less where a control group says so.
  static var availableMemory: Int {
    var available = Int.max
    for line in lines(of: "/proc/meminfo") where line.hasPrefix("MemAvailable:") {
      available = (Int(line.split(separator: " ")[1]) ?? 0) << 10
    }
    let groups = [
      ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
      (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes"
      ),
    ]
    for (limit, usage) in groups {
      if let limit = number(in: limit) {
        available = min(available, max(0, limit - (number(in: usage) ?? 0)))
      }
    }
    return available
  }

  /// The most memory that this process has held, in bytes.
  static var peakMemory: Int {
    var usage = rusage()
    getrusage(RUSAGE_SELF, &usage)
    return usage.ru_maxrss << 10
  }

  private static func number(in path: String) -> Int? {
    lines(of: path).first.flatMap { Int($0) }
  }

  private static func lines(of path: String) -> [String] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
    return text.split(separator: "\n").map(String.init)
  }
}
