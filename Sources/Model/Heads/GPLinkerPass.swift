/// The head that finds subjects, objects and the predicates between them at once: GPLinker (Su, "GPLinker: joint entity and relation
/// extraction based on GlobalPointer", 2022; bert4keras' `task_relation_extraction_gplinker.py`).
///
/// Three GlobalPointers over the tokens. `entities` scores every span as a subject and as an object, first ≤ last, its queries and keys
/// turned by their position. `heads` scores every pair of tokens for each of `C` predicates: whether a subject begins in the one and its object in
/// the other; `tails` whether they end there. These two have no order and no positions. A triple is a subject and an object whose first
/// tokens `heads` and whose last tokens `tails` give its predicate, all four scores being positive.
///
/// Each class has a query and a key of its own, as `GlobalPointerPass` has them, and not one for all (bert4keras' example takes
/// EfficientGlobalPointer): 128 (2 + 2C) rows of weights are less than two layers of BERT-base up to some 70 predicates.
///
/// An example's loss is the sum over the 2 + 2C classes, each as `PairScores` says; the denominator counts examples times classes. So
/// every class weighs as much as in bert4keras, which adds up classes and outputs and divides by examples alone.
struct GPLinkerPass: HeadPass {
  /// One of the three outputs.
  struct Layer {
    var name: String
    var classes: Int
    /// Whether its pairs are spans: first ≤ last, turned by their position.
    var hasSpans: Bool

    /// Of each class a query and a key.
    var outputs: Int { 2 * PairScores.width * classes }
  }

  /// The three outputs for `predicates` predicates, in the order of their classes.
  static func layers(_ predicates: Int) -> [Layer] {
    [
      Layer(name: "gplinker.entities", classes: 2, hasSpans: true),
      Layer(name: "gplinker.heads", classes: predicates, hasSpans: false),
      Layer(name: "gplinker.tails", classes: predicates, hasSpans: false),
    ]
  }

  /// Subjects and objects, and first and last tokens for each predicate.
  static func classes(_ predicates: Int) -> Int { 2 + 2 * predicates }

  private let head: Head
  private let outputs: [(layer: Layer, dense: HeadDense)]
  private let rotation: RotaryEmbedding
  /// Room for one class of every example, behind one another, and where each begins.
  private let scratch: UnsafeMutablePointer<Float>, places: [Int]

  init(_ setting: HeadSetting, plan: inout Workspace.Plan) {
    head = setting.head
    var outputs: [(layer: Layer, dense: HeadDense)] = []
    for layer in Self.layers(setting.head.outputs) {
      outputs.append(
        (
          layer,
          HeadDense(
            setting, layer.name, outputs: layer.outputs, hasDropout: false, plan: &plan)
        ))
    }
    self.outputs = outputs
    let lengths = setting.batch.sequences.map(\.ids.count)
    rotation = RotaryEmbedding(width: PairScores.width, positions: lengths.max() ?? 0)
    var places: [Int] = [], end = 0
    for length in lengths {
      places.append(end)
      end += PairScores.scratch(tokens: length)
    }
    self.places = places
    scratch = plan.take(end)
  }

