internal import COpenBLAS

/// The one door to OpenBLAS. Every call is single-threaded: parallelism is ours.
package enum BLAS {
  /// The kernel family that the library chose, such as `SkylakeX`.
  package static var coreName: String { String(cString: openblas_get_corename()) }
}
