/// Scaled dot-product attention of one head over one sequence.
///
/// Scores exist for a tile of queries at a time; backward recomputes them from each query's maximum
/// and inverse sum. Source: Vaswani et al., "Attention is all you need" (2017), section 3.2.1.
struct Attention {
  /// Head width `D`.
  let width: Int
  /// `1/√D`.
  let scale: Float
  let dropout: Dropout?

  /// Queries whose scores exist at once; a multiple of 8 keeps dropout groups whole.
  static let tile = 64

  /// One head of one sequence: `queries` rows of `q`, `keys` rows of `k` and `v`.
  struct Work {
    var queries: Int
    var keys: Int
    var q: UnsafePointer<Float>, ldq: Int
    var k: UnsafePointer<Float>, v: UnsafePointer<Float>, ldk: Int
    /// The context rows `[queries, D]`.
    var context: UnsafeMutablePointer<Float>, ldc: Int
    /// For each query its largest score and the inverse of its sum of exponentials, `stride` apart.
    var maximum: UnsafeMutablePointer<Float>, inverse: UnsafeMutablePointer<Float>, stride: Int
    var head: Int
    var example: UInt32
    /// `RandomPurpose.attentionDropout.word(layer:)`.
    var purpose: UInt32

    /// The pitch of a score row.
    var pitch: Int { Attention.pitch(keys: keys) }
  }

  /// `keys` rounded up to whole lanes: the pitch of a row of scores.
  static func pitch(keys: Int) -> Int { (keys + 15) / 16 * 16 }

  /// Floats of scratch that one call needs for sequences of up to `keys` tokens.
  static func scratch(keys: Int, width: Int) -> Int {
    let pitch = pitch(keys: keys)
    return 3 * width * pitch + 2 * width * tile + 3 * Dropout.room(for: tile * pitch)
  }

  /// Writes the context rows and what backward needs.
  func forward(_ w: Work, scratch: UnsafeMutablePointer<Float>) {
    let pitch = w.pitch
    let keysT = scratch, values = keysT + width * pitch, scores = values + width * pitch
    let mask = scores + Dropout.room(for: Self.tile * pitch)
    LaneTranspose.write(keysT, pitch: pitch, w.k, w.ldk, rows: w.keys, columns: width)
    gather(w.v, w.ldk, rows: w.keys, into: values)
    for start in stride(from: 0, to: w.queries, by: Self.tile) {
      let rows = min(Self.tile, w.queries - start)
      MicroProduct.multiply(
        rows, pitch, width, w.q + start * w.ldq, w.ldq, 1, keysT, pitch, accumulate: false, scores,
        pitch)
      for row in 0..<rows {
        let (maximum, inverse) = softmax(scores + row * pitch, keys: w.keys)
        w.maximum[(start + row) * w.stride] = maximum
        w.inverse[(start + row) * w.stride] = inverse
      }
      if let dropout {
        fill(mask, dropout, w, start: start, rows: rows)
        var i = 0
        while i < rows * pitch {
          scores.store(scores.lanes(i) * mask.lanes(i), at: i)
          i += 16
        }
      }
      MicroProduct.multiply(
        rows, width, w.keys, scores, pitch, 1, values, width, accumulate: false,
        w.context + start * w.ldc, w.ldc)
    }
  }

  /// Copies one head's rows, which lie a layer's width apart, next to one another.
  ///
  /// So far apart they would fall on a few sets of the first cache, and every product that reads them over and over from the second.
  private func gather(
    _ x: UnsafePointer<Float>, _ ldx: Int, rows: Int, into y: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows { (y + row * width).update(from: x + row * ldx, count: width) }
  }

  /// Turns a row of raw scores into probabilities in place; columns past `keys` become zero.
  func softmax(
    _ row: UnsafeMutablePointer<Float>, keys: Int
  ) -> (maximum: Float, inverse: Float) {
    let maximum = largest(row, keys: keys) * scale
    let inverse = 1 / exponentials(row, keys: keys, maximum)
    forLanes(keys) { i, _ in row.store(row.lanes(i) * inverse, at: i) }
    return (maximum, inverse)
  }

  // Functions by themselves, in which the compiler puts `VectorMath.exp` into the loop: in a longer one it would be a call for every
  // sixteen scores.

  /// The largest of `keys` scores.
  @inline(never)
  private func largest(_ row: UnsafePointer<Float>, keys: Int) -> Float {
    var largest = Lanes(repeating: -.infinity)
    forLanesOnce(keys) { i, n in
      var v = row.lanes(i)
      if n < 16 { for lane in n..<16 { v[lane] = -.infinity } }
      largest = largest.replacing(with: v, where: v .> largest)
    }
    return largest.foldedMaximum()
  }

  /// Turns `keys` raw scores into the exponentials of what they are below `maximum`, in place, and returns their sum; what is behind them
  /// becomes zero.
  @inline(never)
  private func exponentials(
    _ row: UnsafeMutablePointer<Float>, keys: Int, _ maximum: Float
  ) -> Float {
    var sum = Lanes.zero
    forLanesOnce(keys) { i, n in
      let e = exponential(row, i, n, maximum)
      row.store(e, at: i)
      sum += e
    }
    return sum.folded()
  }