  // MARK: Queries and keys

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    encoder.forEachTile(of: encoder.tokens) { range, mask in
      for (layer, dense) in outputs {
        dense.forward(encoder, encoder.tokens, range, x: rows, mask: mask)
        if layer.hasSpans { turn(dense.values, dense, encoder, range, back: false) }
      }
    }
  }

  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    encoder.forEachTile(of: encoder.tokens) { range, mask in
      for (number, (layer, dense)) in outputs.enumerated() {
        if layer.hasSpans, let gradient = dense.gradient {
          turn(gradient, dense, encoder, range, back: true)
        }
        dense.backward(
          encoder, encoder.tokens, range, into: d, accumulate: number > 0, mask: mask)
      }
    }
  }

  private func turn(
    _ values: UnsafeMutablePointer<Float>, _ dense: HeadDense, _ encoder: EncoderPass,
    _ range: Range<Int>, back: Bool
  ) {
    for row in range {
      let position = row - encoder.batch.offsets[encoder.sequenceContaining(row)]
      for start in stride(from: 0, to: dense.outputs, by: PairScores.width) {
        rotation.turn(values + row * dense.outputs + start, position: position, back: back)
      }
    }
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    encoder.compute(outputs.map { $0.dense.weightGradient(encoder, tokens: rows, into: target) })
  }

  // MARK: Loss

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let tokens = tokens(ofExample: example, batch)
    let gold = LinkerTarget(batch.target(example)).places(
      tokens: tokens.count, predicates: head.outputs)
    let scores = PairScores(tokens: tokens.count, scratch: scratch + places[example])
    var loss = 0.0, number = 0
    for (layer, dense) in outputs {
      for type in 0..<layer.classes {
        let queries = tokens.lowerBound * dense.outputs + 2 * PairScores.width * type
        let keys = queries + PairScores.width
        scores.fill(queries: dense.values + queries, keys: dense.values + keys, dense.outputs)
        loss += scores.loss(
          gold: gold[number], isTriangular: layer.hasSpans, slopes: dense.gradient != nil)
        if let gradient = dense.gradient {
          scores.backward(
            queries: dense.values + queries, keys: dense.values + keys,
            dQueries: gradient + queries, dKeys: gradient + keys, dense.outputs)
        }
        number += 1
      }
    }
    return loss
  }

  private func tokens(ofExample example: Int, _ batch: PackedBatch) -> Range<Int> {
    batch.offsets[example]..<batch.offsets[example + 1]
  }

  // MARK: Decoding

  /// The triples that are found, as `Head.linkerTriples` lists them.
  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    let spans = Head.linkerSpans(
      scores(ofExample: example, batch, rows: rows, given: nil),
      tokens: tokens(ofExample: example, batch).count)
    return head.linkerTriples(spans, scores(ofExample: example, batch, rows: rows, given: spans))
  }

  /// The score of every span as a subject, then as an object, in the order of `Head.globalPointerEntities`; where spans are given, of each
  /// subject and object in turn the scores `[2C]` of their first tokens for every predicate, then of their last tokens.
  func scores(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>,
    given spans: [HeadSpan]?
  ) -> [Float] {
    let tokens = tokens(ofExample: example, batch), entities = outputs[0].dense
    guard let spans else {
      let scores = PairScores(tokens: tokens.count, scratch: scratch + places[example])
      return (0..<2).flatMap { type in
        let queries =
          entities.values + tokens.lowerBound * entities.outputs
          + 2 * PairScores.width * type
        scores.fill(queries: queries, keys: queries + PairScores.width, entities.outputs)
        return (0..<tokens.count).flatMap { first in
          (first..<tokens.count).map { scores[first, $0] }
        }
      }
    }
    let subjects = spans.filter { !$0.isObject }, objects = spans.filter(\.isObject)
    let c = head.outputs
    var scores = [Float](repeating: 0, count: subjects.count * objects.count * 2 * c)
    guard !scores.isEmpty else { return [] }
    for (number, (layer, dense)) in outputs.dropFirst().enumerated() {
      // Where subjects and objects begin, then where they end.
      let ends = [subjects, objects].map { $0.map { number == 0 ? $0.start : $0.end } }
      for predicate in 0..<layer.classes {
        let query =
          dense.values + tokens.lowerBound * dense.outputs
          + 2 * PairScores.width * predicate
        let found = PairScores.scores(
          queries: ends[0].map { query + $0 * dense.outputs },
          keys: ends[1].map { query + PairScores.width + $0 * dense.outputs })
        for pair in found.indices { scores[pair * 2 * c + number * c + predicate] = found[pair] }
      }
    }
    return scores
  }
}
