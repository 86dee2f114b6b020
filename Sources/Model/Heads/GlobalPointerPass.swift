/// The head that scores every span of a sequence for every type of entity: GlobalPointer (Su and others, 2022; bert4keras).
///
/// For each type a query and a key a token, both turned by their position (RoPE, Su and others, 2021), so that scores know how far apart
/// first and last token are: `s = q·k / √d` for first ≤ last. A span with a positive score is an entity, so spans may nest.
///
/// The loss of a type is `log(1 + Σ exp s)` over the spans that are none plus `log(1 + Σ exp −s)` over those that are; an example's is
/// the sum over its types.
struct GlobalPointerPass: HeadPass {
  private let head: Head
  private let dense: HeadDense
  private let types: Int
  /// Queries and keys are turned where they lie; a row is `[C, 2, width]`.
  private let rotation: RotaryEmbedding

  /// Elements of a query `d`.
  static let width = 64

  init(_ setting: HeadSetting, plan: inout Workspace.Plan) {
    head = setting.head
    types = setting.head.outputs
    dense = HeadDense(setting, "global_pointer", outputs: 2 * Self.width * types, plan: &plan)
    rotation = RotaryEmbedding(
      width: Self.width, positions: setting.batch.sequences.map(\.ids.count).max() ?? 0)
  }

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    encoder.forEachTile(of: encoder.tokens) { range, mask in
      dense.forward(encoder, encoder.tokens, range, x: rows, mask: mask)
      for row in range { turn(dense.values, encoder, row, back: false) }
    }
  }

  private func turn(
    _ values: UnsafeMutablePointer<Float>, _ encoder: EncoderPass, _ row: Int, back: Bool
  ) {
    let vectors = values + row * dense.outputs
    let position = row - encoder.batch.offsets[encoder.sequenceContaining(row)]
    for number in 0..<2 * types {
      rotation.turn(vectors + number * Self.width, position: position, back: back)
    }
  }

  // MARK: Scores

  private static let scale = 1 / Float(width).squareRoot()

  /// The score of the span from row `first` to row `last`, of the type whose query begins at column `column`.
  private func score(_ first: Int, _ last: Int, _ column: Int) -> Float {
    let q = dense.values + first * dense.outputs + column
    let k = dense.values + last * dense.outputs + column + Self.width
    var sum = Lanes.zero
    for i in stride(from: 0, to: Self.width, by: 16) { sum += q.lanes(i) * k.lanes(i) }
    return sum.sum() * Self.scale
  }

  /// The loss of one type over the `count` tokens from row `start` on, whose entities are `gold`, as `first · count + last`.
  private func loss(type: Int, _ start: Int, _ count: Int, gold: Set<Int>) -> Double {
    let column = 2 * Self.width * type
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: count * count) { memory in
      guard let scores = memory.baseAddress else { preconditionFailure("no memory") }
      // The largest of s, or of −s, and 0.
      var (top, goldTop) = (0.0, 0.0)
      for first in 0..<count {
        for last in first..<count {
          let score = score(start + first, start + last, column)
          scores[first * count + last] = score
          if gold.contains(first * count + last) {
            goldTop = max(goldTop, -Double(score))
          } else {
            top = max(top, Double(score))
          }
        }
      }
      var (sum, goldSum) = (DoubleMath.exp(-top), DoubleMath.exp(-goldTop))
      for first in 0..<count {
        for last in first..<count {
          let score = Double(scores[first * count + last])
          if gold.contains(first * count + last) {
            goldSum += DoubleMath.exp(-score - goldTop)
          } else {
            sum += DoubleMath.exp(score - top)
          }
        }
      }
      let (total, goldTotal) = (top + DoubleMath.log(sum), goldTop + DoubleMath.log(goldSum))
      if dense.gradient != nil {
        for first in 0..<count {
          for last in first..<count {
            let place = first * count + last, score = Double(scores[place])
            let slope =
              gold.contains(place)
              ? -DoubleMath.exp(-score - goldTotal) : DoubleMath.exp(score - total)
            addGradient(Float(slope) * Self.scale, start + first, start + last, column)
          }
        }
      }
      return total + goldTotal
    }
  }

  private func addGradient(_ slope: Float, _ first: Int, _ last: Int, _ column: Int) {
    guard slope != 0, let gradient = dense.gradient else { return }
    let (a, b) = (first * dense.outputs + column, last * dense.outputs + column + Self.width)
    for i in stride(from: 0, to: Self.width, by: 16) {
      (gradient + a).store((gradient + a).lanes(i) + slope * (dense.values + b).lanes(i), at: i)
      (gradient + b).store((gradient + b).lanes(i) + slope * (dense.values + a).lanes(i), at: i)
    }
  }

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let start = batch.offsets[example], count = batch.offsets[example + 1] - start
    dense.gradient.map { $0 + start * dense.outputs }?
      .update(repeating: 0, count: count * dense.outputs)
    var gold = [Set<Int>](repeating: [], count: types)
    for span in Head.globalPointerSpans(batch.target(example)) {
      precondition(
        span.type < types && span.first <= span.last && span.last < count,
        "span \(span) of \(count) tokens and \(types) types")
      gold[span.type].insert(span.first * count + span.last)
    }
    return gold.indices.reduce(0) { $0 + loss(type: $1, start, count, gold: gold[$1]) }
  }

  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    encoder.forEachTile(of: encoder.tokens) { range, mask in
      if let gradient = dense.gradient {
        for row in range { turn(gradient, encoder, row, back: true) }
      }
      dense.backward(encoder, encoder.tokens, range, into: d, mask: mask)
    }
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    encoder.compute([dense.weightGradient(encoder, tokens: rows, into: target)])
  }

  /// The entities: type, first token, last token and score of each, by type and place.
  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    head.globalPointerEntities(
      scores(ofExample: example, batch, rows: rows, given: nil),
      tokens: batch.offsets[example + 1] - batch.offsets[example])
  }

  /// The score of every span, as `Head.globalPointerEntities` reads them.
  func scores(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>,
    given subjects: [HeadSpan]?
  ) -> [Float] {
    let tokens = batch.offsets[example]..<batch.offsets[example + 1]
    return (0..<types).flatMap { type in
      tokens.flatMap { first in
        (first..<tokens.upperBound).map { score(first, $0, 2 * Self.width * type) }
      }
    }
  }
}

