/// Makes tokens know a subject, given by its first and last token `k₁`, `k₂`.
///
/// `.mean`: `t′ = t + (t[k₁] + t[k₂]) / 2`. Else `t′ = (γ + W_γ c) · x̂ + (β + W_β c)` with `c = [t[k₁]; t[k₂]]`, where x̂ is
/// `t` normalised; W start at zero, so that training begins with a plain layer norm. Which `t` the head hands in: the last layer's
/// outputs, or for `.preNorm` the sums in front of its norm.
final class SubjectCondition {
  private let kind: Head.Conditioning
  private let hidden: Int
  private let epsilon: Float
  private let parameters: UnsafePointer<Float>
  private var norm: ParameterOffsets.Norm?
  private var gammaWeight = 0, betaWeight = 0
  /// x̂ `[T, H]` and 1/√(var + ε) `[T]`; of each example c `[2H]`, its γ and β `[H]` and their gradients.
  private var normal: UnsafeMutablePointer<Float>?, r: UnsafeMutablePointer<Float>?
  private var vectors: UnsafeMutablePointer<Float>?, gains: UnsafeMutablePointer<Float>?
  private var dGains: UnsafeMutablePointer<Float>?

  init(_ setting: HeadSetting, _ kind: Head.Conditioning, plan: inout Workspace.Plan) {
    self.kind = kind
    hidden = setting.hidden
    epsilon = setting.engine.configuration.layerNormEpsilon
    parameters = setting.parameters
    guard kind != .mean else { return }
    norm = ParameterOffsets.Norm(
      gamma: setting.offset("condition.LayerNorm.weight"),
      beta: setting.offset("condition.LayerNorm.bias"))
    gammaWeight = setting.offset("condition.gamma.weight")
    betaWeight = setting.offset("condition.beta.weight")
    let examples = setting.batch.exampleCount
    normal = plan.take(setting.rows * hidden)
    r = plan.take(setting.rows)
    vectors = plan.take(examples * 2 * hidden)
    gains = plan.take(examples * 2 * hidden)
    dGains = setting.trains ? plan.take(examples * 2 * hidden) : nil
  }

  /// `t′` of the tokens `range` into the same rows of `out`; keeps what backward needs.
  func forward(
    _ example: Int, _ rows: UnsafePointer<Float>, _ range: Range<Int>,
    subject: (first: Int, last: Int), into out: UnsafeMutablePointer<Float>
  ) {
    let h = hidden, target = out + range.lowerBound * h
    guard let normal, let r, let vectors, let gains else {
      compute(rows, range, subject: subject, into: target)
      return
    }
    normalize(
      rows, range, subject, vectors + example * 2 * h, gains + example * 2 * h,
      normal + range.lowerBound * h, r + range.lowerBound, target)
  }

