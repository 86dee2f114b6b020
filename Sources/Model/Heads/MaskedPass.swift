/// The masked language model: of the masked tokens alone, a transform and the logits of all words.
///
/// `h = LN(gelu(W x + b))`, `logits = h · Eᵀ + bias` with the word table `E [V, H]` itself (tied). The word table's gradient needs the
/// sums of embedding and decoder leaf by leaf, so the decoder's part is handed to the embeddings' backward.
struct MaskedPass: HeadPass {
  private let setting: HeadSetting
  private let transform: HeadDense
  private let norm: ParameterOffsets.Norm
  private let bias: Int
  /// The rows of the batch that are read, and where each example's begin `[examples + 1]`.
  private let places: [Int], starts: [Int]
  private let rows: RowSet
  /// `[R, H]`: what the transform reads; the layer norm's x̂ and output; the gradient of its output.
  private let input: UnsafeMutablePointer<Float>, normal: UnsafeMutablePointer<Float>
  private let output: UnsafeMutablePointer<Float>, dOutput: UnsafeMutablePointer<Float>?
  private let dInput: UnsafeMutablePointer<Float>?
  private let r: UnsafeMutablePointer<Float>
  /// Logits `[R, V]`, which become their gradient.
  private let logits: UnsafeMutablePointer<Float>

  init(_ setting: HeadSetting, plan: inout Workspace.Plan) {
    self.setting = setting
    let batch = setting.batch, h = setting.hidden
    var places: [Int] = [], starts = [0]
    for (sequence, offset) in zip(batch.sequences, batch.offsets) {
      for (token, label) in sequence.target.enumerated() where label != -1 {
        places.append(offset + token)
      }
      starts.append(places.count)
    }
    self.places = places
    self.starts = starts
    rows = RowSet(
      leafStarts: batch.leaves.map { starts[$0.lowerBound] } + [places.count],
      examples: Array(repeating: 0, count: places.count),
      positions: Array(repeating: 0, count: places.count),
      independent: setting.engine.contract.rowsAreIndependent,
      threads: setting.engine.pool.threads)
    transform = HeadDense(
      setting, "cls.predictions.transform.dense", outputs: h, rows: places.count,
      hasDropout: false, plan: &plan)
    norm = ParameterOffsets.Norm(
      gamma: setting.offset("cls.predictions.transform.LayerNorm.weight"),
      beta: setting.offset("cls.predictions.transform.LayerNorm.bias"))
    bias = setting.offset("cls.predictions.bias")
    input = plan.take(places.count * h)
    normal = plan.take(places.count * h)
    output = plan.take(places.count * h)
    dOutput = setting.trains ? plan.take(places.count * h) : nil
    dInput = setting.trains ? plan.take(places.count * h) : nil
    r = plan.take(places.count)
    logits = plan.take(places.count * setting.engine.configuration.vocabularySize)
  }

