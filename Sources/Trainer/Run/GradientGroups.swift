import Model

/// The parts of a model whose gradients are watched: embeddings, each layer, and the head.
package struct GradientGroups: Sendable, Equatable {
  /// Such as `embeddings`, `layer 3`, `head`; from the inputs to the outputs.
  package let names: [String]
  /// For each of the table's parameters its group.
  private let groups: [Int]

  package init(_ table: ParameterTable) {
    var names: [String] = []
    groups = table.parameters.map { parameter in
      let name = Self.name(parameter.name)
      if let place = names.firstIndex(of: name) { return place }
      names.append(name)
      return names.count - 1
    }
    self.names = names
  }

  private static func name(_ parameter: String) -> String {
    if parameter.hasPrefix("bert.embeddings.") { return "embeddings" }
    let prefix = "bert.encoder.layer."
    guard parameter.hasPrefix(prefix) else { return "head" }
    return "layer " + parameter.dropFirst(prefix.count).prefix { $0 != "." }
  }

  /// The norm of each group from the norm of each parameter.
  package func norms(_ parameters: [Double]) -> [Double] {
    precondition(
      parameters.count == groups.count, "\(parameters.count) norms of \(groups.count) tensors")
    var sums = [Double](repeating: 0, count: names.count)
    for (norm, group) in zip(parameters, groups) { sums[group] += norm * norm }
    return sums.map { $0.squareRoot() }
  }
}

extension PreparedRun {
  /// What the collapse detector needs to know of this run.
  func circumstances(_ groups: GradientGroups) -> CollapseDetector.Circumstances {
    // Subjects and masks are drawn: those of one step stand for all.
    let inputs = inputs(ofRows: Array(train.sequences.indices), step: 0)
    return CollapseDetector.Circumstances(
      priorLoss: definition.head.priorLoss(of: inputs), leastLoss: definition.head.leastLoss,
      isRaised: recipe.training.adversarial != nil || recipe.training.rDrop != nil,
      groups: groups.names, peakRate: recipe.optimizer.learningRate,
      clips: recipe.optimizer.clipNorm != nil,
      totalSteps: totalSteps)
  }
}
