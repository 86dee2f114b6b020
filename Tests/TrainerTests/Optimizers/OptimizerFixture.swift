import Foundation
import Model
import TestSupport
import Trainer

/// `Tests/Fixtures/optimizers.json`: ten steps of each optimizer on seven small tensors, in float64.
struct OptimizerFixture: Decodable, Sendable {
  struct Tensor: Decodable, Sendable {
    let name: String
    let shape: [Int]
    let initial: [Float]
    let no_decay: Bool
  }
  struct Trajectory: Decodable, Sendable {
    let lr: Double
    let weight_decay: Double?
    let ratios: [[Double]]?
    let multipliers: [String: Double]?
    let multiplier_of_tensor: [Double]?
    let parameters_after_step: [[Double]]
  }
  struct Clip: Decodable, Sendable {
    struct Case: Decodable, Sendable {
      let max_norm: Double
      let google, torch, keras: [Double]
      let per_tensor: [[Double]]
    }
    let norms: [Double]
    let max_norm: [Case]
  }
  /// Moving averages of the weights of `keras_adam`.
  struct Average: Decodable, Sendable {
    struct Case: Decodable, Sendable {
      let momentum: Double
      let from_zero_corrected: [[Double]]
    }
    let cases: [Case]
  }
  let ema: Average
  let tensors: [Tensor]
  let gradients: [[Float]]
  let optimizers: [String: Trajectory]
  let clip: Clip

  static func load() throws -> OptimizerFixture { try Fixtures.json("optimizers.json") }

  var table: ParameterTable {
    var table = ParameterTable()
    for tensor in tensors { table.add(tensor.name, tensor.shape, decays: !tensor.no_decay) }
    return table
  }
}

/// An arena that holds `values`.
func flatArena(_ values: [Float]) -> Arena {
  let arena = Arena(count: values.count)
  for (i, value) in values.enumerated() { arena.base[i] = value }
  arena.touchedRows = nil
  return arena
}

/// The elements' bit patterns: equal lists are equal bits, NaN and signed zeros included.
func bitPatterns(_ arena: Arena) -> [UInt32] { arena.elements.map(\.bitPattern) }

/// `count` values that look like noise, the same every time.
func flatNoise(_ count: Int, seed: UInt64, scale: Float = 1) -> [Float] {
  let philox = Philox(seed: seed)
  return (0..<count).map { i in
    let words = philox.block(SIMD4(UInt32(i), 0, 0, 0))
    return (Philox.unit(words[0]) + Philox.unit(words[1]) - 1) * scale
  }
}

/// Tensors whose borders fall inside, on and across the optimizer's chunks; some decay.
func oddTable() -> ParameterTable {
  var table = ParameterTable()
  table.add("word.weight", [70_001], decays: true)
  table.add("a.bias", [1], decays: false)
  table.add("b.weight", [7, 9], decays: true)
  table.add("empty.weight", [0, 5], decays: true)
  table.add("LayerNorm.weight", [131_072 - 70_065], decays: false)
  table.add("c.weight", [65_536], decays: true)
  table.add("d.weight", [17], decays: true)
  return table
}

/// A pool that is never freed: its threads may look at it until the process ends.
func lastingPool(threads: Int) -> ThreadPool {
  Unmanaged.passRetained(ThreadPool(threads: threads)).takeUnretainedValue()
}
