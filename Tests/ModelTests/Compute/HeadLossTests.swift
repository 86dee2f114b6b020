import Foundation
import Model
import TestSupport
import Testing

/// Values of the losses that a recipe may ask for, by hand.
@Suite struct HeadLossTests {
  /// The undivided training loss of one example whose logits are `logits`, whatever it says.
  static func loss(_ head: Head, logits: [Float], target: [Float]) -> Double {
    let (engine, parameters) = GradientLawTests.model(hidden: 32, threads: 1, head: head)
    if let weight = engine.table["classifier.weight"], let bias = engine.table["classifier.bias"] {
      for i in weight.range { parameters.base[i] = 0 }
      for (i, logit) in zip(bias.range, logits) { parameters.base[i] = logit }
    }
    var example = GradientLawTests.sequences([5])[0]
    example.target = target
    return engine.gradient(
      of: PackedBatch(leaves: [[example]], copies: head.copies), parameters: parameters,
      into: Arena(count: engine.table.count), randomness: nil
    ).numerator
  }

  static func head(
    _ outputs: Int, _ loss: Head.Loss, _ change: (inout Head.Regularization) -> Void
  ) -> Head {
    var head = Head(outputs: outputs, loss: loss, dropout: 0)
    change(&head.regularization)
    return head
  }

  /// Their logarithms, without the sign.
  static let sixth = log(6.0), third = log(3.0), half = log(2.0)
  /// Probabilities 1/6, 2/6 and 3/6.
  static let logits: [Float] = [0, Float(log(2.0)), Float(log(3.0))]

  /// 0.7 of the first label, 0.1 of each class.
  static let smoothed = 0.7 * sixth + 0.1 * (sixth + third + half)

