import Model

// LAMB. Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes"
// (version 1); bert4keras `extend_with_layer_adaptation`.

extension Optimizer {
  /// Two passes: moments and the norms of tensors and updates; then the steps, scaled by the ratios.
  func updateAdapted(
    parameters: Arena, gradient: Arena, coefficients: [OptimizerKernels.Coefficients],
    learningRate: Double, step: Int
  ) {
    var sums = [(parameters: Double, update: Double)](repeating: (0, 0), count: segments.count)
    sums.withUnsafeMutableBufferPointer { sums in
      forEachSegment(of: 0..<chunkCount) { number, segment in
        let start = segment.range.lowerBound
        let count = segment.range.count
        let c = coefficients[segment.parameter]
        OptimizerKernels.moments(
          gradient: gradient.base + start, first: firstMoment.base + start,
          second: secondMoment.base + start, count: count, c)
        sums[number] = OptimizerKernels.adaptedSquareSums(
          parameters: parameters.base + start, first: firstMoment.base + start,
          second: secondMoment.base + start, count: count, c)
      }
    }
    let steps = ratios(sums, learningRate: learningRate).enumerated().map { number, ratio in
      Float(learningRate * multipliers[number] * ratio)
    }
    forEachSegment(of: 0..<chunkCount) { _, segment in
      let start = segment.range.lowerBound
      OptimizerKernels.adapted(
        parameters: parameters.base + start, first: firstMoment.base + start,
        second: secondMoment.base + start, count: segment.range.count,
        step: steps[segment.parameter], coefficients[segment.parameter])
    }
  }

  /// `|p|/|u|` of each tensor from the sums of its segments, 1 where either is zero.
  private func ratios(
    _ sums: [(parameters: Double, update: Double)], learningRate: Double
  ) -> [Double] {
    var totals = [(parameters: Double, update: Double)](
      repeating: (0, 0), count: table.parameters.count)
    for (segment, sum) in zip(segments, sums) {
      totals[segment.parameter].parameters += sum.parameters
      totals[segment.parameter].update += sum.update
    }
    // bert4keras divides its step by max(lr, 1e-7) to get u back.
    let guardFactor =
      settings.method == .bert4kerasLamb ? learningRate / max(learningRate, 1e-7) : 1
    return totals.enumerated().map { number, sum in
      let adapts = settings.method == .bert4kerasLamb || decays[number]
      let update = sum.update.squareRoot() * guardFactor
      return adapts && sum.parameters > 0 && update > 0 ? sum.parameters.squareRoot() / update : 1
    }
  }
}
