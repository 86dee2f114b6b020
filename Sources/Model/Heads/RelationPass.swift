/// The head that finds subjects, and for one of them the objects with their predicates.
///
/// Subjects: start and end of each token, two sigmoids. Objects: start and end of each token for each of `C` predicates, read from tokens
/// that know the subject: its two vectors' mean is added to every token (the recipe of 2019), or they condition a
/// layer norm, of the last layer's output or of the sum in front of that layer's own norm (bert4keras). Probabilities may be powers of the sigmoids (`SigmoidPower`).
struct RelationPass: HeadPass {
  private let setting: HeadSetting
  private let relation: Head.Relation
  private let predicates: Int
  private let subjectPower: SigmoidPower, objectPower: SigmoidPower
  private let subject: HeadDense, object: HeadDense
  private let condition: SubjectCondition
  /// The tokens that know the subject `[T, H]`, and their gradient.
  private let conditioned: UnsafeMutablePointer<Float>
  private let dConditioned: UnsafeMutablePointer<Float>?

  init(_ setting: HeadSetting, _ relation: Head.Relation, plan: inout Workspace.Plan) {
    self.setting = setting
    self.relation = relation
    predicates = setting.head.outputs
    subjectPower = SigmoidPower(relation.subjectPower ?? 1)
    objectPower = SigmoidPower(relation.objectPower ?? 1)
    subject = HeadDense(setting, "subject", outputs: 2, hasDropout: false, plan: &plan)
    object = HeadDense(
      setting, "object", outputs: 2 * setting.head.outputs, hasDropout: false, plan: &plan)
    condition = SubjectCondition(setting, relation.conditioning, plan: &plan)
    conditioned = plan.take(setting.rows * setting.hidden)
    dConditioned = setting.trains ? plan.take(setting.rows * setting.hidden) : nil
  }

  func forward(_ encoder: EncoderPass, _ rows: UnsafePointer<Float>) {
    let tokens = encoder.tokens, batch = encoder.batch
    encoder.forEachTile(of: tokens) { range, mask in
      subject.forward(encoder, tokens, range, x: rows, mask: mask)
    }
    let targets = (0..<batch.exampleCount).map { batch.target($0) }
    // Without a target there is no subject yet: `values` finds them.
    guard setting.trains || targets.contains(where: { !$0.isEmpty }) else { return }
    let t = known(rows)
    encoder.pool.run(batch.exampleCount) { example, _ in
      guard !targets[example].isEmpty else { return }
      let target = RelationTarget(targets[example])
      condition.forward(
        example, t, batch.offsets[example]..<batch.offsets[example + 1],
        subject: (target.first, target.last), into: conditioned)
    }
    encoder.forEachTile(of: tokens) { range, mask in
      object.forward(encoder, tokens, range, x: conditioned, mask: mask)
    }
  }

  /// What is told the subject: the last layer's outputs `rows`, or the sums that its norm reads.
  private func known(_ rows: UnsafePointer<Float>) -> UnsafePointer<Float> {
    setting.lastSums.map { UnsafePointer($0) } ?? rows
  }

  func loss(ofExample example: Int, _ batch: PackedBatch) -> Double {
    let first = batch.offsets[example], count = batch.offsets[example + 1] - first
    let target = RelationTarget(batch.target(example)), c = predicates
    var truth = [Float](repeating: 0, count: count * 2)
    for span in target.subjects {
      truth[span.start * 2] = 1
      truth[span.end * 2 + 1] = 1
    }
    let subjects = loss(subject, first, count, truth, subjectPower)
    truth = [Float](repeating: 0, count: count * 2 * c)
    for span in target.objects {
      truth[span.start * 2 * c + span.predicate] = 1
      truth[span.end * 2 * c + c + span.predicate] = 1
    }
    return subjects + loss(object, first, count, truth, objectPower)
  }

  private func loss(
    _ dense: HeadDense, _ first: Int, _ count: Int, _ truth: [Float], _ power: SigmoidPower
  ) -> Double {
    let width = dense.outputs
    var head = setting.head
    head.outputs = width
    return truth.withUnsafeBufferPointer { truth in
      var loss = 0.0
      for token in 0..<count {
        let place = (first + token) * width
        loss += HeadLoss.compute(
          dense.values + place, target: truth.baseAddress.unsafelyUnwrapped + token * width,
          head: head, power: power, gradient: dense.gradient.map { $0 + place })
      }
      return loss
    }
  }

  func backward(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into d: UnsafeMutablePointer<Float>
  ) {
    guard let dConditioned else { preconditionFailure("this head was planned without backward") }
    let tokens = encoder.tokens, batch = encoder.batch
    encoder.forEachTile(of: tokens) { range, mask in
      subject.backward(encoder, tokens, range, into: d, mask: mask)
      object.backward(encoder, tokens, range, into: dConditioned, mask: mask)
    }
    encoder.pool.run(batch.exampleCount) { example, _ in
      let target = RelationTarget(batch.target(example))
      let range = batch.offsets[example]..<batch.offsets[example + 1], h = setting.hidden
      // The outputs' gradient already holds the subject head's share; that of the sums begins here.
      setting.dLastSums?.advanced(by: range.lowerBound * h).update(
        repeating: 0, count: range.count * h)
      condition.backward(
        example, range, subject: (target.first, target.last), dConditioned,
        into: setting.dLastSums ?? d)
    }
  }