  private var words: Int { setting.engine.configuration.vocabularySize }
  private var table: UnsafePointer<Float> {
    setting.parameters + setting.engine.offsets.word
  }

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    let h = setting.hidden, v = words, configuration = setting.engine.configuration
    let bias = setting.parameters + bias
    encoder.forEachTile(of: self.rows) { range, mask in
      for row in range { (input + row * h).update(from: rows + places[row] * h, count: h) }
      transform.forward(encoder, self.rows, range, x: input, mask: mask)
      let first = range.lowerBound * h
      Gelu.forward(
        normal + first, x: transform.values + first, count: range.count * h,
        kind: configuration.activation)
      for row in range {
        r[row] = LayerNorm.forward(
          y: output + row * h, z: normal + row * h, width: h,
          gamma: setting.parameters + norm.gamma, beta: setting.parameters + norm.beta,
          epsilon: configuration.layerNormEpsilon)
      }
      encoder.dense(
        logits + range.lowerBound * v, output + first, h, rows: range.count, outputs: v,
        weight: table, bias: bias)
    }
  }

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let v = words, target = batch.target(example).filter { $0 != -1 }
    var loss = 0.0
    for (row, label) in zip(starts[example]..<starts[example + 1], target) {
      let z = logits + row * v
      if label < 0 {
        if setting.trains { z.update(repeating: 0, count: v) }
      } else {
        loss += HeadLoss.softmax(z, v, label: Int(label), setting.trains ? z : nil)
      }
    }
    return loss
  }

  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    guard let dOutput, let dInput, let gradient = transform.gradient else {
      preconditionFailure("this head was planned without backward")
    }
    let h = setting.hidden, v = words
    encoder.forEachTile(of: encoder.tokens) { range, _ in
      (d + range.lowerBound * h).update(repeating: 0, count: range.count * h)
    }
    encoder.forEachTile(of: self.rows) { range, _ in
      let first = range.lowerBound * h
      RowProduct.backward(
        range.count, h, v, logits + range.lowerBound * v, v, table, accumulate: false,
        dOutput + first, h)
      for row in range {
        LayerNorm.backward(
          dz: gradient + row * h, dy: dOutput + row * h, normal: normal + row * h, r: r[row],
          gamma: setting.parameters + norm.gamma, width: h)
      }
      // The transform's values become the activation, which nobody reads again.
      Gelu.backward(
        gradient + first, x: transform.values + first, count: range.count * h,
        kind: setting.engine.configuration.activation)
      RowProduct.backward(
        range.count, h, h, gradient + first, h, setting.parameters + transform.weight,
        accumulate: false, dInput + first, h)
      for row in range { (d + places[row] * h).update(from: dInput + row * h, count: h) }
    }
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    let h = setting.hidden, v = words, starts = self.rows.leafStarts
    encoder.compute([transform.weightGradient(x: input, leafStarts: starts, into: target)])
    if let gamma = target.place(norm.gamma), let beta = target.place(norm.beta), let dOutput {
      ColumnSums.foldNorm(
        gamma: gamma, beta: beta, dy: dOutput, normal: normal, pitch: h, columns: h,
        leafStarts: starts)
    }
    if let place = target.place(bias) {
      let strips = (v + 255) / 256
      encoder.pool.run(strips) { strip, _ in
        let first = strip * 256
        ColumnSums.fold(
          place + first, logits + first, v, columns: min(256, v - first), leafStarts: starts)
      }
    }
    target.decoder = DecoderGradient(
      dLogits: logits, hidden: output, words: v, width: h, leafStarts: starts)
  }

  /// For each masked token in order its five likeliest words: id and probability in turn.
  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    (starts[example]..<starts[example + 1]).flatMap { row -> [Float] in
      let probability = probability(row)
      return Self.best(logits + row * words, words).flatMap { [Float($0), probability($0)] }
    }
  }

  /// The probabilities of all words for each masked token in order `[R, V]`.
  func scores(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>,
    given subjects: [HeadSpan]?
  ) -> [Float] {
    (starts[example]..<starts[example + 1]).flatMap { row in (0..<words).map(probability(row)) }
  }

  /// The probability of a word at `row`.
  private func probability(_ row: Int) -> (Int) -> Float {
    let z = logits + row * words
    var largest = z[0]
    for i in 1..<words where z[i] > largest { largest = z[i] }
    var sum = 0.0
    for i in 0..<words { sum += DoubleMath.exp(Double(z[i] - largest)) }
    return { Float(DoubleMath.exp(Double(z[$0] - largest)) / sum) }
  }

  /// Words of the highest logits or probabilities, the first of equals first.
  static func best(_ z: UnsafePointer<Float>, _ count: Int) -> [Int] {
    var best: [Int] = []
    for i in 0..<count where best.count < candidates || z[i] > z[best[best.count - 1]] {
      let place = best.firstIndex { z[i] > z[$0] } ?? best.count
      best.insert(i, at: place)
      if best.count > candidates { best.removeLast() }
    }
    return best
  }

  /// Words that `values` names for each masked token, of a vocabulary that has as many.
  static let candidates = 5
}

/// The decoder's part of the word table's gradient: `dLogits [R, V]` and what they were computed from `[R, H]`.
struct DecoderGradient {
  var dLogits: UnsafePointer<Float>
  var hidden: UnsafePointer<Float>
  var words: Int
  var width: Int
  var leafStarts: [Int]
}
