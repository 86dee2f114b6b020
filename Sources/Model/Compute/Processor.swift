import Foundation

/// The CPU that this process runs on.
package enum Processor {
  /// The first CPU's flags, such as `avx512f`; the kernel lists what it supports itself.
  package static let flags = Set(field("flags").split(separator: " ").map(String.init))

  /// Who made the first CPU, such as `GenuineIntel` or `AuthenticAMD`; empty where the kernel does not say.
  package static let vendor = field("vendor_id")

  private static func field(_ name: String) -> String {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
    return line?.split(separator: ":", maxSplits: 1).last?.trimmingCharacters(in: .whitespaces)
      ?? ""
  }

  /// Of the flags those on which the C library's mathematics depends, which rounds otherwise without them.
  ///
  /// Lockstep's own kernels are compiled for one instruction set, and what OpenBLAS makes of the flags is the name of its kernels.
  package static var numericFlags: [String] { ["avx2", "fma"].filter(flags.contains) }
}
