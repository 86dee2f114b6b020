import Foundation
import Model

/// Draws new weights, each a function of (seed, tensor, element): neither their order nor threads matter.
package struct ParameterInitialization: Sendable {
  package enum Distribution: Sendable {
    /// Normal with mean 0.
    case normal(deviation: Double)
    /// The same, drawn again past two deviations.
    case truncatedNormal(deviation: Double)
    /// Uniform within ± `limit`.
    case uniform(limit: Double)
  }

  package let seed: UInt64

  package init(seed: UInt64) { self.seed = seed }

  /// The distribution of a head's weight `[out, in]`.
  package static func distribution(
    _ kind: Recipe.HeadInitialization, shape: [Int], range: Float
  ) -> Distribution {
    switch kind {
    case .normal: .normal(deviation: Double(range))
    case .truncatedNormal: .truncatedNormal(deviation: Double(range))
    case .glorotUniform: .uniform(limit: (6 / Double(shape.reduce(0, +))).squareRoot())
    }
  }

  /// Initialises the tensors of `names`: dense weights by `distribution`, biases 0, layer-norm gains 1.
  package func fill(
    _ names: Set<String>, of table: ParameterTable, in arena: Arena, purpose: RandomPurpose,
    distribution: (Parameter) -> Distribution
  ) {
    for (number, parameter) in table.parameters.enumerated() where names.contains(parameter.name) {
      let values = arena[parameter.range]
      if parameter.name.hasSuffix(".bias") {
        values.update(repeating: 0)
      } else if parameter.name.contains("LayerNorm") {
        values.update(repeating: 1)
      } else if parameter.name.hasPrefix("condition.") {
        // A conditional norm begins as a plain one (bert4keras).
        values.update(repeating: 0)
      } else if parameter.name == "crf.transitions" {
        // No transition is preferred before rows have been seen.
        values.update(repeating: 0)
      } else {
        draw(values, distribution(parameter), purpose: purpose, tensor: number)
      }
    }
  }

  private func draw(
    _ values: UnsafeMutableBufferPointer<Float>, _ distribution: Distribution,
    purpose: RandomPurpose, tensor: Int
  ) {
    let philox = Philox(seed: seed)
    for i in values.indices {
      // Attempt 0 nearly always; truncation draws again with the next.
      var attempt: UInt32 = 0
      while true {
        let words = philox.block(
          SIMD4(UInt32(truncatingIfNeeded: i), UInt32(tensor), attempt, purpose.word()))
        switch distribution {
        case .uniform(let limit):
          values[i] = Float((2 * Self.unit(words) - 1) * limit)
        case .normal(let deviation):
          values[i] = Float(Self.normal(words) * deviation)
        case .truncatedNormal(let deviation):
          let z = Self.normal(words)
          if abs(z) > 2 {
            attempt += 1
            continue
          }
          values[i] = Float(z * deviation)
        }
        break
      }
    }
  }

  /// A uniform number in (0, 1) with 53 bits.
  private static func unit(_ words: SIMD4<UInt32>) -> Double {
    let bits = (UInt64(words[0]) << 32 | UInt64(words[1])) >> 11
    return (Double(bits) + 0.5) * 0x1p-53
  }

  /// A standard normal number by Box and Muller's transform.
  private static func normal(_ words: SIMD4<UInt32>) -> Double {
    let radius = (-2 * log(unit(words))).squareRoot()
    let turn = Double(words[2]) * 0x1p-32
    return radius * PortableMath.cosine(ofPiTimes: 2 * turn)
  }
}
