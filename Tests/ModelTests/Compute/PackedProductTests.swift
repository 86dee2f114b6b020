import Foundation
import Model
import Synchronization
import Testing

/// Large products against their definition, element by element, and against OpenBLAS, bit for bit.
@Suite struct PackedProductTests {
  /// One product: sizes, layouts, and whether it is added to what is there.
  struct Shape: Sendable, CustomTestStringConvertible {
    var m: Int, n: Int, k: Int
    var transposeA = false, transposeB = false, accumulate = false
    var testDescription: String {
      "\(m) × \(n) × \(k)\(transposeA ? ", aᵀ" : "")\(transposeB ? ", bᵀ" : "")\(accumulate ? ", added" : "")"
    }
  }

  /// Numbers of both signs and many magnitudes, some of them zeros of both signs.
  private static func numbers(_ count: Int, salt: UInt32) -> [Float] {
    let philox = Philox(seed: 77)
    return (0..<(count + 3) / 4).flatMap { block in
      let words = philox.block(SIMD4(UInt32(block), salt, 0, 0))
      return (0..<4).map { lane -> Float in
        let word = words[lane]
        if word & 63 == 0 { return word & 64 == 0 ? 0 : -0.0 }
        let scale = Float(sign: .plus, exponent: Int(word >> 8 & 15) - 8, significand: 1)
        return (Philox.unit(word) - 0.5) * scale
      }
    }
  }

  /// What surrounds the result and must stay.
  private static let guardValue: Float = 12345.5

