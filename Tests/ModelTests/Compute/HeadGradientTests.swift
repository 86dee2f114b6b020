import Foundation
import Model
import TestSupport
import Testing

/// Laws of every head's gradient: it is the slope of the loss, and its bits do not depend on threads or chunks.
@Suite struct HeadGradientTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var name: String
    var head: Head
    /// The target of example `i` with `count` tokens.
    var target: @Sendable (_ i: Int, _ count: Int) -> [Float]
    var isDouble = false
    var testDescription: String { name }
  }

  static let thresholds = Head.Thresholds(start: 0.5, end: 0.4)

  static func relation(
    _ conditioning: Head.Conditioning, _ loss: Head.Loss, powers: (Int, Int)? = nil
  ) -> Case {
    Case(
      name: "relation \(conditioning.rawValue)\(powers == nil ? "" : ", powers")",
      head: Head(
        .relation(
          Head.Relation(
            conditioning: conditioning, subject: thresholds, object: thresholds,
            subjectPower: powers?.0, objectPower: powers?.1)),
        outputs: 3, loss: loss, dropout: 0)
    ) { i, count in
      Head.relationTarget(
        first: 1, last: min(2, count - 1), subjects: [(1, min(2, count - 1))],
        objects: [(count / 2, count - 1, i % 3), (0, 1, 2)])
    }
  }

  static func regularized(_ name: String, _ change: (inout Head.Regularization) -> Void) -> Case {
    var head = Head(outputs: 3, loss: .softmax, usesPooler: true, dropout: 0.1)
    change(&head.regularization)
    return Case(name: name, head: head) { i, _ in [Float(i % 3)] }
  }

  static let focalSigmoid: Case = {
    var head = Head(outputs: 3, loss: .sigmoid, usesPooler: true, dropout: 0.1)
    head.regularization.focal = 1.5
    return Case(name: "focal sigmoids", head: head) { i, _ in
      (0..<3).map { ($0 + i) % 2 == 0 ? 1 : 0 }
    }
  }()

  static let cases: [Case] = [
    Case(name: "tokens", head: Head(.tokens, outputs: 3, loss: .softmax, dropout: 0.1)) {
      i, count in
      (0..<count).map { Float(($0 + i) % 4 - 1) }
    },
    Case(
      name: "chain", head: Head(.chain(multiplier: 10), outputs: 3, loss: .softmax, dropout: 0.1)
    ) { i, count in (0..<count).map { Float(($0 * 2 + i) % 4 - 1) } },
    Case(
      name: "global pointer",
      head: Head(.globalPointer, outputs: 2, loss: .softmax, dropout: 0.1)
    ) { i, count in
      Head.globalPointerTarget(
        i == 0 ? [] : [(0, 1, min(2, count - 1)), (1, 0, count - 1), (0, count / 2, count / 2)])
    },
    Case(
      name: "subject pointer", head: Head(.subjectPointer, outputs: 2, loss: .softmax, dropout: 0.1)
    ) { i, count in [Float(count / 3), Float(count - 1)] },
    Case(name: "span", head: Head(.span, outputs: 2, loss: .softmax, dropout: 0.1)) { i, count in
      i % 2 == 0 ? [0, 0] : [1, Float(count - 1)]
    },
    relation(.mean, .sigmoid), relation(.layerNorm, .sigmoid),
    relation(.preNorm, .sigmoid), relation(.preNorm, .sigmoid, powers: (2, 4)),
    Case(name: "gplinker", head: Head(.gplinker, outputs: 3, loss: .softmax, dropout: 0)) {
      i, count in
      Head.linkerTarget(
        i == 0
          ? []
          : [
            ((1, min(2, count - 1)), (count / 2, count - 1), 2), ((0, 0), (1, count - 1), i % 3),
            // The same pair of first tokens twice.
            ((1, count - 1), (count / 2, count / 2), 2),
          ])
    },
    Case(
      name: "masked language model",
      head: Head(.maskedLanguageModel, outputs: 196, loss: .softmax, dropout: 0)
    ) { i, count in (0..<count).map { $0 % 3 == 1 ? Float(($0 * 7 + i) % 196) : -1 } },
    Case(
      // |u − v| has kinks that a difference quotient falls over; its gradient is compared with the reference's.
      name: "siamese concatenation",
      head: Head(.siamese(.concatenation), outputs: 2, loss: .softmax, dropout: 0),
      target: { i, _ in [Float(i % 2)] }, isDouble: true),
    Case(
      name: "siamese cosine",
      head: Head(.siamese(.cosine), outputs: 1, loss: .squaredError, dropout: 0),
      target: { i, _ in [Float(i % 2)] }, isDouble: true),
    regularized("label smoothing") { $0.labelSmoothing = 0.2 },
    regularized("class weights") { $0.classWeights = [0.5, 2, 1] },
    regularized("focal") { $0.focal = 2 },
    regularized("focal and class weights") {
      $0.focal = 0.5
      $0.classWeights = [0.5, 2, 1]
    },
    focalSigmoid,
    regularized("R-Drop") { $0.rDrop = 3 },
  ]

  static func examples(_ c: Case, _ lengths: [Int]) -> [SequenceInput] {
    GradientLawTests.sequences(lengths).enumerated().map { i, sequence in
      var example = sequence
      example.target = c.target(i, sequence.ids.count)
      if c.isDouble {
        example.second = SequenceInput.Second(
          ids: sequence.ids.map { ($0 * 5 + 3) % 196 }, segments: sequence.segments.map { _ in 0 })
      }
      return example
    }
  }

  static func batch(_ c: Case, _ examples: [SequenceInput], leaves: Int) -> PackedBatch {
    PackedBatch(
      leaves: (0..<leaves).map { leaf in
        examples.enumerated().filter { $0.offset % leaves == leaf }.map(\.element)
      }, copies: c.head.copies)
  }

  @Test(arguments: cases)
  func `the gradient is the slope of the loss`(c: Case) {
    let (engine, parameters) = GradientLawTests.model(hidden: 32, threads: 2, head: c.head)
    let batch = Self.batch(c, Self.examples(c, [6, 40, 3, 9]), leaves: 2)
    let gradient = Arena(count: engine.table.count), scratch = Arena(count: engine.table.count)
    let randomness = Engine.Randomness(seed: 5, step: 3)
    _ = engine.gradient(
      of: batch, parameters: parameters, into: gradient, randomness: randomness)
    let moved = GradientLawTests.checkSlopes(
      engine, parameters, gradient, step: 1 / 256, tolerance: 0.03, least: 0.1
    ) {
      engine.gradient(
        of: batch, parameters: parameters, into: scratch, randomness: randomness
      ).numerator
    }
    #expect(moved > 20, "only \(moved) tensors have a slope to speak of")
  }

  @Test(arguments: cases)
  func `bits do not depend on threads, on leaves at once or on recomputation`(c: Case) {
    let examples = Self.examples(c, [5, 17, 40, 2, 33, 7, 41])
    var reference: [UInt32]?
    for (threads, atOnce, recomputes) in [
      (1, 8, false), (2, 8, true), (3, 2, false), (2, 1, true),
    ] {
      let (engine, parameters) = GradientLawTests.model(
        hidden: 32, threads: threads, head: c.head)
      engine.recomputes = recomputes
      let gradient = Arena(count: engine.table.count)
      _ = engine.gradient(
        of: Self.batch(c, examples, leaves: 8), parameters: parameters, into: gradient,
        randomness: .init(seed: 11, step: 5), leavesAtOnce: atOnce)
      let bits = GradientLawTests.bits(gradient)
      #expect(reference == nil || bits == reference, "\(threads) threads, \(atOnce) at once")
      reference = bits
    }
  }

  @Test func `two passes with dropout of their own part, and R-Drop pulls them together`() {
    var c = Self.cases[Self.cases.count - 1]
    let (engine, parameters) = GradientLawTests.model(hidden: 32, threads: 1, head: c.head)
    let examples = Self.examples(c, [6, 40])
    func loss(_ weight: Float?, _ engine: Engine) -> Double {
      c.head.regularization.rDrop = weight
      let own = Engine(configuration: engine.configuration, head: c.head, pool: engine.pool)
      return own.gradient(
        of: Self.batch(c, examples, leaves: 1), parameters: parameters,
        into: Arena(count: own.table.count), randomness: .init(seed: 1, step: 0)
      ).numerator
    }
    let (zero, one, three) = (loss(0, engine), loss(1, engine), loss(3, engine))
    #expect(one > zero, "the two passes are the same")
    // The divergence is linear in its weight.
    #expect(abs((three - zero) / (one - zero) - 3) < 1e-4)
  }
}
