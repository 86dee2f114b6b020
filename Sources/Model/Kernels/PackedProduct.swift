import Foundation

/// Large matrix products with the bits of OpenBLAS's packed kernels, and less copying than theirs.
///
/// An element is a sum of parts, one for each stretch of `k` that OpenBLAS takes at once, each a chain of fused multiply-adds in
/// ascending order. So the bits follow from `k` and `depth` alone, and where OpenBLAS has the same they can take each other's place.
/// What is saved: of a product of activation rows only the weight is copied, not the rows; nothing is cleared before it is written;
/// and a tile of the result stays in cache over several stretches. After Goto, van de Geijn, "Anatomy of high-performance
/// matrix multiplication" (ACM TOMS 34(3), 2008).
package enum PackedProduct {
  /// Columns of `b` that are packed together, and how much of `k`, at most.
  private static let packedColumns = 768, packedDepth = 1_280
  /// Floats of `b` that are packed together, where no row of `a` is copied for them again: what stays in the second cache (1 MiB and
  /// more) beside a block of rows, because every block reads all of it.
  private static let packedFloats = 196_608
  /// Rows that share what is packed while it is in cache.
  private static let blockRows = 96
  /// Pitch of a block of a transposed `a`: no power of two, which would crowd a few sets of the cache.
  private static let blockPitch = blockRows + 16

  /// Whether the columns of a transposed `a`, whose elements lie pages apart, are multiplied where they lie.
  ///
  /// On Emerald Rapids it takes longer than to copy them (Documentation/Performance.md); AMD keeps that with which it was measured as a whole.
  package static let readsColumnsInPlace = Processor.vendor == "AuthenticAMD"

  /// Lengths of the stretches of `k` that OpenBLAS takes at once, where it takes at most `depth` (driver/level3/level3.c).
  package static func stretches(_ k: Int, depth: Int) -> [Int] {
    var stretches: [Int] = []
    var left = k
    while left > 0 {
      var length = left
      if length >= 2 * depth {
        length = depth
      } else if length > depth {
        length = (length / 2 + 15) / 16 * 16
      }
      stretches.append(length)
      left -= length
    }
    return stretches
  }

  /// `c[m, n] = op(a)[m, k] · op(b)[k, n]`, added to `c` where `accumulate` says so.
  package static func multiply(
    _ m: Int, _ n: Int, _ k: Int,
    _ a: UnsafePointer<Float>, _ lda: Int, transposeA: Bool,
    _ b: UnsafePointer<Float>, _ ldb: Int, transposeB: Bool,
    accumulate: Bool, _ c: UnsafeMutablePointer<Float>, _ ldc: Int, depth: Int,
    columnsInPlace: Bool = readsColumnsInPlace
  ) {
    precondition(depth <= packedDepth, "stretches of \(depth)")
    let scratch = Scratch.ofThread
    let stretches = stretches(k, depth: depth)
    var first = 0, start = 0
    while first < stretches.count {
      // As many stretches as are packed together.
      var last = first, length = 0
      while last < stretches.count, length + stretches[last] <= packedDepth {
        length += stretches[last]
        last += 1
      }
      let group = Group(
        stretches: stretches[first..<last], length: length, accumulates: accumulate || start > 0)
      let most =
        transposeA
        ? packedColumns
        : min(
          packedColumns, max(1, packedFloats / length / PackedTile.columns) * PackedTile.columns)
      for column in stride(from: 0, to: n, by: most) {
        let width = min(most, n - column)
        pack(
          transposeB ? b + column * ldb + start : b + start * ldb + column, ldb,
          transposed: transposeB, length, width, scratch.panels)
        for row in stride(from: 0, to: m, by: blockRows) {
          let height = min(blockRows, m - row)
          let corner = c + row * ldc + column
          if transposeA, columnsInPlace, lda % 512 != 0 {
            multiply(
              group, height, width, a + start * lda + row, 1, lda, scratch, corner, ldc)
          } else if transposeA {
            let from = a + start * lda + row
            for p in 0..<length {
              (scratch.block + p * blockPitch).update(from: from + p * lda, count: height)
            }
            multiply(
              group, height, width, scratch.block, 1, blockPitch, scratch, corner, ldc)
          } else {
            multiply(
              group, height, width, a + row * lda + start, lda, 1, scratch, corner, ldc)
          }
        }
      }
      first = last
      start += length
    }
  }

  /// Stretches that are packed together, and whether their sums are added to what is there.
  private struct Group {
    let stretches: ArraySlice<Int>
    let length: Int
    let accumulates: Bool
  }

  /// Copies `b[length, width]`, or its transpose, into panels `[length, 64]` side by side; the last one's missing columns are zero.
  private static func pack(
    _ b: UnsafePointer<Float>, _ ldb: Int, transposed: Bool, _ length: Int, _ width: Int,
    _ panels: UnsafeMutablePointer<Float>
  ) {
    let columns = PackedTile.columns
    for column in stride(from: 0, to: width, by: columns) {
      let panel = panels + column * length
      let count = min(columns, width - column)
      if transposed {
        LaneTranspose.write(
          panel, pitch: columns, b + column * ldb, ldb, rows: count, columns: length)
      } else if count == columns {
        for p in 0..<length {
          let from = b + p * ldb + column, to = panel + p * columns
          to.store(from.lanes(0), at: 0)
          to.store(from.lanes(16), at: 16)
          to.store(from.lanes(32), at: 32)
          to.store(from.lanes(48), at: 48)
        }
      } else {
        for p in 0..<length {
          let to = panel + p * columns
          to.update(from: b + p * ldb + column, count: count)
          (to + count).update(repeating: 0, count: columns - count)
        }
      }
    }
  }

  /// One block of rows by all packed columns.
  private static func multiply(
    _ group: Group, _ height: Int, _ width: Int, _ a: UnsafePointer<Float>, _ rowStride: Int,
    _ columnStride: Int, _ scratch: Scratch, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    let (rows, columns) = (PackedTile.rows, PackedTile.columns)
    let wholeRows = height / rows * rows
    for column in stride(from: 0, to: width, by: columns) {
      let panel = scratch.panels + column * group.length
      if column + columns <= width {
        for row in stride(from: 0, to: wholeRows, by: rows) {
          tile(
            group, a + row * rowStride, rowStride, columnStride, panel, c + row * ldc + column, ldc)
        }
        if wholeRows < height {
          edge(
            group, height - wholeRows, columns, a + wholeRows * rowStride, rowStride, columnStride,
            panel, scratch, c + wholeRows * ldc + column, ldc)
        }
      } else {
        for row in stride(from: 0, to: height, by: rows) {
          edge(
            group, min(rows, height - row), width - column, a + row * rowStride, rowStride,
            columnStride, panel, scratch, c + row * ldc + column, ldc)
        }
      }
    }
  }

  /// A whole tile, stretch by stretch.
  @inline(__always)
  private static func tile(
    _ group: Group, _ a: UnsafePointer<Float>, _ rowStride: Int, _ columnStride: Int,
    _ panel: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    var at = 0
    for stretch in group.stretches {
      PackedTile.multiply(
        stretch, a + at * columnStride, rowStride, columnStride, panel + at * PackedTile.columns,
        accumulate: group.accumulates || at > 0, isFirst: at == 0, c, ldc)
      at += stretch
    }
  }

  /// A tile of which only `height` rows and `width` columns exist, through copies.
  private static func edge(
    _ group: Group, _ height: Int, _ width: Int, _ a: UnsafePointer<Float>, _ rowStride: Int,
    _ columnStride: Int, _ panel: UnsafePointer<Float>, _ scratch: Scratch,
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    let (rows, columns) = (PackedTile.rows, PackedTile.columns)
    if group.accumulates {
      for row in 0..<height {
        (scratch.tile + row * columns).update(from: c + row * ldc, count: width)
      }
    }
    if height < rows {
      // Interleaved, so that one loop serves both layouts; what missing rows give is not looked at.
      for row in 0..<height {
        let from = a + row * rowStride
        for p in 0..<group.length { scratch.rows[p * rows + row] = from[p * columnStride] }
      }
      tile(group, scratch.rows, 1, rows, panel, scratch.tile, columns)
    } else {
      tile(group, a, rowStride, columnStride, panel, scratch.tile, columns)
    }
    for row in 0..<height {
      (c + row * ldc).update(from: scratch.tile + row * columns, count: width)
    }
  }

  /// Bytes of memory of one thread, kept until the thread ends.
  static var threadBytes: Int { Scratch.sizes.reduce(0, +) * MemoryLayout<Float>.stride }

  /// Memory of one thread, kept until the thread ends.
  private final class Scratch {
    /// Floats of the four pieces.
    static let sizes = [
      packedDepth * packedColumns, packedDepth * blockPitch, packedDepth * 16,
      PackedTile.rows * PackedTile.columns,
    ]
    let panels: UnsafeMutablePointer<Float>
    let block: UnsafeMutablePointer<Float>
    let rows: UnsafeMutablePointer<Float>
    let tile: UnsafeMutablePointer<Float>
    private let arena: Arena

    private init() {
      arena = Arena(count: Self.sizes.reduce(0, +))
      panels = arena.base
      block = panels + Self.sizes[0]
      rows = block + Self.sizes[1]
      tile = rows + Self.sizes[2]
    }

    /// The key under which each thread has its own.
    private static let key: pthread_key_t = {
      var key = pthread_key_t()
      let code = pthread_key_create(&key) { scratch in
        if let scratch { Unmanaged<Scratch>.fromOpaque(scratch).release() }
      }
      precondition(code == 0, "no key for a thread's memory: error \(code)")
      return key
    }()

    static var ofThread: Scratch {
      if let known = pthread_getspecific(key) {
        return Unmanaged<Scratch>.fromOpaque(known).takeUnretainedValue()
      }
      let made = Scratch()
      pthread_setspecific(key, Unmanaged.passRetained(made).toOpaque())
      return made
    }
  }
}
