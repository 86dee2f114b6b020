import Foundation
import Model

/// What this machine gives to this process.
enum Machine {
  /// CPUs that the processes of this host may use together: all, or fewer where a control group gives them less time.
  static var hostProcessors: Int {
    min(ProcessInfo.processInfo.processorCount, ControlGroups().processors ?? .max)
  }

  /// CPUs that the process may use: those that it may run on, as `sched_getaffinity` says, and no more than `hostProcessors`.
  static var processors: Int { min(allowedProcessors, hostProcessors) }

  private static var allowedProcessors: Int {
    guard let list = status("Cpus_allowed_list") else {
      return max(1, ProcessInfo.processInfo.activeProcessorCount)
    }
    // Such as "0-3,8".
    let count = list.split(separator: ",").reduce(0) { sum, part in
      let bounds = part.split(separator: "-").compactMap { Int($0) }
      return sum + ((bounds.last ?? 0) - (bounds.first ?? 1) + 1)
    }
    return max(1, count)
  }

  /// The CPU's name.
  static let processorName: String = {
    for line in TextFile.lines(of: "/proc/cpuinfo") where line.hasPrefix("model name") {
      return line.split(separator: ":", maxSplits: 1).last.map {
        $0.trimmingCharacters(in: .whitespaces)
      } ?? "unknown"
    }
    return "unknown"
  }()

  /// Whether the CPU and the system have the four extensions that OpenBLAS' AVX-512 kernels use.
  static var hasAVX512: Bool {
    Processor.flags.isSuperset(of: ["avx512f", "avx512dq", "avx512bw", "avx512vl"])
  }

  /// Bytes that the process may still take: free memory, or less where a control group says so (`ControlGroups`).
  static var availableMemory: Int {
    var available = Int.max
    for line in TextFile.lines(of: "/proc/meminfo") where line.hasPrefix("MemAvailable:") {
      available = (Int(line.split(separator: " ")[1]) ?? 0) << 10
    }
    if let limited = ControlGroups().availableMemory { available = min(available, limited) }
    return available
  }

  /// The memory that this process holds, in bytes.
  static var residentMemory: Int {
    status("VmRSS").flatMap { Int($0.prefix { $0.isNumber }) }.map { $0 << 10 } ?? 0
  }

  /// The most memory that this process has held, in bytes.
  static var peakMemory: Int {
    status("VmHWM").flatMap { Int($0.prefix { $0.isNumber }) }.map { $0 << 10 } ?? 0
  }

  /// What the kernel says of this process under `key`.
  private static func status(_ key: String) -> String? {
    TextFile.lines(of: "/proc/self/status").first { $0.hasPrefix("\(key):") }.map {
      $0.dropFirst(key.count + 1).trimmingCharacters(in: .whitespaces)
    }
  }
}
