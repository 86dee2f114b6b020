import Model

extension Optimizer {
  /// Takes the parameters of `chunks` into the moving average: `a ← β a + (1 − β) p`, from zero.
  ///
  /// Nothing is done where no average is kept.
  package func updateAverage(chunks: some Collection<Int>, parameters: Arena) {
    guard let average, let decay = averageDecay else { return }
    let (kept, taken) = (Float(decay), Float(1 - decay))
    forEachSegment(of: chunks) { _, segment in
      let a = average.base + segment.range.lowerBound
      let p = parameters.base + segment.range.lowerBound
      for i in 0..<segment.range.count { a[i] = kept * a[i] + taken * p[i] }
    }
  }

  /// The weights that are evaluated after `steps` steps: the average without its bias towards zero, `a / (1 − βᵗ)`; what is
  /// frozen as it is.
  ///
  /// Source: bert4keras, `extend_with_exponential_moving_average`; Kingma, Ba, "Adam" (2015), section 7.2.
  package func averaged(_ parameters: Arena, steps: Int) -> Arena {
    guard let average, let decay = averageDecay, steps > 0 else { return parameters }
    let result = Arena(count: table.count)
    let factor = Float(1 / (1 - PortableMath.power(decay, to: steps)))
    for (parameter, isTrained) in zip(table.parameters, trainable) {
      for i in parameter.range {
        result.base[i] = isTrained ? average.base[i] * factor : parameters.base[i]
      }
    }
    result.touchedRows = nil
    return result
  }
}
