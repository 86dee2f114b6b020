import ArgumentParser
import Collective
import Foundation
import Model
import Trainer

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what this machine is and what the program makes of it.",
    discussion: """
      Ends with exit code 69 if something will not work.

      Example:
        lockstep doctor
      """)

  func run() throws {
    let contract = BLASContract(hidden: 768, intermediate: 3_072)
    let known = ["avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "amx_bf16"]
    let flags = known.filter(Machine.flags.contains)
    let gigabytes = { (bytes: Int) in String(format: "%.1f GB", Double(bytes) / 1e9) }
    var lines = [
      "CPU        \(Machine.processorName), \(Machine.processors) usable\(flags.isEmpty ? "" : "; \(flags.joined(separator: " "))")",
      "memory     \(gigabytes(Machine.availableMemory)) available",
      KernelChoice.description.replacingOccurrences(of: "BLAS kernels ", with: "BLAS       "),
      "           \(BLAS.configuration)",
      "kernels    rows of products \(contract.rowsAreIndependent ? "do not depend on their neighbours" : "depend on their neighbours: leaves are computed by themselves, which is slower")",
      "           weight gradients of up to \(contract.foldedRows) tokens are added inside the product",
      "MPI        \(MPILibrary.version ?? "the library does not say its version")",
    ]
    lines.append("nothing is in the way of a training")
    try Console.print(lines.joined(separator: "\n"))
  }
}
