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
