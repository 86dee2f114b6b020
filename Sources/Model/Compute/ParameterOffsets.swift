/// Where each tensor starts in the flat arenas, looked up once.
struct ParameterOffsets {
  struct Layer {
    /// Query, key and value weights `[3H, H]` and biases `[3H]`, each contiguous.
    var projectionWeight: Int, projectionBias: Int
    var attentionWeight: Int, attentionBias: Int, attentionNorm: Norm
    var upWeight: Int, upBias: Int, downWeight: Int, downBias: Int, outputNorm: Norm
  }

  struct Norm {
    var gamma: Int, beta: Int
  }

  var word: Int, position: Int, segment: Int, embeddingNorm: Norm
  var layers: [Layer]
  /// The head's first element: everything before it is the encoder's.
  var head: Int

  init(_ table: ParameterTable, layerCount: Int) {
    func at(_ name: String) -> Int {
      guard let parameter = table[name] else { preconditionFailure("no tensor \(name)") }
      return parameter.range.lowerBound
    }
    func norm(_ name: String) -> Norm {
      Norm(gamma: at("\(name).LayerNorm.weight"), beta: at("\(name).LayerNorm.bias"))
    }
    word = at(ParameterTable.wordTable)
    position = at("bert.embeddings.position_embeddings.weight")
    segment = at("bert.embeddings.token_type_embeddings.weight")
    embeddingNorm = norm("bert.embeddings")
    layers = (0..<layerCount).map { layer in
      let prefix = "bert.encoder.layer.\(layer)"
      return Layer(
        projectionWeight: at("\(prefix).attention.self.query.weight"),
        projectionBias: at("\(prefix).attention.self.query.bias"),
        attentionWeight: at("\(prefix).attention.output.dense.weight"),
        attentionBias: at("\(prefix).attention.output.dense.bias"),
        attentionNorm: norm("\(prefix).attention.output"),
        upWeight: at("\(prefix).intermediate.dense.weight"),
        upBias: at("\(prefix).intermediate.dense.bias"),
        downWeight: at("\(prefix).output.dense.weight"),
        downBias: at("\(prefix).output.dense.bias"), outputNorm: norm("\(prefix).output"))
    }
    head = table.parameters.first { !Self.isEncoder($0.name) }?.range.lowerBound ?? table.count
  }

  private static func isEncoder(_ name: String) -> Bool {
    name.hasPrefix("bert.embeddings.") || name.hasPrefix("bert.encoder.")
  }
}
