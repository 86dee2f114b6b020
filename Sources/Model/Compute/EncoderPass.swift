/// One pass of the encoder over one packed batch: where everything lies, and what it is computed from.
///
/// `Forward` and `Backward` live in extensions that mirror each other.
struct EncoderPass {
  /// What a layer keeps for backward.
  ///
  /// `R` is the layer's row count: `T`, or `B` for a last layer of which only [CLS] is read.
  struct Layer {
    /// Input `[T, H]`, and the rows of it that are queries `[R, H]` (the same memory when `R = T`).
    var input: UnsafeMutablePointer<Float>, queryInput: UnsafeMutablePointer<Float>
    /// Queries, keys and values side by side `[T, 3H]`; queries alone `[B, H]` where only [CLS] is read.
    var projection: UnsafeMutablePointer<Float>
    /// What takes the place of keys and values where only [CLS] is read.
    var firstTokens: FirstTokenAttention?
    /// Attention's context `[R, H]`, and for each query and head of all tokens the softmax's maximum and inverse sum `[T, N]`.
    var context: UnsafeMutablePointer<Float>
    var maximum: UnsafeMutablePointer<Float>, inverse: UnsafeMutablePointer<Float>
    /// The layer norms' x̂ `[R, H]`, 1/√(var + ε) `[R]` and outputs `[R, H]`; the pre-activation `[R, F]`.
    var normal1: UnsafeMutablePointer<Float>, r1: UnsafeMutablePointer<Float>
    var middle: UnsafeMutablePointer<Float>, preactivation: UnsafeMutablePointer<Float>
    var normal2: UnsafeMutablePointer<Float>, r2: UnsafeMutablePointer<Float>
    var output: UnsafeMutablePointer<Float>
    /// A copy of what the second norm reads `[T, H]`, where the head asks for it: of the last layer only.
    var sum: UnsafeMutablePointer<Float>?
    /// Whether only [CLS] rows are computed.
    var firstTokensOnly: Bool { firstTokens != nil }
  }

  /// Buffers that backward alone uses, shared by all layers.
  struct Gradients {
    /// `[T, H]` each: the gradient of a layer's output, of its middle, of its input.
    var output: UnsafeMutablePointer<Float>, middle: UnsafeMutablePointer<Float>
    var input: UnsafeMutablePointer<Float>
    /// Gradients of the two dense outputs after dropout `[T, H]`, of the pre-activation `[T, F]`, of the context `[T, H]`.
    var down: UnsafeMutablePointer<Float>, preactivation: UnsafeMutablePointer<Float>
    var attention: UnsafeMutablePointer<Float>, context: UnsafeMutablePointer<Float>
    /// Gradient of queries, keys and values `[T, 3H]`.
    var projection: UnsafeMutablePointer<Float>
    /// The head's gradient of the last layer's sums `[T, H]`.
    var sum: UnsafeMutablePointer<Float>?
  }

  let configuration: BertConfiguration
  let offsets: ParameterOffsets
  let parameters: UnsafePointer<Float>
  let pool: ThreadPool
  let contract: BLASContract
  /// Rows of the blocks in which weight gradients are computed.
  let gradientBlockRows: Int
  let batch: PackedBatch
  /// Every token, and the first token of every sequence.
  let tokens: RowSet, firsts: RowSet
  let hiddenDropout: Dropout?, attentionDropout: Dropout?
  let attention: Attention

  var embeddingNormal: UnsafeMutablePointer<Float>, embeddingR: UnsafeMutablePointer<Float>
  var embedded: UnsafeMutablePointer<Float>
  var layers: [Layer]
  var gradients: Gradients?
  /// Whether the layers below the last one share their memory and are computed again in backward.
  let recomputes: Bool
  /// Scratch of one thread, `scratchPitch` floats apart.
  var scratch: UnsafeMutablePointer<Float>
  var scratchPitch: Int

  var hidden: Int { configuration.hiddenSize }
  var inner: Int { configuration.intermediateSize }

  /// Rows that `layer` computes.
  func rows(_ layer: Layer) -> RowSet { layer.firstTokensOnly ? firsts : tokens }

  func scratch(of thread: Int) -> UnsafeMutablePointer<Float> { scratch + thread * scratchPitch }

  struct Settings {
    var trains: Bool
    /// Compute only [CLS] rows in the last layer.
    var readsFirstTokensOnly: Bool
    /// Keep what the last layer's second norm reads.
    var keepsLastSums = false
    /// Layers to run.
    var depth: Int
    /// Keep only the layers' inputs and compute the rest again in backward.
    var recomputes = false
    var dropout: (hidden: Dropout?, attention: Dropout?)
  }

