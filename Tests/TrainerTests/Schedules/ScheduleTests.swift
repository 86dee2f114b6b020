import Foundation
import TestSupport
import Testing
import Trainer

/// `Tests/Fixtures/schedules.json`: values of transformers, or of the written formulas.
private struct ScheduleFixture: Decodable, Sendable {
  struct Case: Decodable, Sendable, CustomTestStringConvertible {
    struct Parameters: Decodable, Sendable {
      let lr: Double
      let num_train_steps, num_warmup_steps, num_cycles, num_stable_steps, num_decay_steps: Int?
      let min_lr_rate, power, lr_end, min_lr: Double?
      let steps_per_epoch: Int?
      let points: [String: Double]?
    }
    let name: String
    let parameters: Parameters
    let steps: [Int]
    let lr: [Double]
    var testDescription: String { "\(name) \(parameters.num_train_steps ?? steps.count)" }

    var schedule: Schedule? {
      let p = parameters
      let warmup = p.num_warmup_steps ?? 0
      let total = p.num_train_steps ?? 0
      switch name {
      case "constant": return .constant(rate: p.lr)
      case "google": return .google(peak: p.lr, warmup: warmup, total: total)
      case "hf_linear": return .linear(peak: p.lr, warmup: warmup, total: total)
      case "hf_cosine": return .cosine(peak: p.lr, warmup: warmup, total: total)
      case "hf_cosine_with_min_lr":
        return .cosine(
          peak: p.lr, warmup: warmup, total: total, minimumRatio: p.min_lr_rate ?? .nan)
      case "hf_cosine_with_restarts":
        return .cosineWithRestarts(
          peak: p.lr, warmup: warmup, total: total, cycles: p.num_cycles ?? 0)
      case "hf_polynomial":
        return .polynomial(
          peak: p.lr, warmup: warmup, total: total, power: p.power ?? .nan, end: p.lr_end ?? .nan)
      case "hf_inverse_sqrt": return .inverseSquareRoot(peak: p.lr, warmup: warmup)
      case "hf_warmup_stable_decay":
        return .warmupStableDecay(
          peak: p.lr, warmup: warmup, stable: p.num_stable_steps ?? 0, decay: p.num_decay_steps ?? 0
        )
      case "hf_constant_with_warmup": return .constantWithWarmup(peak: p.lr, warmup: warmup)
      case "keras_bert_warmup":
        return .adamWarmup(peak: p.lr, warmup: warmup, total: total, low: p.min_lr ?? .nan)
      case "seed_two_epoch":
        return .twoEpoch(
          stepsPerEpoch: p.steps_per_epoch ?? 0, peak: p.lr, low: p.min_lr ?? .nan)
      case "bert4keras_piecewise":
        let points = (p.points ?? [:]).compactMap { step, multiplier in
          Int(step).map { Schedule.Point(step: $0, multiplier: multiplier) }
        }
        return .piecewiseLinear(peak: p.lr, points: points.sorted { $0.step < $1.step })
      default: return nil
      }
    }
  }
  let schedules: [Case]
}

@Suite struct ScheduleTests {
  fileprivate static let cases =
    (try? Fixtures.json("schedules.json", as: ScheduleFixture.self))?
    .schedules ?? []

  @Test func `all 37 reference schedules are read`() {
    #expect(Self.cases.count == 37)
  }

  // The fixture carries 13 digits.
  @Test(arguments: cases)
  fileprivate func `a schedule gives the reference's rate at every step`(
    reference: ScheduleFixture.Case
  ) throws {
    let schedule = try #require(reference.schedule)
    for (step, expected) in zip(reference.steps, reference.lr) {
      let rate = schedule.rate(at: step)
      #expect(
        abs(rate - expected) <= 1e-12 * reference.parameters.lr,
        "step \(step): \(rate), \(expected)"
      )
    }
  }

  @Test func `the two-epoch schedule has the published values`() {
    let schedule = Schedule.twoEpoch(stepsPerEpoch: 1000)
    let values = [
      0: 5e-8, 499: 2.5e-5, 999: 5e-5, 1000: 4.996e-5, 1499: 3e-5, 1999: 1e-5, 9999: 1e-5,
    ]
    for (step, expected) in values {
      #expect(abs(schedule.rate(at: step) - expected) < 1e-17, "step \(step)")
    }
  }

  @Test func `a rate does not depend on which steps were asked before`() {
    let schedule = Schedule.cosine(peak: 3e-5, warmup: 7, total: 90)
    let forwards = (0..<100).map(schedule.rate(at:))
    let backwards = (0..<100).reversed().map(schedule.rate(at:))
    #expect(forwards == backwards.reversed())
  }

  @Test(arguments: [0, 1, 2, 3]) func `schedules of hardly any steps are finite`(total: Int) {
    let schedules: [Schedule] = [
      .google(peak: 1, warmup: 0, total: total), .linear(peak: 1, warmup: total, total: total),
      .cosine(peak: 1, warmup: 0, total: total),
      .cosineWithRestarts(peak: 1, warmup: total, total: total, cycles: 3),
      .polynomial(peak: 1, warmup: total, total: total, power: 0.5, end: 0),
      .polynomial(peak: 1, warmup: 0, total: total), .inverseSquareRoot(peak: 1, warmup: total),
      .warmupStableDecay(peak: 1, warmup: 0, stable: total, decay: 0),
      .adamWarmup(peak: 1, warmup: 0, total: total),
      .piecewiseLinear(peak: 1, points: [.init(step: total, multiplier: 1)]),
      .twoEpoch(stepsPerEpoch: total),
    ]
    for schedule in schedules {
      for step in 0..<5 {
        let rate = schedule.rate(at: step)
        #expect(rate.isFinite && rate >= 0 && rate <= 1, "\(schedule) at \(step): \(rate)")
      }
    }
  }

  @Test func `a polynomial of power one half is a square root`() {
    let schedule = Schedule.polynomial(peak: 2, warmup: 0, total: 100, power: 0.5, end: 0)
    for step in [0, 1, 50, 99, 100] {
      let expected = 2 * (1 - Double(step) / 100).squareRoot()
      #expect(abs(schedule.rate(at: step) - expected) < 1e-14)
    }
  }

  @Test func `cosine schedules agree with the C library's cosine`() {
    // Past the end the cosine goes on, as Hugging Face's does.
    let schedule = Schedule.cosine(peak: 1, warmup: 0, total: 1009)
    for step in 0..<3000 {
      let expected = 0.5 * (1 + cos(Double.pi * Double(step) / 1009))
      #expect(abs(schedule.rate(at: step) - expected) < 4e-15, "step \(step)")
    }
  }
}