  /// Runs `product` with every matrix a few columns wider than it needs; returns `c` whole, and checks its margins.
  private static func result(
    _ shape: Shape,
    _ product: (
      _ a: UnsafePointer<Float>, _ lda: Int, _ b: UnsafePointer<Float>, _ ldb: Int,
      _ c: UnsafeMutablePointer<Float>, _ ldc: Int
    ) -> Void
  ) -> [Float] {
    let (m, n, k) = (shape.m, shape.n, shape.k)
    let lda = (shape.transposeA ? m : k) + 3, ldb = (shape.transposeB ? k : n) + 5, ldc = n + 7
    let a = numbers((shape.transposeA ? k : m) * lda, salt: 1)
    let b = numbers((shape.transposeB ? n : k) * ldb, salt: 2)
    var c = numbers(m * ldc, salt: 3)
    for row in 0..<m { for column in n..<ldc { c[row * ldc + column] = guardValue } }
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        c.withUnsafeMutableBufferPointer { c in
          guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else { return }
          product(a, lda, b, ldb, c, ldc)
        }
      }
    }
    for row in 0..<m {
      #expect((n..<ldc).allSatisfy { c[row * ldc + $0] == guardValue }, "row \(row)'s margin")
    }
    return (0..<m).flatMap { c[$0 * ldc..<$0 * ldc + n] }
  }

  private static func packed(
    _ shape: Shape, depth: Int, columnsInPlace: Bool = PackedProduct.readsColumnsInPlace
  ) -> [Float] {
    result(shape) { a, lda, b, ldb, c, ldc in
      PackedProduct.multiply(
        shape.m, shape.n, shape.k, a, lda, transposeA: shape.transposeA, b, ldb,
        transposeB: shape.transposeB, accumulate: shape.accumulate, c, ldc, depth: depth,
        columnsInPlace: columnsInPlace)
    }
  }

  /// The definition: for every stretch of `k` a chain of fused multiply-adds, added to what there is.
  private static func defined(_ shape: Shape, stretches: [Int]) -> [Float] {
    result(shape) { a, lda, b, ldb, c, ldc in
      for i in 0..<shape.m {
        for j in 0..<shape.n {
          var total = shape.accumulate ? c[i * ldc + j] : 0
          var p = 0
          for length in stretches {
            var sum: Float = 0
            for _ in 0..<length {
              let x = shape.transposeA ? a[p * lda + i] : a[i * lda + p]
              sum.addProduct(x, shape.transposeB ? b[j * ldb + p] : b[p * ldb + j])
              p += 1
            }
            total += sum
          }
          c[i * ldc + j] = total
        }
      }
    }
  }

  private static func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

  static let shapes: [Shape] = [
    Shape(m: 1, n: 1, k: 1), Shape(m: 5, n: 63, k: 7), Shape(m: 6, n: 64, k: 32),
    Shape(m: 7, n: 65, k: 33, transposeB: true), Shape(m: 97, n: 130, k: 70, accumulate: true),
    Shape(m: 101, n: 17, k: 65, transposeA: true),
    Shape(m: 193, n: 20, k: 40, transposeA: true, accumulate: true),
    // Columns whose pitch would crowd a few sets of the cache: 512.
    Shape(m: 509, n: 20, k: 12, transposeA: true),
    Shape(m: 13, n: 48, k: 100, transposeB: true, accumulate: true),
    // More columns and more depth than are packed at once.
    Shape(m: 3, n: 900, k: 31, transposeB: true), Shape(m: 4, n: 70, k: 3_000, accumulate: true),
    Shape(m: 9, n: 3, k: 2_700, transposeA: true, transposeB: true),
    Shape(m: 0, n: 5, k: 5), Shape(m: 5, n: 0, k: 5),
  ]

  @Test(arguments: shapes, [32, 448])
  func `every element is what the definition says`(shape: Shape, depth: Int) {
    let stretches = PackedProduct.stretches(shape.k, depth: depth)
    let defined = Self.bits(Self.defined(shape, stretches: stretches))
    // Whichever way this processor takes.
    for columnsInPlace in shape.transposeA ? [true, false] : [false] {
      let packed = Self.packed(shape, depth: depth, columnsInPlace: columnsInPlace)
      #expect(Self.bits(packed) == defined, "columns in place: \(columnsInPlace)")
    }
  }

  @Test func `stretches are those of OpenBLAS`() {
    #expect(PackedProduct.stretches(0, depth: 320) == [])
    #expect(PackedProduct.stretches(320, depth: 320) == [320])
    #expect(PackedProduct.stretches(321, depth: 320) == [160, 161])
    #expect(PackedProduct.stretches(768, depth: 320) == [320, 224, 224])
    #expect(PackedProduct.stretches(3_072, depth: 448) == [448, 448, 448, 448, 448, 416, 416])
    for k in 1...2_000 { #expect(PackedProduct.stretches(k, depth: 384).reduce(0, +) == k) }
  }

  @Test(arguments: [
    Shape(m: 83, n: 768, k: 768, transposeB: true), Shape(m: 16, n: 1_152, k: 384),
    Shape(m: 300, n: 384, k: 3_072, accumulate: true),
    Shape(m: 768, n: 768, k: 401, transposeA: true, accumulate: true),
    Shape(m: 384, n: 384, k: 9, transposeA: true), Shape(m: 37, n: 601, k: 1_801, transposeB: true),
    Shape(m: 16, n: 96, k: 96, transposeB: true), Shape(m: 768, n: 768, k: 1, transposeA: true),
  ])
  func `whoever multiplies, the bits are those of OpenBLAS`(shape: Shape) {
    let beta: Float = shape.accumulate ? 1 : 0
    let chosen = Self.result(shape) { a, lda, b, ldb, c, ldc in
      MatrixProduct.multiply(
        shape.m, shape.n, shape.k, a, lda, transposeA: shape.transposeA, b, ldb,
        transposeB: shape.transposeB, beta: beta, c, ldc)
    }
    let theirs = Self.result(shape) { a, lda, b, ldb, c, ldc in
      BLAS.multiply(
        shape.m, shape.n, shape.k, a, lda, transposeA: shape.transposeA, b, ldb,
        transposeB: shape.transposeB, beta: beta, c, ldc)
    }
    #expect(Self.bits(chosen) == Self.bits(theirs))
  }

  @Test func `threads multiply side by side, each in memory of its own`() {
    let shape = Shape(m: 50, n: 200, k: 300, transposeB: true)
    let alone = Self.bits(Self.packed(shape, depth: 128))
    let wrong = Mutex(0)
    DispatchQueue.concurrentPerform(iterations: 24) { _ in
      if Self.bits(Self.packed(shape, depth: 128)) != alone { wrong.withLock { $0 += 1 } }
    }
    #expect(wrong.withLock { $0 } == 0)
  }
}
