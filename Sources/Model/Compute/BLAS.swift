internal import COpenBLAS

/// The one door to OpenBLAS.
///
/// Every call is single-threaded: parallelism is ours. Matrices are row-major.
package enum BLAS {
  /// The kernel family that the library chose, such as `SkylakeX`.
  package static var coreName: String { String(cString: openblas_get_corename()) }

  /// The library's own description: version, build options, kernel family.
  package static let configuration = String(cString: openblas_get_config())

  private static let singleThreaded: Void = openblas_set_num_threads(1)

  /// `c[m, n] = op(a)[m, k] · op(b)[k, n] + beta · c`.
  ///
  /// The corresponding C function is `cblas_sgemm`.
  @inline(__always)
  package static func multiply(
    _ m: Int, _ n: Int, _ k: Int,
    _ a: UnsafePointer<Float>, _ lda: Int, transposeA: Bool = false,
    _ b: UnsafePointer<Float>, _ ldb: Int, transposeB: Bool = false,
    beta: Float, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    _ = singleThreaded
    cblas_sgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
      blasint(m), blasint(n), blasint(k), 1, a, blasint(lda), b, blasint(ldb), beta, c,
      blasint(ldc))
  }
}
