import Model

extension PreparedRun {
  /// A factor of the learning rate for each of the table's parameters.
  package var rateFactors: [Double] {
    let section = recipe.optimizer
    var factors = [Double](repeating: 1, count: table.parameters.count)
    if !section.multipliers.isEmpty {
      factors = LearningRateMultipliers.substrings(section.multipliers).factors(for: table)
    } else if !section.prefixMultipliers.isEmpty {
      factors = LearningRateMultipliers.prefixes(section.prefixMultipliers).factors(for: table)
    } else if let decay = section.layerDecay {
      factors = table.parameters.map {
        Self.decayed($0.name, decay, layers: configuration.layerCount)
      }
    }
    guard let tagging = definition.tagging, !tagging.storesMultiplied else { return factors }
    return zip(table.parameters, factors).map { parameter, factor in
      parameter.name == "crf.transitions" ? factor * tagging.crfMultiplier : factor
    }
  }

  /// `decay` once for each layer between a tensor and the head: the head's tensors have 1, the top layer's `decay`, the
  /// embeddings' the most.
  private static func decayed(_ name: String, _ decay: Double, layers: Int) -> Double {
    let prefix = "bert.encoder.layer."
    let depth: Int
    if name.hasPrefix("bert.embeddings.") {
      depth = layers + 1
    } else if name.hasPrefix(prefix),
      let layer = Int(name.dropFirst(prefix.count).prefix { $0 != "." })
    {
      depth = layers - layer
    } else {
      depth = 0
    }
    return (0..<depth).reduce(1) { factor, _ in factor * decay }
  }
}
