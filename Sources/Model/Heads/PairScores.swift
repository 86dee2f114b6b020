/// The scores of all pairs of one sequence's tokens for one class, and the multi-label cross-entropy over them (Su and others,
/// "Global Pointer", 2022).
///
/// They exist for one class at a time, in memory that its user has planned. Sums run over tokens in ascending order, so that bits depend on the sequence alone.
struct PairScores {
  /// Elements of a query and of a key.
  static let width = 64
  private static let scale = 1 / Float(width).squareRoot()

  /// Tokens `S`, and `S` rounded up to whole lanes.
  let tokens: Int, pitch: Int
  /// The transposed keys `[width, pitch]`.
  private let keys: UnsafeMutablePointer<Float>
  /// `[S, pitch]`: first the scores, then their slopes.
  private let values: UnsafeMutablePointer<Float>

  /// Scores in `scratch`, which has room for `scratch(tokens:)` floats.
  init(tokens: Int, scratch: UnsafeMutablePointer<Float>) {
    self.tokens = tokens
    pitch = Self.pitch(tokens)
    keys = scratch
    values = scratch + Self.width * pitch
  }

  private static func pitch(_ tokens: Int) -> Int { (tokens + 15) / 16 * 16 }

  /// Floats that the scores of `tokens` tokens need.
  static func scratch(tokens: Int) -> Int { (width + tokens) * pitch(tokens) }

  subscript(i: Int, j: Int) -> Float { values[i * pitch + j] }

  // MARK: Scores

  /// `s = q·k / √width` of every pair: queries and keys are `[S, width]` with the pitch `ld`.
  func fill(queries: UnsafePointer<Float>, keys rows: UnsafePointer<Float>, _ ld: Int) {
    LaneTranspose.write(keys, pitch: pitch, rows, ld, rows: tokens, columns: Self.width)
    MicroProduct.multiply(
      tokens, pitch, Self.width, queries, ld, 1, keys, pitch, accumulate: false, values, pitch)
    forLanes(tokens * pitch) { i, _ in values.store(values.lanes(i) * Self.scale, at: i) }
  }

  /// The scores `[queries, keys]` of some queries and some keys, with the bits that `fill` gives them.
  static func scores(
    queries: [UnsafeMutablePointer<Float>], keys: [UnsafeMutablePointer<Float>]
  ) -> [Float] {
    var scores = [Float](repeating: 0, count: queries.count * keys.count)
    var columns = [Float](repeating: 0, count: width * keys.count)
    for (j, key) in keys.enumerated() {
      for i in 0..<width { columns[i * keys.count + j] = key[i] }
    }
    scores.withUnsafeMutableBufferPointer { scores in
      guard let scores = scores.baseAddress else { return }
      for (i, query) in queries.enumerated() {
        MicroProduct.multiply(
          1, keys.count, width, query, width, 1, columns, keys.count, accumulate: false,
          scores + i * keys.count, keys.count)
      }
    }
    return scores.map { $0 * scale }
  }

  // MARK: Loss

  /// `log(1 + Σ exp s)` over the pairs that are wrong plus `log(1 + Σ exp −s)` over those that are right; with `slopes` the scores become
  /// their slopes.
  ///
  /// `gold`: what is right, as `i · S + j`, each once, ascending. With `isTriangular` only pairs with i ≤ j count.
  func loss(gold: [Int], isTriangular: Bool, slopes: Bool) -> Double {
    let right = gold.map { Double(self[$0 / tokens, $0 % tokens]) }
    let goldTop = right.reduce(0) { max($0, -$1) }
    let goldSum = right.reduce(DoubleMath.exp(-goldTop)) { $0 + DoubleMath.exp(-$1 - goldTop) }
    let goldTotal = goldTop + DoubleMath.log(goldSum)
    // What is right is not among the wrong.
    for place in gold { values[place / tokens * pitch + place % tokens] = -.infinity }

    var largest = Lanes.zero
    for i in 0..<tokens {
      forColumns(ofRow: i, isTriangular) { at, counts in
        let s = values.lanes(at)
        largest = largest.replacing(with: s, where: (s .> largest) .& counts)
      }
    }
    // Of the scores and the 0 that stands for the 1: `top` is the largest, so no power is above 1.
    let top = largest.foldedMaximum()
    var sum = DoubleMath.exp(-Double(top))
    for i in 0..<tokens {
      var row = Lanes.zero
      forColumns(ofRow: i, isTriangular) { at, counts in
        row += Lanes.zero.replacing(with: VectorMath.exp(values.lanes(at) - top), where: counts)
      }
      sum += Double(row.folded())
    }
    let total = Double(top) + DoubleMath.log(sum)
    if slopes {
      turnToSlopes(total: Float(total), isTriangular)
      for (place, score) in zip(gold, right) {
        values[place / tokens * pitch + place % tokens] = Float(-DoubleMath.exp(-score - goldTotal))
      }
    }
    return total + goldTotal
  }

  /// Of a pair that is wrong `exp(s − total)`, and 0 where a pair does not count.
  private func turnToSlopes(total: Float, _ isTriangular: Bool) {
    for i in 0..<tokens {
      for j in 0..<(isTriangular ? i / 16 * 16 : 0) { values[i * pitch + j] = 0 }
      forColumns(ofRow: i, isTriangular) { at, counts in
        let slope = VectorMath.exp(values.lanes(at) - total)
        values.store(Lanes.zero.replacing(with: slope, where: counts), at: at)
      }
    }
  }

  /// Calls `body` for the columns of row `i` that hold pairs: where sixteen of them lie, and which of those count.
  @inline(__always)
  private func forColumns(
    ofRow i: Int, _ isTriangular: Bool,
    _ body: (_ at: Int, _ counts: SIMDMask<SIMD16<Int32>>) -> Void
  ) {
    let first = isTriangular ? i : 0
    for j in stride(from: first / 16 * 16, to: tokens, by: 16) {
      let columns = laneNumbers &+ UInt32(j)
      body(i * pitch + j, (columns .>= UInt32(first)) .& (columns .< UInt32(tokens)))
    }
  }

  // MARK: Gradient

  /// The gradients of queries and keys `[S, width]` with the pitch `ld`, written; after `loss` has turned the scores to slopes.
  func backward(
    queries: UnsafePointer<Float>, keys rows: UnsafePointer<Float>,
    dQueries: UnsafeMutablePointer<Float>, dKeys: UnsafeMutablePointer<Float>, _ ld: Int
  ) {
    forLanes(tokens * pitch) { i, _ in values.store(values.lanes(i) * Self.scale, at: i) }
    MicroProduct.multiply(
      tokens, Self.width, tokens, values, pitch, 1, rows, ld, accumulate: false, dQueries, ld)
    MicroProduct.multiply(
      tokens, Self.width, tokens, values, 1, pitch, queries, ld, accumulate: false, dKeys, ld)
  }
}