  func weightGradients(
    _ encoder: EncoderPass, _ rows: UnsafePointer<Float>, into target: GradientTarget
  ) {
    let starts = encoder.tokens.leafStarts
    encoder.compute(
      [
        subject.weightGradient(x: rows, leafStarts: starts, into: target),
        object.weightGradient(x: conditioned, leafStarts: starts, into: target),
      ] + condition.weightGradients(leafStarts: encoder.batch.exampleStarts, into: target))
  }

  // MARK: Decoding

  /// The triples that are found, as `Head.relationTriples` lists them.
  func values(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>
  ) -> [Float] {
    let count = batch.offsets[example + 1] - batch.offsets[example]
    let subjects = Head.relationSpans(
      count, 1, relation.subjectThresholds, subjectProbability(example, batch))
    return objects(of: subjects.map { ($0.start, $0.end) }, example, batch, rows) {
      number, probability in
      Head.relationTriples(
        of: subjects[number], count, predicates, relation.objectThresholds, probability)
    }
  }

  /// Of each token the probabilities that a subject starts and ends there `[S, 2]`; where subjects are given, of each in turn those of its
  /// objects `[S, 2C]`, starts of all predicates first.
  func scores(
    ofExample example: Int, _ batch: PackedBatch, rows: UnsafePointer<Float>,
    given subjects: [HeadSpan]?
  ) -> [Float] {
    let count = batch.offsets[example + 1] - batch.offsets[example]
    func all(_ width: Int, _ probability: (Int, Int) -> Float) -> [Float] {
      (0..<count).flatMap { token in (0..<width).map { probability(token, $0) } }
    }
    guard let subjects else { return all(2, subjectProbability(example, batch)) }
    return objects(of: subjects.map { ($0.start, $0.end) }, example, batch, rows) {
      all(2 * predicates, $1)
    }
  }

  private func subjectProbability(_ example: Int, _ batch: PackedBatch) -> (Int, Int) -> Float {
    let logits = subject.values + batch.offsets[example] * 2
    return { subjectPower.probability(logits[$0 * 2 + $1]) }
  }

  /// What `read` says of each subject in turn, from the probabilities of its objects by token and output.
  private func objects(
    of subjects: [(Int, Int)], _ example: Int, _ batch: PackedBatch, _ rows: UnsafePointer<Float>,
    _ read: (_ subject: Int, _ probability: (Int, Int) -> Float) -> [Float]
  ) -> [Float] {
    let range = batch.offsets[example]..<batch.offsets[example + 1], h = setting.hidden
    let count = range.count, c = predicates
    let copy = UnsafeMutablePointer<Float>.allocate(capacity: count * (h + 2 * c))
    defer { copy.deallocate() }
    let scores = copy + count * h
    var found: [Float] = []
    for (number, span) in subjects.enumerated() {
      condition.compute(known(rows), range, subject: span, into: copy)
      RowProduct.forward(
        count, 2 * c, h, copy, h, setting.parameters + object.weight, scores, 2 * c)
      if let bias = object.bias {
        for row in 0..<count {
          for i in 0..<2 * c { scores[row * 2 * c + i] += setting.parameters[bias + i] }
        }
      }
      found += read(number) { objectPower.probability(scores[$0 * 2 * c + $1]) }
    }
    return found
  }
}

/// What is learnt of one example's relations.
struct RelationTarget {
  /// The tokens of the subject that the objects belong to: the first, and the last.
  var first: Int, last: Int
  var subjects: [(start: Int, end: Int)]
  var objects: [(start: Int, end: Int, predicate: Int)]

  /// Reads what `Head.relationTarget` wrote.
  init(_ values: [Float]) {
    var numbers = values.lazy.map { Int($0) }.makeIterator()
    func next() -> Int {
      guard let number = numbers.next() else { preconditionFailure("a target that is cut off") }
      return number
    }
    first = next()
    last = next()
    subjects = (0..<next()).map { _ in (next(), next()) }
    objects = (0..<next()).map { _ in (next(), next(), next()) }
  }
}

extension Head {
  /// A relation target: the tokens of the conditioning subject (first, last), the subjects, its objects with their predicates;
  /// tokens of the whole sequence, ends included.
  package static func relationTarget(
    first: Int, last: Int, subjects: [(start: Int, end: Int)],
    objects: [(start: Int, end: Int, predicate: Int)]
  ) -> [Float] {
    ([first, last, subjects.count] + subjects.flatMap { [$0.start, $0.end] }
      + [objects.count] + objects.flatMap { [$0.start, $0.end, $0.predicate] }).map { Float($0) }
  }
}
