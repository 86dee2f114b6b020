/// Products of activation rows with a weight, in which a row's bits depend on that row alone.
///
/// OpenBLAS picks other kernels for very small products, and those round differently. So a product
/// with a large weight is always given at least `minimumRows` rows (short ones are padded), which
/// keeps it on the packed kernels whose rows are independent, and a product with a small weight runs
/// on `MicroProduct`. Whether the packed kernels of this machine keep the promise is measured once:
/// `BLASContract`.
enum RowProduct {
  /// With this many rows a weight of `largeWeight` elements is past OpenBLAS's small-matrix limit of 10⁶ multiply-adds.
  static let minimumRows = 16
  static let largeWeight = 65_536

  /// `c[m, n] = a[m, k] · w[n, k]ᵀ`: a dense layer's forward product.
  static func forward(
    _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ lda: Int, _ w: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    if n * k < largeWeight {
      MicroProduct.multiplyTransposed(m, n, k, a, lda, w, k, c, ldc)
    } else {
      padded(m, n, k, a, lda, accumulate: false, c, ldc) { rows, a, lda, c, ldc in
        MatrixProduct.multiply(rows, n, k, a, lda, w, k, transposeB: true, beta: 0, c, ldc)
      }
    }
  }

  /// `c[m, n] (+)= a[m, k] · w[k, n]`: a dense layer's data gradient, with `w` stored `[out, in]`.
  static func backward(
    _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ lda: Int, _ w: UnsafePointer<Float>,
    accumulate: Bool, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    if n * k < largeWeight {
      MicroProduct.multiply(m, n, k, a, lda, 1, w, n, accumulate: accumulate, c, ldc)
    } else {
      padded(m, n, k, a, lda, accumulate: accumulate, c, ldc) { rows, a, lda, c, ldc in
        MatrixProduct.multiply(rows, n, k, a, lda, w, n, beta: accumulate ? 1 : 0, c, ldc)
      }
    }
  }

  private typealias Body = (
    Int, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>, Int
  ) -> Void

  /// Calls `body` with at least `minimumRows` rows, through copies when there are fewer.
  @inline(__always)
  private static func padded(
    _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ lda: Int, accumulate: Bool,
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int, _ body: Body
  ) {
    if m >= minimumRows {
      body(m, a, lda, c, ldc)
      return
    }
    if m == 0 { return }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: minimumRows * (n + k)) { scratch in
      scratch.initialize(repeating: 0)
      guard let rows = scratch.baseAddress else { return }
      let result = rows + minimumRows * k
      for row in 0..<m {
        (rows + row * k).update(from: a + row * lda, count: k)
        if accumulate { (result + row * n).update(from: c + row * ldc, count: n) }
      }
      body(minimumRows, rows, k, result, n)
      for row in 0..<m { (c + row * ldc).update(from: result + row * n, count: n) }
    }
  }
}