  static func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) < 2e-6 * max(1, abs(b)) }

  @Test func `label smoothing spreads its share over all classes`() {
    let smoothed = Self.loss(
      Self.head(3, .softmax) { $0.labelSmoothing = 0.3 }, logits: Self.logits, target: [0])
    #expect(Self.isClose(smoothed, Self.smoothed))
  }

  @Test func `a class's weight multiplies its loss and its share of the denominator`() {
    var head = Self.head(3, .softmax) { $0.classWeights = [4, 1, 0.5] }
    #expect(Self.isClose(Self.loss(head, logits: Self.logits, target: [0]), 4 * Self.sixth))
    #expect(Self.isClose(Self.loss(head, logits: Self.logits, target: [2]), 0.5 * Self.half))
    var example = GradientLawTests.sequences([5])[0]
    example.target = [0]
    #expect(head.terms(of: example) == 4)
    head.regularization.labelSmoothing = 0.3
    #expect(
      Self.isClose(
        Self.loss(head, logits: Self.logits, target: [0]),
        4 * Self.smoothed))
  }

  @Test func `focal loss weighs a row by the power of what is not known of it`() {
    let focal = Self.head(3, .softmax) { $0.focal = 2 }
    #expect(Self.isClose(Self.loss(focal, logits: Self.logits, target: [2]), 0.25 * Self.half))
    #expect(
      Self.isClose(Self.loss(focal, logits: Self.logits, target: [0]), 25.0 / 36 * Self.sixth))
    var weighted = focal
    weighted.regularization.classWeights = [3, 1, 1]
    #expect(
      Self.isClose(Self.loss(weighted, logits: Self.logits, target: [0]), 25.0 / 12 * Self.sixth))
    // Of a probability of 3/4 and of 1/4.
    let sigmoid = Self.head(1, .sigmoid) { $0.focal = 2 }
    let logit = [Float(log(3.0))]
    #expect(Self.isClose(Self.loss(sigmoid, logits: logit, target: [1]), log(4.0 / 3) / 16))
    #expect(Self.isClose(Self.loss(sigmoid, logits: logit, target: [0]), 9 * log(4.0) / 16))
    // What is known for sure has neither loss nor an undefined gradient.
    #expect(Self.loss(focal, logits: [0, 0, 200], target: [2]) == 0)
  }

  /// A sequence of four tokens with the subject 1…2 and one object, token 3, of the second of two predicates; all logits are `logit`.
  static func relation(
    _ loss: Head.Loss, _ subjectPower: Int, _ objectPower: Int, logit: Float
  ) -> (loss: Double, slopes: [Float], probabilities: [Float]) {
    let thresholds = Head.Thresholds(start: 0.5, end: 0.5)
    let head = Head(
      .relation(
        Head.Relation(
          conditioning: .mean, subject: thresholds, object: thresholds,
          subjectPower: subjectPower, objectPower: objectPower)),
      outputs: 2, loss: loss, dropout: 0)
    let (engine, parameters) = GradientLawTests.model(hidden: 32, threads: 1, head: head)
    for (tensor, value) in [
      ("subject.weight", 0), ("object.weight", 0), ("subject.bias", logit), ("object.bias", logit),
    ] {
      for i in engine.table[tensor]?.range ?? 0..<0 { parameters.base[i] = value }
    }
    var example = GradientLawTests.sequences([4])[0]
    example.target = Head.relationTarget(
      first: 1, last: 2, subjects: [(1, 2)], objects: [(3, 3, 1)])
    let gradient = Arena(count: engine.table.count)
    let result = engine.gradient(
      of: PackedBatch(leaves: [[example]], copies: head.copies), parameters: parameters,
      into: gradient, randomness: nil)
    let slopes = ["subject.bias", "object.bias"].map {
      gradient.base[engine.table[$0]?.range.lowerBound ?? 0]
    }
    let outputs = engine.outputs(of: [example], parameters: parameters, as: .scores)
    return (result.numerator, slopes, outputs[0].values)
  }

  @Test func `a probability is the power of its sigmoid that the head has`() {
    // A sigmoid of 3/4: probabilities 9/16 and 81/256. Of 8 subject outputs 2 are ones, of 16 of objects 2.
    let logit = Float(log(3.0)), (p, q) = (9.0 / 16, 81.0 / 256)
    let result = Self.relation(.sigmoid, 2, 4, logit: logit)
    let expected = -2 * log(p) - 6 * log(1 - p) - 2 * log(q) - 14 * log(1 - q)
    #expect(Self.isClose(result.loss, expected))
    // One output's ones and zeros among four tokens: dp/dz = n p (1 − σ).
    let (dp, dq) = (2 * p / 4, 4 * q / 4)
    #expect(Self.isClose(Double(result.slopes[0]), -dp / p + 3 * dp / (1 - p)))
    #expect(Self.isClose(Double(result.slopes[1]), 4 * dq / (1 - q)))
    for probability in result.probabilities { #expect(Self.isClose(Double(probability), p)) }
    // Untrained, a power starts low.
    let untrained: Double = 2 * log(8.0) + 6 * log(8.0 / 7) + 16 * Self.half
    #expect(Self.isClose(Self.relation(.sigmoid, 3, 1, logit: 0).loss, untrained))
    // Far out nothing overflows or cancels, and a clip ends the slope.
    let high = Self.relation(.sigmoid, 2, 4, logit: 60)
    let ofZeros: Double = 20 * 60 - 6 * Self.half - 14 * 2 * Self.half
    #expect(Self.isClose(high.loss, ofZeros))
    #expect(Self.isClose(Double(high.slopes[0]), 3))
    #expect(Self.isClose(Double(high.slopes[1]), 4))
    let clipped = Self.relation(.sigmoidClipped, 2, 4, logit: 60)
    let (highest, lowest): (Double, Double) = (20 * 15.942385, 4 * log(1e7))
    #expect(abs(clipped.loss - highest) < 0.01)
    #expect(clipped.slopes == [0, 0])
    let low = Self.relation(.sigmoid, 2, 4, logit: -60)
    let ofOnes: Double = 2 * 2 * 60 + 2 * 4 * 60
    #expect(Self.isClose(low.loss, ofOnes))
    #expect(Self.isClose(Double(low.slopes[0]), -2))
    #expect(low.slopes[1] == 0)
    let clippedLow = Self.relation(.sigmoidClipped, 2, 4, logit: -60)
    #expect(abs(clippedLow.loss - lowest) < 1e-4)
    #expect(clippedLow.slopes == [0, 0])
  }

  /// Each pass alone says −log p of its label, which of two classes is all of it.
  @Test func `R-Drop is the mean of both losses and alpha times half of both divergences`() {
    var head = Head(outputs: 2, loss: .softmax, usesPooler: true, dropout: 0.4)
    let (engine, parameters) = GradientLawTests.model(hidden: 32, threads: 1, head: head)
    var example = GradientLawTests.sequences([9])[0]
    example.target = [1]
    func loss(_ head: Head, _ example: SequenceInput) -> Double {
      let own = Engine(configuration: engine.configuration, head: head, pool: engine.pool)
      return own.gradient(
        of: PackedBatch(leaves: [[example]], copies: head.copies), parameters: parameters,
        into: Arena(count: own.table.count), randomness: .init(seed: 4, step: 2)
      ).numerator
    }
    var second = example
    second.exampleID |= 1 << 30
    let (one, two) = (loss(head, example), loss(head, second))
    let (p, q) = (exp(-one), exp(-two))
    #expect(abs(p - q) > 1e-3, "two passes without dropout of their own")
    func divergence(_ a: Double, _ b: Double) -> Double {
      a * log(a / b) + (1 - a) * log((1 - a) / (1 - b))
    }
    head.regularization.rDrop = 3
    let expected = (one + two) / 2 + 3 * (divergence(p, q) + divergence(q, p)) / 2
    #expect(abs(loss(head, example) - expected) < 1e-5)
  }
}
