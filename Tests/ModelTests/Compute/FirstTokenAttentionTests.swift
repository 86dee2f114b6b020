import Foundation
import Model
import Testing

/// A last layer of which only [CLS] is read has no keys and values; it must be the same layer.
@Suite struct FirstTokenAttentionTests {
  static let lengths = [5, 17, 130, 1, 64, 33, 2]

  @Test(arguments: [(32, 4), (256, 4), (48, 3)])
  func `pooled vectors are those of a layer that computes every token`(
    hidden: Int, heads: Int
  )
    throws
  {
    let (engine, parameters) = GradientLawTests.model(hidden: hidden, threads: 2) {
      $0.headCount = heads
    }
    let sequences = GradientLawTests.sequences(Self.lengths)
    let pooled = engine.pooled(of: sequences, parameters: parameters)
    let rows = engine.hiddenStates(of: sequences, parameters: parameters)
    let weight = try #require(
      engine.table.parameters.first { $0.name.hasSuffix("pooler.dense.weight") })
    let bias = try #require(
      engine.table.parameters.first { $0.name.hasSuffix("pooler.dense.bias") })
    for (vector, row) in zip(pooled, rows) {
      for output in 0..<hidden {
        var sum = Double(parameters.base[bias.range.lowerBound + output])
        for i in 0..<hidden {
          sum +=
            Double(parameters.base[weight.range.lowerBound + output * hidden + i]) * Double(row[i])
        }
        #expect(abs(Double(vector[output]) - tanh(sum)) < 2e-6)
      }
    }
  }

  @Test func `the last layer's key bias has no part in the loss, and its gradient is zero`() throws
  {
    let (engine, parameters) = GradientLawTests.model(hidden: 32, threads: 2)
    let batch = GradientLawTests.deal(GradientLawTests.sequences(Self.lengths), leaves: 4)
    func keyBias(_ layer: Int) throws -> Range<Int> {
      try #require(
        engine.table.parameters.first {
          $0.name.hasSuffix("layer.\(layer).attention.self.key.bias")
        }
      ).range
    }
    func loss(_ gradient: Arena) -> Double {
      engine.gradient(
        of: batch, parameters: parameters, into: gradient, randomness: .init(seed: 5, step: 3)
      ).numerator
    }
    let gradient = Arena(count: engine.table.count), other = Arena(count: engine.table.count)
    let (first, last) = (try keyBias(0), try keyBias(1))
    for i in last { gradient.base[i] = .nan }
    let before = loss(gradient)
    #expect(last.allSatisfy { gradient.base[$0] == 0 })
    #expect(first.contains { gradient.base[$0] != 0 })
    for i in last { parameters.base[i] += 3 }
    #expect(loss(other) == before)
    #expect(GradientLawTests.bits(other) == GradientLawTests.bits(gradient))
    // The layer below computes every token, and rounds.
    for i in first { parameters.base[i] += 3 }
    #expect(loss(other) != before)
  }
}
