import Synchronization

/// Matrix products: by our own kernel where it has OpenBLAS's bits and the program was built for registers of sixteen floats (AVX-512),
/// else by OpenBLAS.
///
/// Bits are compared once in each process, so nothing rests on a belief about a library, and no bit on the choice. Times are not: what
/// other programs do to so short a measurement is more than what there is to be saved.
package enum MatrixProduct {
  /// From so many multiply-adds on OpenBLAS uses its packed kernels on every processor; below, some round otherwise.
  private static let packedSize = 1_000_000

  /// What OpenBLAS takes of `k` at once, if our own kernel then has its bits and is used; nil: OpenBLAS multiplies.
  package static var packedDepth: Int? {
    isRefused.load(ordering: .relaxed) || suspensions.load(ordering: .relaxed) > 0
      ? nil : chosenDepth
  }
  private static let chosenDepth = PackedTile.fitsRegisters ? exactDepth : nil
  private static let isRefused = Atomic<Bool>(false)
  private static let suspensions = Atomic<Int>(0)

  /// Who multiplies, in words.
  package static var summary: String {
    if packedDepth != nil { return "lockstep's own kernel, which has OpenBLAS's bits here" }
    return PackedTile.fitsRegisters
      ? "OpenBLAS: lockstep's own kernel has other bits here"
      : "OpenBLAS: lockstep's own kernel is for programs that were built for AVX-512"
  }

  /// Our own kernel is not used any more: products of some model differ.
  static func refusePacked() { isRefused.store(true, ordering: .relaxed) }

  /// Runs `body`, in which OpenBLAS multiplies: what is measured of it must not depend on who multiplies in this build.
  static func byOpenBLAS<Result>(_ body: () -> Result) -> Result {
    suspensions.add(1, ordering: .relaxed)
    defer { suspensions.subtract(1, ordering: .relaxed) }
    return body()
  }

  /// `c[m, n] = op(a)[m, k] · op(b)[k, n] + beta · c`; `beta` is 0 or 1.
  @inline(__always)
  package static func multiply(
    _ m: Int, _ n: Int, _ k: Int,
    _ a: UnsafePointer<Float>, _ lda: Int, transposeA: Bool = false,
    _ b: UnsafePointer<Float>, _ ldb: Int, transposeB: Bool = false,
    beta: Float, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    if m * n * k > packedSize, m >= RowProduct.minimumRows, let depth = packedDepth {
      PackedProduct.multiply(
        m, n, k, a, lda, transposeA: transposeA, b, ldb, transposeB: transposeB,
        accumulate: beta != 0, c, ldc, depth: depth)
    } else {
      BLAS.multiply(
        m, n, k, a, lda, transposeA: transposeA, b, ldb, transposeB: transposeB, beta: beta, c, ldc)
    }
  }

  // MARK: Measuring

  /// A product to try: sizes, layouts, and whether it is added.
  private struct Trial {
    let m: Int, n: Int, k: Int
    let transposeA: Bool, transposeB: Bool, accumulate: Bool
  }

  /// Sizes that fill no tile, with one stretch of `k`, two unequal ones and many.
  private static let trials = [
    Trial(m: 37, n: 200, k: 1_801, transposeA: false, transposeB: true, accumulate: false),
    Trial(m: 97, n: 70, k: 777, transposeA: false, transposeB: false, accumulate: true),
    Trial(m: 130, n: 101, k: 150, transposeA: true, transposeB: false, accumulate: true),
    Trial(m: 66, n: 131, k: 500, transposeA: true, transposeB: false, accumulate: false),
  ]

  /// The depth with which our own kernel has OpenBLAS's bits, nil where none has.
  private static let exactDepth: Int? = {
    // Those of OpenBLAS's kernels for x86-64 and ARM (param.h), the likeliest first.
    [320, 384, 448, 256, 512, 352, 640, 240, 224, 192, 128].first { depth in
      trials.allSatisfy { agrees($0, depth: depth) }
    }
  }()

  /// Whether our own kernel has OpenBLAS's bits with a weight `[outputs, inputs]`, forward, backward and in its gradient.
  static func agrees(outputs: Int, inputs: Int) -> Bool {
    guard let depth = packedDepth else { return true }
    return [
      Trial(
        m: 17, n: outputs, k: inputs, transposeA: false, transposeB: true, accumulate: false),
      Trial(
        m: 17, n: inputs, k: outputs, transposeA: false, transposeB: false, accumulate: true),
      Trial(
        m: min(outputs, 768), n: min(inputs, 768), k: 21, transposeA: true, transposeB: false,
        accumulate: true),
    ].allSatisfy { $0.m * $0.n * $0.k <= packedSize || agrees($0, depth: depth) }
  }

  private static func agrees(_ trial: Trial, depth: Int) -> Bool {
    let (m, n, k) = (trial.m, trial.n, trial.k)
    precondition(m * n * k > packedSize, "a trial of \(m) × \(n) × \(k) is too small")
    let a = numbers(m * k, salt: 51), b = numbers(k * n, salt: 52)
    let (own, theirs) = (numbers(m * n, salt: 53), numbers(m * n, salt: 53))
    let lda = trial.transposeA ? m : k, ldb = trial.transposeB ? k : n
    return withExtendedLifetime((a, b, own, theirs)) {
      PackedProduct.multiply(
        m, n, k, a.base, lda, transposeA: trial.transposeA, b.base, ldb,
        transposeB: trial.transposeB, accumulate: trial.accumulate, own.base, n, depth: depth)
      BLAS.multiply(
        m, n, k, a.base, lda, transposeA: trial.transposeA, b.base, ldb,
        transposeB: trial.transposeB, beta: trial.accumulate ? 1 : 0, theirs.base, n)
      return (0..<m * n).allSatisfy {
        own.base[$0].bitPattern == theirs.base[$0].bitPattern
      }
    }
  }

  /// Numbers of both signs without structure, the same everywhere: made in a moment, for weights have millions.
  ///
  /// A linear congruential generator (Knuth, TAOCP 2, 3.3.4, table 1, line 26), of which the upper 24 bits are taken.
  private static func numbers(_ count: Int, salt: UInt64) -> Arena {
    let arena = Arena(count: count)
    var state = salt
    for i in 0..<count {
      state = state &* 6_364_136_223_846_793_005 &+ 1
      arena.base[i] = Float(Int32(truncatingIfNeeded: state >> 32) >> 8) * 0x1p-24
    }
    return arena
  }
}
