/// The head that compares the [CLS] vectors `u` and `v` of two sequences that one encoder read apart.
struct SiamesePass: HeadPass {
  private let head: Head
  private let comparison: Head.Comparison
  private let hidden: Int
  private let rows: RowSet
  private let classifier: HeadDense?
  /// What the classifier reads `[E, width]` and its gradient; for cosines the outputs `[E]` and theirs.
  private let features: UnsafeMutablePointer<Float>, dFeatures: UnsafeMutablePointer<Float>?

  init(_ setting: HeadSetting, _ comparison: Head.Comparison, plan: inout Workspace.Plan) {
    precondition(
      setting.batch.sequencesPerExample == 2 || setting.batch.sequences.isEmpty,
      "\(setting.batch.sequencesPerExample) sequences an example, where two are compared")
    head = setting.head
    self.comparison = comparison
    hidden = setting.hidden
    let examples = setting.batch.exampleCount, width = comparison.width(hidden: hidden)
    rows = RowSet(
      examplesOf: setting.batch, independent: setting.engine.contract.rowsAreIndependent,
      threads: setting.engine.pool.threads)
    classifier =
      comparison == .cosine
      ? nil
      : HeadDense(
        setting, "classifier", inputs: width, outputs: head.outputs, rows: examples,
        hasDropout: false, plan: &plan)
    features = plan.take(examples * width)
    dFeatures = setting.trains ? plan.take(examples * width) : nil
  }

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    let h = hidden, width = comparison.width(hidden: h)
    for example in 0..<self.rows.count {
      let u = rows + 2 * example * h, v = u + h, f = features + example * width
      guard comparison != .cosine else {
        f[0] = Self.cosine(u, v, h).value
        continue
      }
      f.update(from: u, count: 2 * h)
      guard comparison == .difference else { continue }
      for i in 0..<h { f[2 * h + i] = abs(u[i] - v[i]) }
    }
    guard let classifier else { return }
    encoder.forEachTile(of: self.rows) { range, mask in
      classifier.forward(encoder, self.rows, range, x: features, mask: mask)
    }
  }

  /// `u·v / (|u||v|)` with its parts, in double precision; 0 where a vector is zero.
  private static func cosine(
    _ u: UnsafePointer<Float>, _ v: UnsafePointer<Float>, _ count: Int
  ) -> (value: Float, product: Double, squares: (Double, Double)) {
    var product = 0.0, uu = 0.0, vv = 0.0
    for i in 0..<count {
      product += Double(u[i]) * Double(v[i])
      uu += Double(u[i]) * Double(u[i])
      vv += Double(v[i]) * Double(v[i])
    }
    let size = (uu * vv).squareRoot()
    return (size > 0 ? Float(product / size) : 0, product, (uu, vv))
  }

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let c = head.outputs, target = batch.target(example)
    precondition(
      target.count == (head.loss == .softmax ? 1 : c),
      "example \(example) has \(target.count) target values, the head \(c) outputs")
    let outputs = classifier?.values ?? features
    let gradient = classifier == nil ? dFeatures : classifier?.gradient
    return target.withUnsafeBufferPointer {
      HeadLoss.compute(
        outputs + example * c, target: $0.baseAddress.unsafelyUnwrapped, head: head,
        gradient: gradient.map { $0 + example * c })
    }
  }

  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    guard let dFeatures else { preconditionFailure("this head was planned without backward") }
    let h = hidden, width = comparison.width(hidden: h)
    if let classifier {
      encoder.forEachTile(of: self.rows) { range, mask in
        classifier.backward(encoder, self.rows, range, into: dFeatures, mask: mask)
      }
    }
    for example in 0..<self.rows.count {
      let u = rows + 2 * example * h, v = u + h, du = d + 2 * example * h, dv = du + h
      let f = dFeatures + example * width
      guard comparison != .cosine else {
        Self.cosineGradient(f[0], u, v, h, du, dv)
        continue
      }
      du.update(from: f, count: 2 * h)
      guard comparison == .difference else { continue }
      for i in 0..<h {
        // The slope of |x| at 0 is taken as 0, as PyTorch does.
        let difference = u[i] - v[i]
        let slope: Float = difference > 0 ? f[2 * h + i] : difference < 0 ? -f[2 * h + i] : 0
        du[i] += slope
        dv[i] -= slope
      }
    }
  }

  private static func cosineGradient(
    _ slope: Float, _ u: UnsafePointer<Float>, _ v: UnsafePointer<Float>, _ count: Int,
    _ du: UnsafeMutablePointer<Float>, _ dv: UnsafeMutablePointer<Float>
  ) {
    let (_, product, squares) = cosine(u, v, count)
    let size = (squares.0 * squares.1).squareRoot()
    guard size > 0 else {
      du.update(repeating: 0, count: count)
      dv.update(repeating: 0, count: count)
      return
    }
    let g = Double(slope) / size
    for i in 0..<count {
      let (x, y) = (Double(u[i]), Double(v[i]))
      du[i] = Float(g * (y - product / squares.0 * x))
      dv[i] = Float(g * (x - product / squares.1 * y))
    }
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    guard let classifier else { return }
    encoder.compute([
      classifier.weightGradient(x: features, leafStarts: self.rows.leafStarts, into: target)
    ])
  }

  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    let outputs = classifier?.values ?? features, c = head.outputs
    return Array(UnsafeBufferPointer(start: outputs + example * c, count: c))
  }
}
