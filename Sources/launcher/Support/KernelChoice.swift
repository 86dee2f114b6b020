import Foundation
import Model

/// Makes OpenBLAS use the kernels that suit this CPU: one family for all CPUs with AVX-512, one for all others.
///
/// Left alone, the library takes kernels by the CPU's model. Releases that are older than a CPU fall back to AVX2 kernels of
/// half the speed, whose rows depend on their neighbours; and two families of the same instruction set, which are equally
/// fast, round differently, so that two machines would not compute the same bits. The library reads `OPENBLAS_CORETYPE`
/// when it is loaded, that is before this program's first line: so the program sets the variable and starts itself again,
/// once.
enum KernelChoice {
  private static let coreType = "OPENBLAS_CORETYPE"
  private static let threads = "OPENBLAS_NUM_THREADS"
  /// Set in the process that was started again, to what was chosen for it.
  private static let marker = "LOCKSTEP_KERNEL_CHOICE"
  /// Families with AVX-512 kernels.
  private static let wideFamilies: Set = ["skylakex", "cooperlake", "sapphirerapids"]

  /// The family for this CPU; nil where that is left to the library.
  private static var family: String? {
    if Machine.hasAVX512 { return "SkylakeX" }
    return Processor.flags.isSuperset(of: ["avx2", "fma"]) ? "Haswell" : nil
  }

  /// Starts the program again if the library's choice is another one; returns if it is the same, or cannot be helped.
  static func make() {
    let environment = ProcessInfo.processInfo.environment
    guard environment[marker] == nil else { return }
    var chosen: String?
    if environment[coreType] == nil, let family,
      family.lowercased() != BLAS.coreName.lowercased()
    {
      chosen = family
    }
    // The library starts its own threads when it is loaded, unless it is told not to.
    guard chosen != nil || environment[threads] != "1" else { return }
    setenv(marker, chosen ?? "", 1)
    setenv(threads, "1", 1)
    if let chosen { setenv(coreType, chosen, 1) }
    // By its own path, so that it is called by its name and not `exe`; a file that was replaced meanwhile has only the link.
    let link = "/proc/self/exe"
    if let path = try? FileManager.default.destinationOfSymbolicLink(atPath: link) {
      execv(path, CommandLine.unsafeArgv)
    }
    execv(link, CommandLine.unsafeArgv)
    // Without /proc the library's own choice stands; it is slower, not wrong.
    unsetenv(marker)
    if chosen != nil { unsetenv(coreType) }
  }

  /// Whether this CPU has AVX-512 and the library's kernels do without it.
  private static var isNarrow: Bool {
    Machine.hasAVX512 && !wideFamilies.contains(BLAS.coreName.lowercased())
  }

  /// What is in use, who chose it, and what it costs.
  static var description: String {
    let environment = ProcessInfo.processInfo.environment
    let reason =
      if let choice = environment[marker], !choice.isEmpty {
        "chosen for every CPU with \(Machine.hasAVX512 ? "AVX-512" : "AVX2")"
      } else if let user = environment[coreType] {
        "\(coreType)=\(user) is set"
      } else {
        "chosen by OpenBLAS"
      }
    let remedy =
      environment[coreType] == nil ? "take an OpenBLAS that has them" : "unset \(coreType)"
    let cost = isNarrow ? "; kernels for this CPU's AVX-512 are up to twice as fast: \(remedy)" : ""
    return "BLAS kernels \(BLAS.coreName) (\(reason)\(cost))"
  }
}