  /// The same into `out [S, H]`, keeping nothing.
  func compute(
    _ rows: UnsafePointer<Float>, _ range: Range<Int>, subject: (first: Int, last: Int),
    into out: UnsafeMutablePointer<Float>
  ) {
    let h = hidden, t = rows + range.lowerBound * h
    guard kind != .mean else {
      let a = t + subject.first * h, b = t + subject.last * h
      for row in 0..<range.count {
        let x = t + row * h, y = out + row * h
        forLanes(h) { i, n in
          y.store(x.lanes(i, n) + (a.lanes(i, n) + b.lanes(i, n)) * 0.5, at: i, n)
        }
      }
      return
    }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: (4 + range.count) * h + range.count) {
      memory in
      guard let base = memory.baseAddress else { return }
      normalize(
        rows, range, subject, base, base + 2 * h, base + 4 * h, base + (4 + range.count) * h, out)
    }
  }

  private func normalize(
    _ rows: UnsafePointer<Float>, _ range: Range<Int>, _ subject: (first: Int, last: Int),
    _ vector: UnsafeMutablePointer<Float>, _ gain: UnsafeMutablePointer<Float>,
    _ normal: UnsafeMutablePointer<Float>, _ r: UnsafeMutablePointer<Float>,
    _ out: UnsafeMutablePointer<Float>
  ) {
    guard let norm else { preconditionFailure("this condition has no layer norm") }
    let h = hidden, t = rows + range.lowerBound * h
    vector.update(from: t + subject.first * h, count: h)
    (vector + h).update(from: t + subject.last * h, count: h)
    for (part, weight) in [gammaWeight, betaWeight].enumerated() {
      let y = gain + part * h, base = parameters + (part == 0 ? norm.gamma : norm.beta)
      RowProduct.forward(1, h, 2 * h, vector, 2 * h, parameters + weight, y, h)
      forLanes(h) { i, n in y.store(y.lanes(i, n) + base.lanes(i, n), at: i, n) }
    }
    for row in 0..<range.count {
      let z = normal + row * h
      z.update(from: t + row * h, count: h)
      r[row] = LayerNorm.forward(
        y: out + row * h, z: z, width: h, gamma: gain, beta: gain + h, epsilon: epsilon)
    }
  }

  /// Adds the gradient of the tokens `range` to `d`, from that of `t′`.
  func backward(
    _ example: Int, _ range: Range<Int>, subject: (first: Int, last: Int),
    _ dOut: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    let h = hidden, first = range.lowerBound
    let a = d + (first + subject.first) * h, b = d + (first + subject.last) * h
    guard kind != .mean, let normal, let r, let gains, let dGains else {
      for row in range {
        let x = d + row * h, dy = dOut + row * h
        forLanes(h) { i, n in x.store(x.lanes(i, n) + dy.lanes(i, n), at: i, n) }
      }
      forLanes(h) { i, n in
        var sum = Lanes.zero
        for row in range { sum += (dOut + row * h).lanes(i, n) }
        a.store(a.lanes(i, n) + sum * 0.5, at: i, n)
        b.store(b.lanes(i, n) + sum * 0.5, at: i, n)
      }
      return
    }
    let gain = gains + example * 2 * h, dGain = dGains + example * 2 * h
    ColumnSums.foldNorm(
      gamma: dGain, beta: dGain + h, dy: dOut + first * h, normal: normal + first * h, pitch: h,
      columns: h, leafStarts: [0, range.count])
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 4 * h) { memory in
      guard let dz = memory.baseAddress else { return }
      for row in range {
        LayerNorm.backward(
          dz: dz, dy: dOut + row * h, normal: normal + row * h, r: r[row], gamma: gain, width: h)
        let x = d + row * h
        forLanes(h) { i, n in x.store(x.lanes(i, n) + dz.lanes(i, n), at: i, n) }
      }
      let dVector = dz + 2 * h
      RowProduct.backward(
        1, 2 * h, h, dGain, h, parameters + gammaWeight, accumulate: false, dVector, 2 * h)
      RowProduct.backward(
        1, 2 * h, h, dGain + h, h, parameters + betaWeight, accumulate: true, dVector, 2 * h)
      forLanes(h) { i, n in
        a.store(a.lanes(i, n) + dVector.lanes(i, n), at: i, n)
        b.store(b.lanes(i, n) + dVector.lanes(h + i, n), at: i, n)
      }
    }
  }

  /// The gradients of W_γ and W_β as jobs; γ and β are their biases.
  func weightGradients(leafStarts: [Int], into target: GradientTarget) -> [WeightGradient] {
    guard let norm, let vectors, let dGains else { return [] }
    let h = hidden
    return [(gammaWeight, norm.gamma, 0), (betaWeight, norm.beta, h)].map { weight, bias, part in
      WeightGradient(
        dy: dGains + part, ldy: 2 * h, x: vectors, ldx: 2 * h, outputs: h, inputs: 2 * h,
        weight: target.place(weight), bias: target.place(bias), leafStarts: leafStarts)
    }
  }
}
