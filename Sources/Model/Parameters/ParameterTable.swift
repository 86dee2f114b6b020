/// One tensor of a model: its name, shape and place in the flat arenas.
package struct Parameter: Sendable, Equatable {
  /// The canonical name: Hugging Face's, with the `bert.` prefix for encoder tensors.
  package let name: String
  /// Row-major; a dense weight is `[out, in]`.
  package let shape: [Int]
  /// Its elements in every flat arena (parameters, gradient, moments).
  package let range: Range<Int>
  /// Whether weight decay applies by the usual groups (biases and layer norms are exempt).
  package let decays: Bool
}

/// The one list of a model's tensors: loader, saver, optimizer groups, buckets and tests all read it.
///
/// The order is that of the forward pass, so that backward finishes tensors from the end of the
/// arena towards its start; tensors lie without gaps.
package struct ParameterTable: Sendable, Equatable {
  package private(set) var parameters: [Parameter] = []
  /// Elements of a flat arena.
  package private(set) var count = 0
  private var index: [String: Int] = [:]

  package init() {}

  /// Appends a tensor and returns where its elements lie.
  @discardableResult
  package mutating func add(_ name: String, _ shape: [Int], decays: Bool) -> Range<Int> {
    precondition(index[name] == nil, "tensor \(name) is already in the table")
    let range = count..<count + shape.reduce(1, *)
    index[name] = parameters.count
    parameters.append(Parameter(name: name, shape: shape, range: range, decays: decays))
    count = range.upperBound
    return range
  }

  package subscript(name: String) -> Parameter? { index[name].map { parameters[$0] } }

  /// The name of the word table `[V, H]`.
  package static let wordTable = "bert.embeddings.word_embeddings.weight"
}

extension ParameterTable {
  /// The tensors of a BERT encoder with the given head.
  package init(_ c: BertConfiguration, head: Head?) {
    self.init()
    let h = c.hiddenSize, f = c.intermediateSize
    add(Self.wordTable, [c.vocabularySize, h], decays: true)
    add("bert.embeddings.position_embeddings.weight", [c.maximumPositions, h], decays: true)
    add("bert.embeddings.token_type_embeddings.weight", [c.segmentCount, h], decays: true)
    add("bert.embeddings.LayerNorm.weight", [h], decays: false)
    add("bert.embeddings.LayerNorm.bias", [h], decays: false)
    for layer in 0..<c.layerCount {
      let prefix = "bert.encoder.layer.\(layer)"
      // Query, key and value lie together: one product computes all three.
      for part in ["query", "key", "value"] {
        add("\(prefix).attention.self.\(part).weight", [h, h], decays: true)
      }
      for part in ["query", "key", "value"] {
        add("\(prefix).attention.self.\(part).bias", [h], decays: false)
      }
      add("\(prefix).attention.output.dense.weight", [h, h], decays: true)
      add("\(prefix).attention.output.dense.bias", [h], decays: false)
      add("\(prefix).attention.output.LayerNorm.weight", [h], decays: false)
      add("\(prefix).attention.output.LayerNorm.bias", [h], decays: false)
      add("\(prefix).intermediate.dense.weight", [f, h], decays: true)
      add("\(prefix).intermediate.dense.bias", [f], decays: false)
      add("\(prefix).output.dense.weight", [h, f], decays: true)
      add("\(prefix).output.dense.bias", [h], decays: false)
      add("\(prefix).output.LayerNorm.weight", [h], decays: false)
      add("\(prefix).output.LayerNorm.bias", [h], decays: false)
    }
    for tensor in head?.tensors(c) ?? [] { add(tensor.name, tensor.shape, decays: tensor.decays) }
  }
}
