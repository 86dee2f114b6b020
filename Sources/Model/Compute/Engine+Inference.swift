extension Engine {
  /// The head's outputs (logits, or values) for each sequence, `[B][C]`, without dropout.
  ///
  /// A sequence's numbers do not depend on its neighbours. Batches are formed inside.
  package func outputs(of sequences: [SequenceInput], parameters: Arena) -> [[Float]] {
    guard let head else { preconditionFailure("outputs need a head") }
    return map(sequences) { batch in
      infer(
        batch, parameters: parameters, depth: configuration.layerCount, readsFirstTokensOnly: true
      ) { encoder, headPass, last in
        guard let headPass else { preconditionFailure("outputs need a head") }
        let tiles = encoder.firsts.tiles
        pool.run(tiles.count) { tile, thread in
          headPass.forward(encoder, last, tiles[tile], mask: encoder.scratch(of: thread))
        }
        return batch.sequences.indices.map {
          Self.copy(headPass.outputs, $0 * head.outputs, head.outputs)
        }
      }
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
    return map(sequences) { batch in
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
    return map(sequences) { batch in
      infer(
        batch, parameters: parameters, depth: configuration.layerCount, readsFirstTokensOnly: true
      ) { encoder, headPass, last in
        guard let headPass else {
          preconditionFailure("a pooled vector needs a head with a pooler")
        }
        let tiles = encoder.firsts.tiles
        pool.run(tiles.count) { tile, _ in headPass.pool(encoder, last, tiles[tile]) }
        return batch.sequences.indices.map { Self.copy(headPass.pooled, $0 * h, h) }
      }
    }
  }

  /// Loss of one row of outputs as the head computes it (for evaluation), undivided.
  package static func loss(of outputs: [Float], target: [Float], head: Head) -> Double {
    precondition(
      outputs.count == head.outputs
        && target.count == (head.loss == .softmax ? 1 : head.outputs),
      "\(outputs.count) outputs and \(target.count) target values for a head of \(head.outputs)")
    return outputs.withUnsafeBufferPointer { z in
      target.withUnsafeBufferPointer { t in
        HeadLoss.compute(
          z.baseAddress.unsafelyUnwrapped, target: t.baseAddress.unsafelyUnwrapped, head: head,
          gradient: nil)
      }
    }
  }

  /// Tokens of one inference batch: enough for full tiles, little enough for the caches.
  private static var inferenceTokens: Int { 4096 }

  /// Runs `body` over batches of sequences sorted by length and restores the order.
  private func map(
    _ sequences: [SequenceInput], _ body: (PackedBatch) -> [[Float]]
  ) -> [[Float]] {
    var results = [[Float]](repeating: [], count: sequences.count)
    let order = sequences.indices.sorted {
      (sequences[$0].ids.count, $0) < (sequences[$1].ids.count, $1)
    }
    var start = 0
    while start < order.count {
      var end = start, tokens = 0
      while end < order.count,
        end == start || tokens + sequences[order[end]].ids.count <= Self.inferenceTokens
      {
        tokens += sequences[order[end]].ids.count
        end += 1
      }
      let chunk = order[start..<end]
      // Each sequence is a leaf of its own, so that its rows are computed by themselves where rows
      // are not independent.
      let batch = PackedBatch(
        leaves: chunk.map {
          var sequence = sequences[$0]
          sequence.exampleID = 0
          return [sequence]
        })
      for (index, result) in zip(chunk, body(batch)) { results[index] = result }
      start = end
    }
    return results
  }

  private static func copy(
    _ base: UnsafeMutablePointer<Float>, _ start: Int, _ count: Int
  ) -> [Float] {
    Array(UnsafeBufferPointer(start: base + start, count: count))
  }
}
