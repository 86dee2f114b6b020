/// Attention of one query a sequence, its [CLS], for which no token needs a key or a value.
///
/// A head's scores are `q · (Wk x) = (Wkᵀ q) · x`, and its context is `Σ p Wv x = Wv Σ p x`: two vectors of the layer's width for a query
/// and head take the place of a key and a value for every token, which are a sixth of a layer's products. The key's bias adds the same to
/// all scores of a query, which softmax does not see: it is left out, and its gradient is zero. After the absorbed projections of
/// DeepSeek-AI, "DeepSeek-V2" (2024), section 2.1.2.
struct FirstTokenAttention {
  let heads: Int, hidden: Int
  /// First token of each sequence; `[B + 1]`.
  let offsets: [Int]
  /// Where each sequence's scores `[N, pitch]` start.
  let starts: [Int]

  /// For each query and head, `Wkᵀ q` and the inputs weighed by the probabilities `Σ p x` `[B, N, H]`.
  let absorbed: UnsafeMutablePointer<Float>, mixture: UnsafeMutablePointer<Float>
  /// For each query and head the sum of its probabilities, which is 1 without dropout `[B, N]`.
  let mass: UnsafeMutablePointer<Float>
  /// The softmax's probabilities, and what dropout leaves of them (the same memory without).
  let probabilities: UnsafeMutablePointer<Float>, dropped: UnsafeMutablePointer<Float>
  private let planned: Gradients?

  /// The memory of backward, of a pass that was planned with it.
  var gradients: Gradients {
    guard let planned else { preconditionFailure("attention was planned without backward") }
    return planned
  }

  /// What backward adds.
  struct Gradients {
    /// Of `absorbed` and `mixture` `[B, N, H]`, and of the scores.
    let absorbed: UnsafeMutablePointer<Float>, mixture: UnsafeMutablePointer<Float>
    let scores: UnsafeMutablePointer<Float>
    /// Of the queries, and the value bias's share of each `[B, H]`.
    let query: UnsafeMutablePointer<Float>, valueBias: UnsafeMutablePointer<Float>
  }

  init(
    _ c: BertConfiguration, _ batch: PackedBatch, trains: Bool, drops: Bool,
    plan: inout Workspace.Plan
  ) {
    let (n, h, b) = (c.headCount, c.hiddenSize, batch.sequences.count)
    var starts: [Int] = [], scores = 0
    for sequence in batch.sequences {
      starts.append(scores)
      scores += n * Attention.pitch(keys: sequence.ids.count)
    }
    heads = n
    hidden = h
    offsets = batch.offsets
    self.starts = starts
    absorbed = plan.take(b * n * h)
    mixture = plan.take(b * n * h)
    mass = plan.take(b * n)
    probabilities = plan.take(scores)
    dropped = drops ? plan.take(scores) : probabilities
    planned =
      trains
      ? Gradients(
        absorbed: plan.take(b * n * h), mixture: plan.take(b * n * h), scores: plan.take(scores),
        query: plan.take(b * h), valueBias: plan.take(b * h)) : nil
  }

  private func keys(_ sequence: Int) -> Int { offsets[sequence + 1] - offsets[sequence] }

  /// From `absorbed` and a sequence's inputs `x` `[keys, H]` to its `mixture` and `mass`; `mask` is scratch for one row of scores.
  func forward(
    _ sequence: Int, inputs x: UnsafePointer<Float>, attention: Attention, example: UInt32,
    purpose: UInt32, mask: UnsafeMutablePointer<Float>
  ) {
    let keys = keys(sequence), pitch = Attention.pitch(keys: keys), first = sequence * heads
    let scores = probabilities + starts[sequence], left = dropped + starts[sequence]
    MicroProduct.multiplyTransposed(
      heads, keys, hidden, absorbed + first * hidden, hidden, x, hidden, scores, pitch)
    for head in 0..<heads {
      let row = scores + head * pitch, dropped = left + head * pitch
      _ = attention.softmax(row, keys: keys)
      if let dropout = attention.dropout {
        dropout.fill(
          mask, count: pitch, base: Attention.place(head: head), example: example, purpose: purpose)
        forLanes(pitch) { i, _ in dropped.store(row.lanes(i) * mask.lanes(i), at: i) }
      }
      var sum = Lanes.zero
      forLanes(pitch) { i, _ in sum += dropped.lanes(i) }
      mass[first + head] = sum.folded()
    }
    MicroProduct.multiply(
      heads, hidden, keys, left, pitch, 1, x, hidden, accumulate: false, mixture + first * hidden,
      hidden)
  }

  /// From the gradient of a sequence's `mixture` to that of its scores and of `absorbed`.
  ///
  /// `dS = P (m (dP′ + dO · bv) − dO·O) / √D`, as in `Attention`, with the value's bias `bv` beside the inputs. `dContext` and `context`
  /// are the query's rows `[H]`.
  func backward(
    _ sequence: Int, inputs x: UnsafePointer<Float>, attention: Attention,
    dContext: UnsafePointer<Float>, context: UnsafePointer<Float>, valueBias: UnsafePointer<Float>
  ) {
    let g = gradients, keys = keys(sequence), pitch = Attention.pitch(keys: keys),
      first = sequence * heads
    let d = attention.width
    let scores = g.scores + starts[sequence]
    MicroProduct.multiplyTransposed(
      heads, keys, hidden, g.mixture + first * hidden, hidden, x, hidden, scores, pitch)
    for head in 0..<heads {
      let row = scores + head * pitch, place = starts[sequence] + head * pitch
      let p = probabilities + place, left = dropped + place
      var product = Lanes.zero, share = Lanes.zero
      forLanes(d) { i, n in
        let dO = dContext.lanes(head * d + i, n)
        product.addProduct(dO, context.lanes(head * d + i, n))
        share.addProduct(dO, valueBias.lanes(head * d + i, n))
      }
      let inner = product.folded(), ofBias = share.folded()
      forLanes(keys) { i, n in
        let dS = left.lanes(i) * (row.lanes(i, n) + ofBias) - p.lanes(i) * inner
        row.store(dS * attention.scale, at: i)
      }
    }
    MicroProduct.multiply(
      heads, hidden, keys, scores, pitch, 1, x, hidden, accumulate: false,
      g.absorbed + first * hidden, hidden)
  }

  /// The gradient `[keys, H]` of a sequence's inputs, but for what comes through its query.
  func backward(_ sequence: Int, intoInputs dx: UnsafeMutablePointer<Float>) {
    let g = gradients, keys = keys(sequence), pitch = Attention.pitch(keys: keys),
      first = sequence * heads * hidden
    MicroProduct.multiply(
      keys, hidden, heads, dropped + starts[sequence], 1, pitch, g.mixture + first, hidden,
      accumulate: false, dx, hidden)
    MicroProduct.multiply(
      keys, hidden, heads, g.scores + starts[sequence], 1, pitch, absorbed + first, hidden,
      accumulate: true, dx, hidden)
  }
}