  @inline(__always)
  private func exponential(
    _ row: UnsafeMutablePointer<Float>, _ i: Int, _ n: Int, _ maximum: Float
  ) -> Lanes {
    var e = VectorMath.exp(row.lanes(i) * scale - maximum)
    if n < 16 { for lane in n..<16 { e[lane] = 0 } }
    return e
  }

  private func fill(
    _ mask: UnsafeMutablePointer<Float>, _ dropout: Dropout, _ w: Work, start: Int, rows: Int
  ) {
    dropout.fill(
      mask, count: rows * w.pitch, base: Self.place(head: w.head) | UInt32(start * w.pitch / 8),
      example: w.example, purpose: w.purpose)
  }

  /// Where the dropout of `head` starts among an example's: 2²⁰ blocks of eight scores each.
  static func place(head: Int) -> UInt32 { UInt32(head) << 20 }

  /// Writes `dq`, `dk`, `dv` (row pitches `lddq`, `lddk`) from `dContext` (pitch `ldd`).
  func backward(
    _ w: Work, dContext: UnsafePointer<Float>, _ ldd: Int,
    dq: UnsafeMutablePointer<Float>, _ lddq: Int,
    dk: UnsafeMutablePointer<Float>, dv: UnsafeMutablePointer<Float>, _ lddk: Int,
    scratch: UnsafeMutablePointer<Float>
  ) {
    let pitch = w.pitch
    let keysT = scratch, valuesT = keysT + width * pitch, keys = valuesT + width * pitch
    let queries = keys + width * pitch, outputs = queries + width * Self.tile
    let probabilities = outputs + width * Self.tile
    let mask = probabilities + Dropout.room(for: Self.tile * pitch)
    let gradient = mask + Dropout.room(for: Self.tile * pitch)
    LaneTranspose.write(keysT, pitch: pitch, w.k, w.ldk, rows: w.keys, columns: width)
    LaneTranspose.write(valuesT, pitch: pitch, w.v, w.ldk, rows: w.keys, columns: width)
    gather(w.k, w.ldk, rows: w.keys, into: keys)
    for start in stride(from: 0, to: w.queries, by: Self.tile) {
      let rows = min(Self.tile, w.queries - start)
      gather(w.q + start * w.ldq, w.ldq, rows: rows, into: queries)
      gather(dContext + start * ldd, ldd, rows: rows, into: outputs)
      MicroProduct.multiply(
        rows, pitch, width, queries, width, 1, keysT, pitch, accumulate: false, probabilities,
        pitch)
      MicroProduct.multiply(
        rows, pitch, width, outputs, width, 1, valuesT, pitch, accumulate: false, gradient, pitch)
      if let dropout { fill(mask, dropout, w, start: start, rows: rows) }
      for row in 0..<rows {
        scoreGradient(
          w, query: start + row, probabilities + row * pitch, gradient + row * pitch,
          dropout == nil ? nil : mask + row * pitch, dContext: outputs + row * width)
      }
      let accumulate = start > 0
      MicroProduct.multiply(
        w.keys, width, rows, probabilities, 1, pitch, outputs, width, accumulate: accumulate, dv,
        lddk)
      MicroProduct.multiply(
        rows, width, w.keys, gradient, pitch, 1, keys, width, accumulate: false,
        dq + start * lddq, lddq)
      MicroProduct.multiply(
        w.keys, width, rows, gradient, 1, pitch, queries, width, accumulate: accumulate, dk, lddk)
    }
  }

  /// For one query: `probabilities` from raw scores to dropped probabilities, `gradient` from the
  /// gradient of those to the gradient of the raw scores.
  ///
  /// `dS = P (m dP′ − dO·O) / √D`, where `dO·O` is the row sum of `P m dP′`.
  @inline(never)
  private func scoreGradient(
    _ w: Work, query: Int, _ probabilities: UnsafeMutablePointer<Float>,
    _ gradient: UnsafeMutablePointer<Float>, _ mask: UnsafeMutablePointer<Float>?,
    dContext: UnsafePointer<Float>
  ) {
    var product = Lanes.zero
    let context = w.context + query * w.ldc
    forLanes(width) { i, n in product.addProduct(dContext.lanes(i, n), context.lanes(i, n)) }
    let inner = product.folded()
    let maximum = w.maximum[query * w.stride], inverse = w.inverse[query * w.stride]
    forLanesOnce(w.keys) { i, n in
      let p = exponential(probabilities, i, n, maximum) * inverse
      if let mask {
        let m = mask.lanes(i)
        gradient.store(p * (m * gradient.lanes(i) - inner) * scale, at: i)
        probabilities.store(p * m, at: i)
      } else {
        gradient.store(p * (gradient.lanes(i) - inner) * scale, at: i)
        probabilities.store(p, at: i)
      }
    }
  }
}
