import Foundation
import Model

/// Makes OpenBLAS use the kernels of this CPU.
///
/// Releases of OpenBLAS that are older than a CPU fall back to AVX2 kernels of half the speed, whose rows
/// depend on their neighbours. The library reads `OPENBLAS_CORETYPE` when it is loaded, that is before
/// this program's first line: so the program sets the variable and starts itself again, once.
enum KernelChoice {
  private static let coreType = "OPENBLAS_CORETYPE"
  private static let threads = "OPENBLAS_NUM_THREADS"
  /// Set in the process that was started again, to what was chosen for it.
  private static let marker = "LOCKSTEP_KERNEL_CHOICE"
  /// Families with AVX-512 kernels.
  private static let wideFamilies: Set = ["skylakex", "cooperlake", "sapphirerapids"]

  /// Starts the program again if the library's choice is wrong; returns if it is right, or cannot be helped.
  static func make() {
    let environment = ProcessInfo.processInfo.environment
    guard environment[marker] == nil else { return }
    let needsFamily =
      environment[coreType] == nil && Machine.hasAVX512
      && !wideFamilies.contains(BLAS.coreName.lowercased())
    // The library starts its own threads when it is loaded, unless it is told not to.
    guard needsFamily || environment[threads] != "1" else { return }
    setenv(marker, needsFamily ? "SkylakeX" : "", 1)
    setenv(threads, "1", 1)
    if needsFamily { setenv(coreType, "SkylakeX", 1) }
    // By its own path, so that it is called by its name and not `exe`; a file that was replaced meanwhile has only the link.
    let link = "/proc/self/exe"
    if let path = try? FileManager.default.destinationOfSymbolicLink(atPath: link) {
      execv(path, CommandLine.unsafeArgv)
    }
    execv(link, CommandLine.unsafeArgv)
    // Without /proc the library's own choice stands; it is slower, not wrong.
    for name in [marker, coreType] { unsetenv(name) }
  }

  /// What is in use and who chose it.
  static var description: String {
    let environment = ProcessInfo.processInfo.environment
    let reason =
      if let choice = environment[marker], !choice.isEmpty {
        "chosen for this CPU's AVX-512, which this OpenBLAS does not detect"
      } else if let user = environment[coreType] {
        "\(coreType)=\(user) is set"
      } else {
        "chosen by OpenBLAS"
      }
    return "BLAS kernels \(BLAS.coreName) (\(reason))"
  }
}
