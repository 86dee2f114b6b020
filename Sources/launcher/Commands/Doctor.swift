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
    let numerics = try Numerics(contract)
    let known = ["avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "amx_bf16"]
    let flags = known.filter(Processor.flags.contains)
    let gigabytes = { (bytes: Int) in String(format: "%.1f GB", Double(bytes) / 1e9) }
    var lines = [
      "CPU        \(Machine.processorName), \(Machine.processors) usable\(flags.isEmpty ? "" : "; \(flags.joined(separator: " "))")",
      "memory     \(gigabytes(Machine.availableMemory)) available",
      KernelChoice.description.replacingOccurrences(of: "BLAS kernels ", with: "BLAS       "),
      "           \(BLAS.configuration)",
      "numerics   program \(numerics.program), kernel results \(numerics.kernelResults): the same on every host of a run",
      "products   large ones by \(MatrixProduct.summary)",
      "kernels    rows of products \(contract.rowsAreIndependent ? "do not depend on their neighbours" : "depend on their neighbours: leaves are computed by themselves, which is slower")",
      "           weight gradients of up to \(contract.foldedRows) tokens are added inside the product",
      "MPI        \(MPILibrary.version ?? "the library does not say its version")",
    ]
    let obstacles = Self.obstacles
    lines += obstacles.isEmpty ? ["nothing is in the way of a training"] : []
    try Console.print(lines.joined(separator: "\n"))
    if !obstacles.isEmpty {
      throw RunError(.environment, obstacles.joined(separator: "\n"))
    }
  }

  /// What will not work here, each with its remedy.
  private static var obstacles: [String] {
    var obstacles: [String] = []
    let needed = ["avx2", "fma"].filter { !Processor.flags.contains($0) }
    if !needed.isEmpty {
      obstacles.append(
        "This CPU has no \(needed.joined(separator: " and ")); training needs a CPU from 2013 or later."
      )
    }
    // The smallest usual model: weights, gradient and two moments of MiniLM, and its activations.
    if Machine.availableMemory < 600_000_000 {
      obstacles.append(
        "Only \(Machine.availableMemory / 1_000_000) MB of memory are available; the smallest usual model needs 600 MB. Free memory."
      )
    }
    return obstacles
  }
}
