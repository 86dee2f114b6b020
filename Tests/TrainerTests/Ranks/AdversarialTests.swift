import Collective
import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// FGM and the moving average against numbers of another implementation.
@Suite struct AdversarialTests {
  private struct File: Decodable {
    struct Input: Decodable { let ids: [Int32], segments: [Int32] }
    struct Record: Decodable {
      let head_init: [String: Numbers]
      let labels: [Float], epsilon: Double, loss: Double, grad_norm_all: Double
    }
    struct Heads: Decodable { let sentiment_fgm: Record }
    let batch: [Input]
    let heads: Heads
  }

  @Test(arguments: [1, 2, 3]) func `FGM's loss and gradient are the reference's`(ranks: Int) throws
  {
    let file = try Fixtures.json("tiny_heads.json", as: File.self)
    let record = file.heads.sentiment_fgm
    let weight = try #require(record.head_init["dense/kernel"]).floats
    let bias = try #require(record.head_init["dense/bias"]).floats
    let sequences = file.batch.enumerated().map { i, input in
      SequenceInput(
        ids: input.ids, segments: input.segments, exampleID: UInt64(i),
        target: [record.labels[i]])
    }
    let folder = Fixtures.url("tiny_hf")
    let epsilon = record.epsilon
    let results = try onRanks(ranks) { collective in
      let model = try ModelFolder.open(folder, dialect: .huggingface)
      let pool = ThreadPool(threads: 1)
      let head = Head(outputs: 1, loss: .sigmoidClipped, dropout: 0)
      let engine = Engine(configuration: model.configuration, head: head, pool: pool)
      let parameters = Arena(count: engine.table.count)
      try model.load(into: parameters, table: engine.table)
      for (name, values) in [("classifier.weight", weight), ("classifier.bias", bias)] {
        guard let range = engine.table[name]?.range else { continue }
        for (i, value) in values.enumerated() { parameters.base[range.lowerBound + i] = value }
      }
      let before = parameters.elements.map(\.bitPattern)
      let step = try DistributedStep(
        RankGroup(collective, leaves: 4), engine: engine,
        optimizer: Optimizer(
          OptimizerSettings(.adamW, weightDecay: 0), table: engine.table,
          trainable: engine.table.parameters.map { _ in true }, pool: pool),
        parameters: parameters,
        adversary: AdversarialSettings(epsilon: epsilon, hasDropout: false))
      let leaves = (0..<4).map { leaf in
        sequences.enumerated().filter { $0.offset % 4 == leaf }.map(\.element)
      }
      let result = try step.run(
        leaves: leaves, randomness: nil, denominator: Double(sequences.count), learningRate: 0,
        step: 0)
      try step.settle()
      // With a rate of 0 the disturbed table must be what it was, bit for bit.
      let same = parameters.elements.map(\.bitPattern) == before
      return (result.loss, result.norm, same)
    }
    for (loss, norm, same) in results {
      #expect(abs(loss / Double(sequences.count) / record.loss - 1) < 1e-5)
      #expect(abs(norm / record.grad_norm_all - 1) < 5e-5)
      #expect(same, "the word table was not restored")
    }
  }

  @Test func `the moving average has no bias towards zero, and leaves frozen tensors alone`() {
    var table = ParameterTable()
    table.add("classifier.weight", [3], decays: true)
    table.add("classifier.bias", [2], decays: false)
    let pool = ThreadPool(threads: 1)
    let optimizer = Optimizer(
      OptimizerSettings(.adamW), table: table, trainable: [true, false], averageDecay: 0.9,
      pool: pool)
    let parameters = Arena(count: table.count)
    var expected = 0.0
    for step in 1...4 {
      for i in 0..<5 { parameters.base[i] = Float(step) }
      optimizer.updateAverage(chunks: 0..<1, parameters: parameters)
      expected = 0.9 * expected + 0.1 * Double(step)
      let averaged = optimizer.averaged(parameters, steps: step)
      #expect(abs(Double(averaged.base[0]) - expected / (1 - pow(0.9, Double(step)))) < 1e-6)
      #expect(averaged.base[3] == Float(step))
    }
  }
}
