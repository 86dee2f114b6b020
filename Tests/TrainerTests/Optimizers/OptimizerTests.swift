import Model
import Testing
import Trainer

@Suite struct OptimizerTests {
  /// A reference trajectory and how we name what made it.
  struct Variant: Sendable, CustomTestStringConvertible {
    let name: String
    let settings: OptimizerSettings
    var schedule: Schedule = .constant(rate: 0.01)
    var multipliers: (@Sendable ([String: Double]) -> LearningRateMultipliers)?
    var testDescription: String { name }
  }

  static let variants = [
    Variant(name: "keras_adam", settings: .init(.adam)),
    Variant(name: "bert4keras_tf_keras_adam", settings: .init(.bert4kerasAdam)),
    Variant(name: "bert4keras_weight_decay", settings: .init(.adam, weightDecay: 0.01)),
    Variant(name: "google_adam_weight_decay", settings: .init(.adamWeightDecay)),
    Variant(
      name: "google_create_optimizer", settings: .init(.adamWeightDecay, clipping: .google(1)),
      schedule: .google(peak: 0.01, warmup: 3, total: 10)),
    Variant(name: "adamw_wd_0.01", settings: .init(.adamW, weightDecay: 0.01)),
    Variant(name: "adamw_wd_0", settings: .init(.adamW)),
    Variant(
      name: "hf_trainer", settings: .init(.adamW, weightDecay: 0.01, clipping: .torch(1)),
      schedule: .linear(peak: 0.01, warmup: 3, total: 10)),
    Variant(
      name: "keras_bert_adam_warmup", settings: .init(.adamWarmup),
      schedule: .adamWarmup(peak: 0.01, warmup: 3, total: 10, low: 0.0001)),
    Variant(name: "lamb", settings: .init(.lamb)),
    Variant(name: "lamb_bert4keras", settings: .init(.bert4kerasLamb)),
    Variant(
      name: "keras_adam_multiplier_substring", settings: .init(.adam),
      multipliers: { .substrings($0) }),
    Variant(
      name: "keras_adam_multiplier_prefix", settings: .init(.adam), multipliers: { .prefixes($0) }),
  ]

  @Test func `the moving average is the reference's after every step`() throws {
    let fixture = try OptimizerFixture.load()
    let weights = try #require(fixture.optimizers["keras_adam"]).parameters_after_step
    let table = fixture.table
    #expect(!fixture.ema.cases.isEmpty)
    for reference in fixture.ema.cases {
      let optimizer = Optimizer(
        OptimizerSettings(.adam), table: table, trainable: table.parameters.map { _ in true },
        averageDecay: reference.momentum, pool: lastingPool(threads: 1))
      try #require(reference.from_zero_corrected.count == weights.count)
      for (step, expected) in reference.from_zero_corrected.enumerated() {
        let parameters = flatArena(weights[step].map { Float($0) })
        optimizer.updateAverage(chunks: 0..<optimizer.chunkCount, parameters: parameters)
        let averaged = optimizer.averaged(parameters, steps: step + 1)
        for (ours, theirs) in zip(averaged.elements, expected) {
          #expect(abs(Double(ours) - theirs) < 2e-6 * max(1, abs(theirs)))
        }
      }
    }
  }

  @Test func `every reference optimizer has a variant`() throws {
    let fixture = try OptimizerFixture.load()
    #expect(Set(Self.variants.map(\.name)) == Set(fixture.optimizers.keys))
  }

  // Tolerance: golden/README, parameters of order 1 in float32.
  @Test(arguments: variants, [1.0, 3.0])
  func `ten steps end where the reference ends`(variant: Variant, denominator: Double) throws {
    let fixture = try OptimizerFixture.load()
    let reference = try #require(fixture.optimizers[variant.name])
    let table = fixture.table
    let factors = variant.multipliers?(reference.multipliers ?? [:]).factors(for: table)
    if let factors { #expect(factors == reference.multiplier_of_tensor) }
    let optimizer = Optimizer(
      variant.settings, table: table, trainable: table.parameters.map { _ in true },
      multipliers: factors, pool: lastingPool(threads: 1))
    let parameters = flatArena(fixture.tensors.flatMap(\.initial))
    for (step, expected) in reference.parameters_after_step.enumerated() {
      let gradient = flatArena(fixture.gradients[step].map { $0 * Float(denominator) })
      let norm = try optimizer.update(
        parameters: parameters, gradient: gradient, denominator: denominator,
        learningRate: variant.schedule.rate(at: step), step: step)
      #expect(abs(norm - fixture.clip.norms[step]) < 1e-6 * fixture.clip.norms[step])
      let worst = zip(parameters.elements, expected).map { abs(Double($0) - $1) }.max() ?? .nan
      #expect(worst < 2e-6, "step \(step)")
    }
  }

  @Test func `clipping factors are the reference's`() throws {
    let clip = try OptimizerFixture.load().clip
    for reference in clip.max_norm {
      for (i, norm) in clip.norms.enumerated() {
        let google = OptimizerSettings.Clipping.google(reference.max_norm)
        let torch = OptimizerSettings.Clipping.torch(reference.max_norm)
        #expect(abs(google.coefficient(norm: norm) - reference.google[i]) < 1e-11)
        #expect(abs(google.coefficient(norm: norm) - reference.keras[i]) < 1e-11)
        #expect(abs(torch.coefficient(norm: norm) - reference.torch[i]) < 1e-11)
      }
    }
    #expect(OptimizerSettings.Clipping.google(1).coefficient(norm: 0) == 1)
    #expect(OptimizerSettings.Clipping.torch(1).coefficient(norm: 0) == 1)
  }

  @Test func `clipping by tensor gives each tensor the reference's factor`() throws {
    let fixture = try OptimizerFixture.load()
    let table = fixture.table
    for reference in fixture.clip.max_norm {
      for step in fixture.gradients.indices {
        // Without bias correction the first moment after one step is a tenth of the clipped gradient.
        let optimizer = Optimizer(
          .init(.adamWeightDecay, clipping: .perTensor(reference.max_norm)), table: table,
          trainable: table.parameters.map { _ in true }, pool: lastingPool(threads: 1))
        try optimizer.update(
          parameters: Arena(count: table.count), gradient: flatArena(fixture.gradients[step]),
          denominator: 1, learningRate: 0, step: 0)
        for (parameter, factor) in zip(table.parameters, reference.per_tensor[step]) {
          for i in parameter.range {
            let expected = 0.1 * factor * Double(fixture.gradients[step][i])
            #expect(abs(Double(optimizer.firstMoment.base[i]) - expected) < 1e-6)
          }
        }
      }
    }
  }

  @Test func `decay groups follow the table, a list of names, or nothing`() throws {
    let table = try OptimizerFixture.load().table
    let flags = table.parameters.map(\.decays)
    #expect(table.parameters.map(OptimizerSettings.DecayGroups.table.decays) == flags)
    // Google's `bias` also matches a head's output_bias.
    #expect(table.parameters.map(OptimizerSettings.DecayGroups.google.decays) == flags)
    #expect(table.parameters.map(OptimizerSettings.DecayGroups.all.decays).allSatisfy { $0 })
    let custom = OptimizerSettings.DecayGroups.excluding(["embeddings", "output_w"])
    #expect(
      table.parameters.map(custom.decays) == [false, true, true, true, true, false, true])
  }
}
