/// What was measured of the BLAS kernels on this machine, for the shapes of one model.
///
/// The promise of equal bits never rests on a belief about a library: where the packed kernels turn
/// out to depend on a row's neighbours, rows are computed leaf by leaf instead, which costs speed only.
package struct BLASContract: Sendable, Equatable {
  /// A row of an activation product has the same bits whatever rows stand beside it.
  package let rowsAreIndependent: Bool
  /// Up to this many rows, `c + aᵀ b` in one call has the bits of the product added to `c` afterwards.
  package let foldedRows: Int
  /// An element of `aᵀ b` has the same bits in whatever block of the product it is computed.
  package let blocksAreIndependent: Bool

  /// Measures the products of a model with hidden width `hidden` and intermediate width `intermediate`; with `words` those
  /// of a decoder over so many words as well.
  package init(hidden: Int, intermediate: Int, words: Int? = nil) {
    var shapes =
      [
        (3 * hidden, hidden), (hidden, hidden), (intermediate, hidden), (hidden, intermediate),
        (hidden, 3 * hidden),
      ] + (words.map { [($0, hidden)] } ?? [])
    shapes = shapes.filter { $0.0 * $0.1 >= RowProduct.largeWeight }
    if !shapes.allSatisfy({ MatrixProduct.agrees(outputs: $0.0, inputs: $0.1) }) {
      MatrixProduct.refusePacked()
    }
    let measured = shapes
    (rowsAreIndependent, foldedRows, blocksAreIndependent) = MatrixProduct.byOpenBLAS {
      (
        measured.allSatisfy { Self.rowsAreIndependent(n: $0.0, k: $0.1) },
        [384, 256, 128].first { limit in
          [limit, limit * 3 / 4, limit / 2 + 1, 17, 3].allSatisfy {
            Self.foldsExactly(rows: $0, width: min(hidden, 384))
          }
        } ?? 0,
        [1, 3, 48, 384, 500].allSatisfy {
          Self.blocksAreIndependent(
            rows: $0, outputs: min(intermediate, 768), inputs: min(hidden, 768))
        }
      )
    }
  }

  /// Numbers without structure, the same everywhere.
  private static func numbers(_ count: Int, salt: UInt32) -> [Float] {
    let philox = Philox(seed: 0x10C5)
    return (0..<(count + 3) / 4).flatMap { block in
      let words = philox.block(SIMD4(UInt32(block), salt, 0, 0))
      return (0..<4).map { Philox.unit(words[$0]) - 0.5 }
    }
  }

  private static func rowsAreIndependent(n: Int, k: Int) -> Bool {
    let rows = 83
    let a = numbers(rows * k, salt: 1), w = numbers(n * k, salt: 2)
    var whole = [Float](repeating: 0, count: rows * n), part = whole
    for transposed in [true, false] {
      func product(_ m: Int, _ from: Int, _ c: inout [Float]) {
        a.withUnsafeBufferPointer { a in
          w.withUnsafeBufferPointer { w in
            c.withUnsafeMutableBufferPointer { c in
              guard let a = a.baseAddress, let w = w.baseAddress, let c = c.baseAddress else {
                return
              }
              if transposed {
                RowProduct.forward(m, n, k, a + from * k, k, w, c, n)
              } else {
                RowProduct.backward(m, n, k, a + from * k, k, w, accumulate: false, c, n)
              }
            }
          }
        }
      }
      product(rows, 0, &whole)
      for (m, from) in [(1, 40), (7, 3), (16, 1), (17, 66), (31, 50), (48, 35)] {
        product(m, from, &part)
        for i in 0..<m * n where whole[from * n + i].bitPattern != part[i].bitPattern {
          return false
        }
      }
    }
    return true
  }

  private static func foldsExactly(rows: Int, width: Int) -> Bool {
    let m = min(width, WeightGradient.fixedBlockRows)
    let a = numbers(rows * m, salt: 3), b = numbers(rows * width, salt: 4)
    let start = numbers(m * width, salt: 5)
    var folded = start, product = start
    for (beta, isFolded) in [(Float(1), true), (0, false)] {
      a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
          var c = start
          c.withUnsafeMutableBufferPointer { c in
            guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else {
              return
            }
            MatrixProduct.multiply(
              m, width, rows, a, m, transposeA: true, b, width, beta: beta, c, width)
          }
          if isFolded { folded = c } else { product = c }
        }
      }
    }
    return folded.indices.allSatisfy { folded[$0] == start[$0] + product[$0] }
  }

  /// Whether blocks of a weight gradient's product have the bits of the whole.
  private static func blocksAreIndependent(rows: Int, outputs: Int, inputs: Int) -> Bool {
    let a = numbers(rows * outputs, salt: 6), b = numbers(rows * inputs, salt: 7)
    // Added to, as leaves are.
    let start = numbers(outputs * inputs, salt: 8)
    func product(_ height: Int) -> [Float] {
      var c = start
      a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
          c.withUnsafeMutableBufferPointer { c in
            guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else {
              return
            }
            for row in stride(from: 0, to: outputs, by: height) {
              MatrixProduct.multiply(
                min(height, outputs - row), inputs, rows, a + row, outputs, transposeA: true,
                b, inputs, beta: 1, c + row * inputs, inputs)
            }
          }
        }
      }
      return c
    }
    let whole = product(outputs)
    return [WeightGradient.fixedBlockRows, 384, 101].allSatisfy { height in
      zip(whole, product(height)).allSatisfy { $0.bitPattern == $1.bitPattern }
    }
  }
}