  init(
    _ engine: Engine, _ batch: PackedBatch, parameters: UnsafePointer<Float>, settings: Settings,
    plan: inout Workspace.Plan
  ) {
    let c = engine.configuration
    configuration = c
    offsets = engine.offsets
    self.parameters = parameters
    pool = engine.pool
    contract = engine.contract
    gradientBlockRows = WeightGradient.blockRows(threads: pool.threads, contract)
    self.batch = batch
    let independent = contract.rowsAreIndependent
    tokens = RowSet(tokensOf: batch, independent: independent, threads: pool.threads)
    firsts = RowSet(firstTokensOf: batch, independent: independent, threads: pool.threads)
    hiddenDropout = settings.dropout.hidden
    attentionDropout = settings.dropout.attention
    attention = Attention(
      width: c.headWidth, scale: 1 / Float(c.headWidth).squareRoot(),
      dropout: settings.dropout.attention)

    let h = c.hiddenSize, f = c.intermediateSize, t = tokens.count
    embeddingNormal = plan.take(t * h)
    embeddingR = plan.take(t)
    embedded = plan.take(t * h)
    var input = embedded
    layers = []
    // Without backward, layers share their memory, and outputs alternate between two pieces; where backward computes layers
    // again, they share all but their outputs.
    var shared: Layer?
    recomputes = settings.trains && settings.recomputes
    let shares = !settings.trains || recomputes
    let outputs = settings.trains ? nil : (plan.take(t * h), plan.take(t * h))
    for number in 0..<settings.depth {
      let firstsOnly = settings.readsFirstTokensOnly && number == settings.depth - 1
      let output = outputs.map { number % 2 == 0 ? $0.0 : $0.1 }
      if var layer = shared, !firstsOnly {
        layer.input = input
        layer.queryInput = input
        layer.output = output ?? plan.take(t * h)
        layers.append(layer)
      } else {
        let layer = Self.layer(
          c, tokens: t, input: input, output: output,
          firstsOf: firstsOnly ? (batch, settings) : nil, plan: &plan)
        layers.append(layer)
        if shares { shared = layer }
      }
      input = layers[number].output
    }
    let keepsSums = settings.keepsLastSums && !layers.isEmpty
    if keepsSums { layers[layers.count - 1].sum = plan.take(t * h) }
    gradients = nil
    if settings.trains {
      gradients = Gradients(
        output: plan.take(t * h), middle: plan.take(t * h), input: plan.take(t * h),
        down: plan.take(t * h), preactivation: plan.take(t * f), attention: plan.take(t * h),
        context: plan.take(t * h), projection: plan.take(t * 3 * h),
        sum: keepsSums ? plan.take(t * h) : nil)
    }
    let tileRows = (tokens.tiles + firsts.tiles).map(\.count).max() ?? 0
    let keys = batch.sequences.map(\.ids.count).max() ?? 0
    scratchPitch = max(
      tileRows * f + Dropout.room(for: h), Attention.scratch(keys: keys, width: c.headWidth),
      settings.trains
        ? WeightGradient.scratch(leaves: batch.leaves.count, rows: gradientBlockRows) : 0)
    scratchPitch = (scratchPitch + 15) / 16 * 16
    scratch = plan.take(scratchPitch * pool.threads)
  }

  private static func layer(
    _ c: BertConfiguration, tokens t: Int, input: UnsafeMutablePointer<Float>,
    output: UnsafeMutablePointer<Float>?, firstsOf firsts: (PackedBatch, Settings)?,
    plan: inout Workspace.Plan
  ) -> Layer {
    let h = c.hiddenSize, n = c.headCount
    let r = firsts.map { $0.0.sequences.count } ?? t, ofTokens = firsts == nil ? t : 0
    return Layer(
      input: input, queryInput: firsts == nil ? input : plan.take(r * h),
      projection: plan.take(firsts == nil ? t * 3 * h : r * h),
      firstTokens: firsts.map { batch, settings in
        FirstTokenAttention(
          c, batch, trains: settings.trains, drops: settings.dropout.attention != nil, plan: &plan)
      },
      context: plan.take(r * h), maximum: plan.take(ofTokens * n),
      inverse: plan.take(ofTokens * n),
      normal1: plan.take(r * h), r1: plan.take(r), middle: plan.take(r * h),
      preactivation: plan.take(r * c.intermediateSize),
      normal2: plan.take(r * h), r2: plan.take(r), output: output ?? plan.take(r * h))
  }

  /// The attention of `head` in sequence `sequence` of `layer` (number `number`), which computes all tokens.
  func work(_ layer: Layer, _ number: Int, sequence: Int, head: Int) -> Attention.Work {
    let h = hidden, n = configuration.headCount
    let start = batch.offsets[sequence], keys = batch.offsets[sequence + 1] - start
    let query = UnsafePointer(layer.projection + start * 3 * h + head * configuration.headWidth)
    return Attention.Work(
      queries: keys, keys: keys, q: query, ldq: 3 * h, k: query + h, v: query + 2 * h, ldk: 3 * h,
      context: layer.context + start * h + head * configuration.headWidth, ldc: h,
      maximum: layer.maximum + start * n + head, inverse: layer.inverse + start * n + head,
      stride: n, head: head, example: firsts.examples[sequence],
      purpose: RandomPurpose.attentionDropout.word(layer: number))
  }
}
