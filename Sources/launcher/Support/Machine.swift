import Foundation
import Model
import Trainer

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
    for limited in [ControlGroups().availableMemory, availableAddressSpace] {
      available = min(available, limited ?? .max)
    }
    return available
  }

  /// Bytes of address space that a limit (`ulimit -v`) leaves to the process; nil without one.
  private static var availableAddressSpace: Int? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0,
      limit.rlim_cur < rlim_t(Int.max)
    else { return nil }
    return max(0, Int(limit.rlim_cur) - kilobytes("VmSize"))
  }

  /// What a process that multiplies takes of the address space before any model: OpenBLAS' buffers, and stacks and heaps of threads.
  private static let leastAddressSpace = 384 << 20

  /// - Throws: `RunError` with exit code 69 where a limit leaves too little address space to compute at all.
  static func requireAddressSpace() throws {
    guard let available = availableAddressSpace, available < leastAddressSpace else { return }
    throw RunError(
      .environment,
      "The limit on address space (ulimit -v) leaves \(available / 1_000_000) MB, and computing takes \(leastAddressSpace / 1_000_000) MB before any model. Raise the limit."
    )
  }

  /// The memory that this process holds, in bytes.
  static var residentMemory: Int {
    kilobytes("VmRSS")
  }

  /// The most memory that this process has held, in bytes.
  static var peakMemory: Int {
    kilobytes("VmHWM")
  }

  /// The bytes that the kernel gives in kB under `key`.
  private static func kilobytes(_ key: String) -> Int {
    status(key).flatMap { Int($0.prefix { $0.isNumber }) }.map { $0 << 10 } ?? 0
  }

  /// What the kernel says of this process under `key`.
  private static func status(_ key: String) -> String? {
    TextFile.lines(of: "/proc/self/status").first { $0.hasPrefix("\(key):") }.map {
      $0.dropFirst(key.count + 1).trimmingCharacters(in: .whitespaces)
    }
  }
}
