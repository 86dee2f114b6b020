/// Sums over the rows of each leaf, column by column, folded over leaves by the canonical tree.
enum ColumnSums {
  /// `sums[columns] = Σ rows a[row, column]`.
  static func fold(
    _ sums: UnsafeMutablePointer<Float>, _ a: UnsafePointer<Float>, _ lda: Int, columns: Int,
    leafStarts: [Int]
  ) {
    forStrips(columns) { i in
      fold(leafStarts) { row in Strip(a + row * lda + i) }.store(sums + i)
    } rest: { i, n in
      sums.store(fold(leafStarts) { row in a.lanes(row * lda + i, n) }, at: i, n)
    }
  }

  /// A layer norm's `dγ = Σ dy x̂` and `dβ = Σ dy`.
  static func foldNorm(
    gamma: UnsafeMutablePointer<Float>, beta: UnsafeMutablePointer<Float>,
    dy: UnsafePointer<Float>, normal: UnsafePointer<Float>, pitch: Int, columns: Int,
    leafStarts: [Int]
  ) {
    forStrips(columns) { i in
      fold(leafStarts) { row in
        Strip(dy + row * pitch + i) * Strip(normal + row * pitch + i)
      }.store(gamma + i)
    } rest: { i, n in
      let sum = fold(leafStarts) { row in
        dy.lanes(row * pitch + i, n) * normal.lanes(row * pitch + i, n)
      }
      gamma.store(sum, at: i, n)
    }
    fold(beta, dy, pitch, columns: columns, leafStarts: leafStarts)
  }

  /// Calls `strip(i)` for every 64 columns, and `rest(i, n)` for what is left, n ≤ 16 columns at a time.
  @inline(__always)
  private static func forStrips(
    _ columns: Int, _ strip: (_ i: Int) -> Void, rest: (_ i: Int, _ n: Int) -> Void
  ) {
    let whole = columns / Strip.width * Strip.width
    for i in stride(from: 0, to: whole, by: Strip.width) { strip(i) }
    forLanes(columns - whole) { rest(whole + $0, $1) }
  }

  /// The tree sum over leaves of each leaf's rows summed in order.
  @inline(__always)
  static func fold<Columns: ColumnGroup>(_ leafStarts: [Int], _ value: (Int) -> Columns) -> Columns
  {
    let leaves = leafStarts.count - 1
    return withUnsafeTemporaryAllocation(of: Columns.self, capacity: 64) { slots in
      LeafFold.run(leaves: leaves) { _ in
        false
      } produce: { leaf, slot, _ in
        var sum = Columns.zero
        for row in leafStarts[leaf]..<leafStarts[leaf + 1] { sum = sum + value(row) }
        slots[slot] = sum
      } merge: { from, into in
        slots[into] = slots[into] + slots[from]
      }
      return slots[0]
    }
  }
}

/// Neighbouring columns that are summed at once.
protocol ColumnGroup {
  static var zero: Self { get }
  static func + (a: Self, b: Self) -> Self
}

extension Lanes: ColumnGroup {}

/// 64 columns: four cache lines of a row, so that a column's walk over the rows, a page each, is made for many columns.
private struct Strip: ColumnGroup {
  static let width = 64
  var a, b, c, d: Lanes

  static var zero: Strip { Strip(a: .zero, b: .zero, c: .zero, d: .zero) }

  @inline(__always) init(a: Lanes, b: Lanes, c: Lanes, d: Lanes) {
    self.a = a
    self.b = b
    self.c = c
    self.d = d
  }

  @inline(__always) init(_ p: UnsafePointer<Float>) {
    self.init(a: p.lanes(0), b: p.lanes(16), c: p.lanes(32), d: p.lanes(48))
  }

  @inline(__always) func store(_ p: UnsafeMutablePointer<Float>) {
    p.store(a, at: 0)
    p.store(b, at: 16)
    p.store(c, at: 32)
    p.store(d, at: 48)
  }

  @inline(__always) static func + (x: Strip, y: Strip) -> Strip {
    Strip(a: x.a + y.a, b: x.b + y.b, c: x.c + y.c, d: x.d + y.d)
  }

  @inline(__always) static func * (x: Strip, y: Strip) -> Strip {
    Strip(a: x.a * y.a, b: x.b * y.b, c: x.c * y.c, d: x.d * y.d)
  }
}