/// Vectors turned by their position: each pair of neighbours by an angle of `position · 10000^(−2i/d)` (RoFormer, section 3.4.2).
struct RotaryEmbedding {
  private let width: Int
  /// `[positions, width / 2]`.
  private var cosines: [Float] = [], sines: [Float] = []

  /// `width`: a power of two.
  ///
  /// Angles come from basic arithmetic, so that every processor has the same bits.
  init(width: Int, positions: Int) {
    precondition(width >= 2 && width.nonzeroBitCount == 1, "a width of \(width)")
    self.width = width
    let pairs = width / 2
    // 10000^(1/pairs), by as many roots as `pairs` has halves.
    var base = 10_000.0
    for _ in 0..<pairs.trailingZeroBitCount { base = base.squareRoot() }
    var angles = [1.0]
    for _ in 1..<pairs { angles.append(angles[angles.count - 1] / base) }
    let steps = angles.map { (cos: Self.cosine($0), sin: Self.sine($0)) }
    var turned = steps.map { _ in (cos: 1.0, sin: 0.0) }
    cosines.reserveCapacity(positions * pairs)
    sines.reserveCapacity(positions * pairs)
    for _ in 0..<positions {
      cosines += turned.map { Float($0.cos) }
      sines += turned.map { Float($0.sin) }
      for i in turned.indices {
        let (a, b) = (turned[i], steps[i])
        turned[i] = (a.cos * b.cos - a.sin * b.sin, a.sin * b.cos + a.cos * b.sin)
      }
    }
  }

  /// Turns `vector [width]` to `position`, or back.
  func turn(_ vector: UnsafeMutablePointer<Float>, position: Int, back: Bool) {
    let pairs = width / 2
    for i in 0..<pairs {
      let cos = cosines[position * pairs + i], sin = sines[position * pairs + i] * (back ? -1 : 1)
      let (x, y) = (vector[2 * i], vector[2 * i + 1])
      vector[2 * i] = x * cos - y * sin
      vector[2 * i + 1] = y * cos + x * sin
    }
  }

  /// For 0 ≤ x ≤ 1, by its series.
  private static func sine(_ x: Double) -> Double {
    var sum = 1.0
    for k in stride(from: 20.0, through: 2, by: -2) { sum = 1 - x * x / (k * (k + 1)) * sum }
    return x * sum
  }

  private static func cosine(_ x: Double) -> Double {
    var sum = 1.0
    for k in stride(from: 19.0, through: 1, by: -2) { sum = 1 - x * x / (k * (k + 1)) * sum }
    return sum
  }
}

extension Head {
  /// The target of a `globalPointer` head: how many entities, then type, first and last token of each.
  package static func globalPointerTarget(_ spans: [(type: Int, first: Int, last: Int)]) -> [Float]
  {
    [Float(spans.count)] + spans.flatMap { [Float($0.type), Float($0.first), Float($0.last)] }
  }

  static func globalPointerSpans(_ target: [Float]) -> [(type: Int, first: Int, last: Int)] {
    stride(from: 1, to: target.count, by: 3).map {
      (Int(target[$0]), Int(target[$0 + 1]), Int(target[$0 + 2]))
    }
  }
}
