import Collective
import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// FGM and PGD, and the moving average, against numbers of another implementation and by their laws.
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

  /// What a rank says of the reference's batch disturbed as `settings` say of the reference's ε.
  private struct Outcome: Sendable, Equatable {
    /// The mean loss.
    var loss: Double
    var norm: Double
    /// Whether the parameters are what they were, bit for bit.
    var isRestored: Bool
  }

  private static func outcomes(
    ranks: Int, _ settings: @escaping @Sendable (_ epsilon: Double) -> AdversarialSettings
  ) throws -> (outcomes: [Outcome], record: File.Record) {
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
    let adversary = settings(record.epsilon)
    let outcomes = try onRanks(ranks) { collective in
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
        parameters: parameters, adversary: adversary)
      let leaves = (0..<4).map { leaf in
        sequences.enumerated().filter { $0.offset % 4 == leaf }.map(\.element)
      }
      // With a rate of 0 nothing is updated.
      let result = try step.run(
        leaves: leaves, randomness: nil, denominator: Double(sequences.count), learningRate: 0,
        step: 0)
      try step.settle()
      return Outcome(
        loss: result.loss / Double(sequences.count), norm: result.norm,
        isRestored: parameters.elements.map(\.bitPattern) == before)
    }
    return (outcomes, record)
  }

  @Test(arguments: [1, 2, 3]) func `FGM's loss and gradient are the reference's`(ranks: Int) throws
  {
    let (outcomes, record) = try Self.outcomes(ranks: ranks) {
      AdversarialSettings(epsilon: $0, hasDropout: false)
    }
    for outcome in outcomes {
      #expect(abs(outcome.loss / record.loss - 1) < 1e-5)
      #expect(abs(outcome.norm / record.grad_norm_all - 1) < 5e-5)
      #expect(outcome.isRestored, "the word table was not restored")
    }
  }

  @Test func `PGD of one step as long as the radius is FGM, bit for bit`() throws {
    let fgm = try Self.outcomes(ranks: 1) { AdversarialSettings(epsilon: $0, hasDropout: false) }
    let pgd = try Self.outcomes(ranks: 1) {
      AdversarialSettings(epsilon: $0, steps: 1, alpha: $0, hasDropout: false)
    }
    #expect(fgm.outcomes == pgd.outcomes)
  }

  /// Along a gradient that hardly turns, two steps of ε are one of 2ε, and in the ball of radius ε one of ε.
  @Test func `PGD's steps add up inside the ball and end at its border`() throws {
    func loss(_ radius: Double, _ steps: Int, _ alpha: Double) throws -> Double {
      let outcome = try Self.outcomes(ranks: 1) { _ in
        AdversarialSettings(epsilon: radius, steps: steps, alpha: alpha, hasDropout: false)
      }.outcomes[0]
      #expect(outcome.isRestored, "the word table was not restored")
      return outcome.loss
    }
    let length = 0.05
    let (one, two) = (try loss(length, 1, length), try loss(2 * length, 1, 2 * length))
    #expect(two > one)
    #expect(abs(try loss(length, 2, length) - one) < 0.2 * (two - one))
    #expect(abs(try loss(2 * length, 2, length) - two) < 0.2 * (two - one))
  }

  @Test func `PGD is the same on any number of ranks`() throws {
    let runs = try [1, 2, 3, 4].map { ranks in
      try Self.outcomes(ranks: ranks) {
        AdversarialSettings(epsilon: $0, steps: 3, alpha: 0.5 * $0, hasDropout: false)
      }.outcomes
    }
    for outcome in runs.flatMap({ $0 }) {
      #expect(outcome == runs[0][0] && outcome.isRestored)
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
