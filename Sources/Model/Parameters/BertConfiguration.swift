/// The shape and numerics of a BERT encoder, resolved: no key is left to a framework's habit.
package struct BertConfiguration: Sendable, Equatable {
  package enum Activation: String, Sendable, Codable {
    /// `0.5 x (1 + erf(x / √2))`
    case geluErf
    /// `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`
    case geluTanh
  }

  package var vocabularySize: Int
  package var hiddenSize: Int
  package var layerCount: Int
  package var headCount: Int
  package var intermediateSize: Int
  package var maximumPositions: Int
  package var segmentCount: Int
  package var activation: Activation = .geluErf
  package var layerNormEpsilon: Float = 1e-12
  package var hiddenDropout: Float = 0.1
  package var attentionDropout: Float = 0.1
  /// Dropout of what a classifier reads; nil: `hiddenDropout`.
  package var classifierDropout: Float?
  /// keras-bert drops embeddings before their layer norm, everyone else after it.
  package var embeddingDropoutBeforeNorm = false
  /// The spread of newly initialised weights.
  package var initializerRange: Float = 0.02

  /// Head width `D = H/N`.
  package var headWidth: Int { hiddenSize / headCount }

  package init(
    vocabularySize: Int, hiddenSize: Int, layerCount: Int, headCount: Int, intermediateSize: Int,
    maximumPositions: Int = 512, segmentCount: Int = 2
  ) {
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.intermediateSize = intermediateSize
    self.maximumPositions = maximumPositions
    self.segmentCount = segmentCount
  }
}

extension BertConfiguration {
  /// Why the model has no parameters for `input`, such as "has the segment 1, and the model knows 1"; nil if it has.
  ///
  /// Kernels read where ids, segments and positions point to: what does not belong to the model is to be refused before.
  package func obstacle(to input: SequenceInput) -> String? {
    let parts =
      [(input.ids, input.segments)] + (input.second.map { [($0.ids, $0.segments)] } ?? [])
    for (ids, segments) in parts {
      if let id = ids.first(where: { $0 < 0 || Int($0) >= vocabularySize }) {
        return "has the id \(id), and the model knows \(vocabularySize) words (vocab_size)"
      }
      if let segment = segments.first(where: { $0 < 0 || Int($0) >= segmentCount }) {
        return "has the segment \(segment), and the model knows \(segmentCount) (type_vocab_size)"
      }
      if ids.count > maximumPositions {
        return
          "has \(ids.count) tokens, and the model has \(maximumPositions) positions (max_position_embeddings)"
      }
    }
    return nil
  }
}
