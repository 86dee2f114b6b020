import Crypto
import Foundation
import Model

/// What the bits of a run depend on beside its recipe and rows: the program, and the arithmetic of the machine.
package struct Numerics: Sendable, Equatable {
  /// SHA-256 of the program's file, 16 digits: two builds differ in it.
  package var program: String
  /// The kernel family that OpenBLAS chose, and what was measured of it for the model's shapes.
  package var kernels: String
  /// OpenBLAS' own description: version, build options, kernel family.
  package var library: String
  /// `Processor.numericFlags`.
  package var flags: String
  /// SHA-256 of what the kernels make of fixed inputs, 16 digits.
  package var kernelResults: String

  /// Those of this process, with what `contract` says of the kernels.
  package init(_ contract: BLASContract) throws {
    program = try Self.programDigest.get()
    kernels =
      "OpenBLAS \(BLAS.coreName), rows independent \(contract.rowsAreIndependent), folded rows \(contract.foldedRows)"
    library = BLAS.configuration
    let found = Processor.numericFlags
    flags = found.isEmpty ? "none" : found.joined(separator: " ")
    kernelResults = Self.resultsDigest
  }

  /// What ranks must have alike before any tensor moves, in the order in which a difference says most.
  var items: [(name: String, value: String)] {
    [
      ("the program", program), ("the kernels", kernels), ("OpenBLAS", library),
      ("the CPU flags", flags), ("the kernel results", kernelResults),
    ]
  }

  /// What a checkpoint keeps: where it is equal, the bits continue.
  ///
  /// The program is not in it: a newer one may go on, and if its kernels give other results they say so.
  package var fingerprint: String { "\(kernels), kernel results \(kernelResults)" }

  /// Whether a run whose checkpoint holds `stored` continues with the bits that it would have had.
  ///
  /// Checkpoints of older versions hold no kernel results; what they hold is compared.
  package func continues(_ stored: String) -> Bool {
    stored == fingerprint || stored == kernels
  }

  private static let programDigest = Result {
    // The link names the file that runs, also where its path has been given another one since.
    let file = try InputFile(URL(filePath: "/proc/self/exe"))
    var hash = SHA256()
    try file.stream(at: 0, count: file.byteCount) { hash.update(bufferPointer: $0) }
    return String(hash.finalize().hex.prefix(16))
  }

  private static let resultsDigest: String = {
    var hash = SHA256()
    for bits in [KernelResults.bits(), OptimizerKernels.results()] {
      bits.withUnsafeBytes { hash.update(bufferPointer: $0) }
    }
    return String(hash.finalize().hex.prefix(16))
  }()
}

extension OptimizerKernels {
  /// The bits of one step of Adam on fixed numbers, and of a sum of squares.
  fileprivate static func results() -> [UInt32] {
    let count = 777
    let philox = Philox(seed: 0x10C5)
    // Parameters, gradient, first and second moments.
    var values = (0..<4 * count).map { i in
      Philox.unit(philox.block(SIMD4(UInt32(i), 41, 0, 0))[0]) - (i < 3 * count ? 0.5 : 0)
    }
    let coefficients = Coefficients(
      scale: 0.37, beta1: 0.9, oneMinusBeta1: 0.1, beta2: 0.999, oneMinusBeta2: 0.001,
      rootScale: 1.3, epsilon: 1e-6, rate: 0.003, decay: 0.0001)
    return values.withUnsafeMutableBufferPointer { values in
      guard let p = values.baseAddress else { return [] }
      let g = UnsafePointer(p + count)
      adam(
        parameters: p, gradient: g, first: p + 2 * count, second: p + 3 * count, count: count,
        coefficients)
      let sum = squareSum(p, count: values.count).bitPattern
      return values.map(\.bitPattern) + [UInt32(truncatingIfNeeded: sum), UInt32(sum >> 32)]
    }
  }
}
