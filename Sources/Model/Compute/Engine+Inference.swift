extension Engine {
  /// What is wanted of each example.
  package enum OutputForm: Sendable {
    /// What was found, as the head's kind says.
    case found
    /// What several models' outputs are averaged by, before anything is found in it.
    ///
    /// Relations: the probabilities of subjects `[S, 2]`; GlobalPointer and GPLinker: the score of every span; masked words: the
    /// probability of every word `[R, V]`; other heads: as `found`.
    case scores
    /// Of each example in turn, what is said of these spans. Relations: the probabilities of the objects of the subjects
    /// `[subjects, S, 2C]`; GPLinker: the scores of the pairs `[subjects, objects, 2C]`.
    case objectScores(of: [[HeadSpan]])
  }

  /// The head's outputs for each example, and their losses where there are targets; without dropout.
  ///
  /// An example's numbers do not depend on its neighbours. Batches are formed inside; `progress` is called after each.
  package func outputs(
    of examples: [SequenceInput], parameters: Arena, as form: OutputForm = .found,
    progress: () -> Void = {}
  ) -> [HeadOutput] {
    guard let head else { preconditionFailure("outputs need a head") }
    return map(examples, progress: progress) { batch, numbers in
      infer(
        batch, parameters: parameters, depth: configuration.layerCount,
        readsFirstTokensOnly: head.readsFirstTokensOnly
      ) { encoder, headPass, last in
        guard let headPass else { preconditionFailure("outputs need a head") }
        headPass.forward(encoder, last)
        return concurrently(batch.exampleCount) { example in
          let isKnown = !batch.target(example).isEmpty
          let values =
            switch form {
            case .found: headPass.values(ofExample: example, batch, rows: last)
            case .scores: headPass.scores(ofExample: example, batch, rows: last, given: nil)
            case .objectScores(let spans):
              headPass.scores(
                ofExample: example, batch, rows: last,
                given: spans[numbers[numbers.startIndex + example]])
            }
          return HeadOutput(
            values: values, loss: isKnown ? headPass.loss(ofExample: example, batch) : nil)
        }
      }
    }
  }

  /// `count` results, computed on all threads.
  private func concurrently<Result>(_ count: Int, _ body: (Int) -> Result) -> [Result] {
    [Result](unsafeUninitializedCapacity: count) { results, initialized in
      let base = results.baseAddress
      pool.run(count) { number, _ in
        base?.advanced(by: number).initialize(to: body(number))
      }
      initialized = count
    }
  }

  /// The output of layer `layer` (0: embeddings; nil: the last) for each sequence, `[B][S·H]`.
  package func hiddenStates(
    of sequences: [SequenceInput], layer: Int? = nil, parameters: Arena
  ) -> [[Float]] {
    let depth = layer ?? configuration.layerCount, h = configuration.hiddenSize
    precondition(
      depth >= 0 && depth <= configuration.layerCount,
      "layer \(depth) of a model with \(configuration.layerCount)")
    return map(sequences) { batch, _ in
      infer(batch, parameters: parameters, depth: depth, readsFirstTokensOnly: false) {
        _, _, last in
        batch.sequences.indices.map {
          Self.copy(last, batch.offsets[$0] * h, batch.sequences[$0].ids.count * h)
        }
      }
    }
  }

  /// The pooler's output `tanh(W [CLS] + b)` for each sequence, `[B][H]`; needs a head with a pooler.
  package func pooled(of sequences: [SequenceInput], parameters: Arena) -> [[Float]] {
    let h = configuration.hiddenSize
    return map(sequences) { batch, _ in
      infer(
        batch, parameters: parameters, depth: configuration.layerCount, readsFirstTokensOnly: true
      ) { encoder, headPass, last in
        guard let sentence = headPass as? SentencePass else {
          preconditionFailure("a pooled vector needs a head with a pooler")
        }
        let pooled = sentence.pool(encoder, last)
        return batch.sequences.indices.map { Self.copy(pooled, $0 * h, h) }
      }
    }
  }

  /// Tokens of one inference batch: enough for full tiles, little enough for the caches.
  private static var inferenceTokens: Int { 4096 }

  /// Sequences that are computed together, by their number: sorted by length.
  static func inferenceBatches(_ sequences: [SequenceInput]) -> [ArraySlice<Int>] {
    let order = sequences.indices.sorted {
      (sequences[$0].tokenCount, $0) < (sequences[$1].tokenCount, $1)
    }
    var batches: [ArraySlice<Int>] = []
    var start = 0
    while start < order.count {
      var end = start, tokens = 0
      while end < order.count,
        end == start || tokens + sequences[order[end]].tokenCount <= Self.inferenceTokens
      {
        tokens += sequences[order[end]].tokenCount
        end += 1
      }
      batches.append(order[start..<end])
      start = end
    }
    return batches
  }

  /// Each sequence is a leaf of its own, so that its rows are computed by themselves where rows are not independent.
  static func inferenceBatch(
    _ sequences: [SequenceInput], _ numbers: ArraySlice<Int>
  ) -> PackedBatch {
    PackedBatch(
      leaves: numbers.map {
        var sequence = sequences[$0]
        sequence.exampleID = 0
        return [sequence]
      })
  }

  /// Runs `body` over batches of sequences sorted by length and restores the order.
  private func map<Result>(
    _ sequences: [SequenceInput], progress: () -> Void = {},
    _ body: (PackedBatch, _ numbers: ArraySlice<Int>) -> [Result]
  ) -> [Result] {
    var results = [Result?](repeating: nil, count: sequences.count)
    for numbers in Self.inferenceBatches(sequences) {
      let batch = Self.inferenceBatch(sequences, numbers)
      for (index, result) in zip(numbers, body(batch, numbers)) { results[index] = result }
      progress()
    }
    return results.map {
      guard let result = $0 else { preconditionFailure("an example without a result") }
      return result
    }
  }

  private static func copy(
    _ base: UnsafePointer<Float>, _ start: Int, _ count: Int
  ) -> [Float] {
    Array(UnsafeBufferPointer(start: base + start, count: count))
  }
}
