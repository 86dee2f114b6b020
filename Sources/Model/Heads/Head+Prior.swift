import Foundation

extension Head {
  /// The mean loss of a model that has learnt how frequent each answer is, and nothing else; nil where that is no
  /// single number.
  ///
  /// A training whose loss stays at it, or comes back to it, does not read its inputs.
  package func priorLoss(of examples: [SequenceInput]) -> Double? {
    switch kind {
    case .sentence, .siamese: return Self.priorLoss(of: examples.map(\.target), loss, outputs)
    case .tokens:
      return Self.entropy(Self.counts(examples.lazy.flatMap(\.target).filter { $0 >= 0 }))
    case .chain, .globalPointer, .subjectPointer, .span, .relation, .maskedLanguageModel: return nil
    }
  }

  private static func priorLoss(of targets: [[Float]], _ loss: Loss, _ outputs: Int) -> Double? {
    guard !targets.isEmpty else { return nil }
    switch loss {
    case .softmax: return entropy(counts(targets.lazy.map { $0[0] }))
    case .sigmoid, .sigmoidClipped:
      let sums = (0..<outputs).map { output in
        entropy(counts(targets.lazy.map { $0[output] })) ?? 0
      }
      return sums.reduce(0, +) / Double(outputs)
    case .squaredError:
      let sums = (0..<outputs).map { output in
        let values = targets.map { Double($0[output]) }
        let mean = values.reduce(0, +) / Double(values.count)
        return values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
      }
      return sums.reduce(0, +) / Double(outputs)
    }
  }

  private static func counts(_ values: some Sequence<Float>) -> [Int] {
    var counts: [Float: Int] = [:]
    for value in values { counts[value, default: 0] += 1 }
    return counts.sorted { $0.key < $1.key }.map(\.value)
  }

  /// `−Σ p log p`; nil without counts.
  private static func entropy(_ counts: [Int]) -> Double? {
    let total = Double(counts.reduce(0, +))
    guard total > 0 else { return nil }
    return -counts.reduce(0.0) { $0 + Double($1) / total * log(Double($1) / total) }
  }
}
