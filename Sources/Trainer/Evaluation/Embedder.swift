import Foundation
import Model
import Text

/// Vectors of texts from a pretrained or fine-tuned model.
package final class Embedder {
  package enum Pooling: String, Sendable, CaseIterable {
    /// The vector of [CLS].
    case cls
    /// The mean over all tokens, special ones included.
    case mean
    /// `tanh(W [CLS] + b)`.
    case pooler
    /// One vector a token.
    case tokens
  }

  package let configuration: BertConfiguration
  package let pooling: Pooling
  private let engine: Engine
  private let parameters: Arena
  private let layer: Int?

  /// Loads the model; `layer` counts from 0, the embeddings; nil is the last.
  package init(_ model: ModelFolder, pooling: Pooling, layer: Int?, threads: Int) throws {
    configuration = model.configuration
    self.pooling = pooling
    self.layer = layer
    if let layer, !(0...configuration.layerCount).contains(layer) {
      throw RunError(
        .usage,
        "--layer \(layer): the model has the layers 0 (embeddings) to \(configuration.layerCount).")
    }
    if layer != nil, layer != configuration.layerCount, pooling == .pooler {
      throw RunError(
        .usage, "--layer does not go with --pooling pooler, which reads the last layer.")
    }
    // The engine knows the pooler as a part of a head; its one output is never computed.
    let head =
      pooling == .pooler
      ? Head(outputs: 1, loss: .squaredError, usesPooler: true, dropout: 0) : nil
    engine = Engine(configuration: configuration, head: head, pool: ThreadPool(threads: threads))
    parameters = Arena(count: engine.table.count)
    let report = try model.load(into: parameters, table: engine.table)
    if pooling == .pooler, let missing = report.missing.first(where: { $0.name.contains("pooler") })
    {
      throw RunError(
        .data,
        "\(model.location) holds no \(missing.name). Use --pooling cls or mean with this model.")
    }
  }

  deinit { engine.pool.stop() }

  /// For each sequence its vectors `[1][H]`, or `[S][H]` for `.tokens`.
  package func vectors(of sequences: [SequenceInput]) -> [[[Float]]] {
    if pooling == .pooler {
      return engine.pooled(of: sequences, parameters: parameters).map { [$0] }
    }
    let h = configuration.hiddenSize
    return engine.hiddenStates(of: sequences, layer: layer, parameters: parameters).map { states in
      let count = states.count / h
      switch pooling {
      case .cls, .pooler: return [Array(states[0..<h])]
      case .tokens: return (0..<count).map { Array(states[$0 * h..<($0 + 1) * h]) }
      case .mean:
        var sum = [Double](repeating: 0, count: h)
        for token in 0..<count { for i in 0..<h { sum[i] += Double(states[token * h + i]) } }
        return [sum.map { Float($0 / Double(count)) }]
      }
    }
  }
}
