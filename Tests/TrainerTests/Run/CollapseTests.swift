import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

@Suite struct CollapseTests {
  static func detector(
    prior: Double? = 0.693, clips: Bool = false, total: Int = 1000
  ) -> CollapseDetector {
    CollapseDetector(
      CollapseDetector.Circumstances(
        priorLoss: prior, groups: ["embeddings", "layer 0", "head"], peakRate: 5e-5, clips: clips,
        totalSteps: total))
  }

  /// Feeds `losses` from step 1 on; returns what was said, by step.
  static func say(
    _ detector: inout CollapseDetector, _ losses: [Double],
    norms: (Int) -> [Double] = { _ in [1, 1, 1] }
  ) -> [Int: String] {
    var said: [Int: String] = [:]
    for (i, loss) in losses.enumerated() {
      said[i + 1] = detector.observe(
        CollapseDetector.Observation(
          step: i + 1, loss: loss, learningRate: min(5e-5, 5e-6 * Double(i + 1)),
          norms: norms(i + 1)))
    }
    return said
  }

  @Test func `a loss that returns to the prior's is a collapse, said once, with what came before`()
    throws
  {
    var detector = Self.detector()
    let falling: [Double] = (0..<150).map { 0.7 - 0.002 * Double($0) }
    let losses = falling + Array(repeating: 0.695, count: 300)
    let said = Self.say(&detector, losses) { $0 == 151 ? [1, 90, 1] : [1, 1, 1] }
    #expect(said.count == 1)
    let (step, sentence) = try #require(said.first)
    // More than half of the window has to be from after the fall.
    #expect(step > 151 && step < 151 + CollapseDetector.window)
    #expect(
      sentence.hasPrefix("step \(step): the model has collapsed: the loss of the last 50 steps"))
    #expect(sentence.contains("always predicting how frequent each answer is (0.6930)"))
    #expect(sentence.contains("At step 151 the gradient of layer 0 was 90 times its usual size."))
    #expect(sentence.contains("reached 5.00e-05 after 10 steps"))
    #expect(
      sentence.contains(
        "optimizer.learningRate: 2.50e-05, or schedule.warmupFraction: 0.1, or optimizer.clipNorm: 1, or another seed"
      ))
  }

  @Test func `a loss that falls, stays or wavers is none`() {
    let falling: (Int) -> Double = { 0.7 * exp(-Double($0) / 100) }
    let wavering: (Int) -> Double = { $0 < 100 ? 0.7 : 0.4 + 0.1 * sin(Double($0)) }
    // A few bad steps are no collapse.
    let disturbed: (Int) -> Double = { $0 % 40 < 10 ? 0.8 : 0.3 }
    for loss in [falling, wavering, disturbed] {
      let losses = (0..<400).map(loss)
      var detector = Self.detector()
      #expect(Self.say(&detector, losses).isEmpty)
    }
  }

  @Test func `a loss that never leaves the prior's is said once, after some patience`() throws {
    var detector = Self.detector(clips: true, total: 100)
    let said = Self.say(&detector, Array(repeating: 0.693, count: 500)) { _ in [1e-7, 1, 1] }
    #expect(said.keys.sorted() == [200])
    let sentence = try #require(said[200])
    #expect(sentence.contains("nothing is learnt yet"))
    #expect(sentence.contains("The gradient hardly reaches embeddings."))
    #expect(!sentence.contains("clipNorm"))
  }

  @Test func `recovery is said, and a second collapse too`() {
    var detector = Self.detector()
    func level(_ loss: Double) -> [Double] { Array(repeating: loss, count: 100) }
    let losses: [Double] = [0.4, 0.69, 0.35, 0.7].flatMap(level)
    let said = Self.say(&detector, losses).sorted { $0.key < $1.key }.map(\.value)
    #expect(said.count == 3)
    #expect(said[0].contains("collapsed") && said[2].contains("collapsed"))
    #expect(said[1].contains("come down again, to "))
  }

  @Test func `without a prior the first steps stand in for it`() {
    var detector = Self.detector(prior: nil)
    let said = Self.say(
      &detector,
      Array(repeating: 3, count: 60) + Array(repeating: 1, count: 60)
        + Array(repeating: 3.1, count: 60))
    #expect(said.count == 1)
    #expect(said.values.first?.contains("that of the first 50 steps (3.0000)") == true)
  }

  @Test func `the prior's loss is the entropy of the answers, or their variance`() throws {
    func examples(_ targets: [[Float]]) -> [SequenceInput] {
      targets.map { SequenceInput(ids: [1], segments: [0], exampleID: 0, target: $0) }
    }
    func prior(_ head: Head, _ targets: [[Float]]) throws -> Double {
      try #require(head.priorLoss(of: examples(targets)))
    }
    let softmax = Head(outputs: 3, loss: .softmax, dropout: 0)
    #expect(abs(try prior(softmax, [[0], [1], [0], [1]]) - log(2)) < 1e-12)
    #expect(try prior(softmax, [[2], [2]]) == 0)
    let sigmoid = Head(outputs: 2, loss: .sigmoid, dropout: 0)
    #expect(abs(try prior(sigmoid, [[0, 1], [1, 1]]) - log(2) / 2) < 1e-12)
    let square = Head(outputs: 1, loss: .squaredError, dropout: 0)
    #expect(try prior(square, [[1], [3]]) == 1)
    let tokens = Head(.tokens, outputs: 2, loss: .softmax, dropout: 0)
    #expect(abs(try prior(tokens, [[-1, 0, 1], [-1, 1, 0, -1]]) - log(2)) < 1e-12)
    #expect(softmax.priorLoss(of: []) == nil)
  }

  @Test func `norms by part are those of the parts`() {
    var table = ParameterTable()
    table.add("bert.embeddings.word_embeddings.weight", [2, 2], decays: true)
    table.add("bert.encoder.layer.10.output.dense.weight", [2, 2], decays: true)
    table.add("bert.encoder.layer.10.output.dense.bias", [2], decays: false)
    table.add("classifier.weight", [2, 2], decays: true)
    let groups = GradientGroups(table)
    #expect(groups.names == ["embeddings", "layer 10", "head"])
    #expect(groups.norms([2, 3, 4, 1]) == [2, 5, 1])
  }

  @Test func `rows that are all predicted alike are a warning`() throws {
    let task = try MadeUpTask(train: 2, dev: 1, test: 1)
    let definition = TaskDefinition(
      try Recipe(contentsOf: task.recipe), labels: ["neg", "pos"], lowercase: true,
      configuration: tinyConfiguration(dropout: 0))
    let decoder = LabelDecoder(definition: definition, targets: [[0], [1], [1]])
    func warning(_ outputs: [[Float]]) -> String? {
      decoder.warning(outputs.map { HeadOutput(values: $0, loss: nil) })
    }
    #expect(
      warning([[0, 0.1], [0, 0.1], [0, 0.1]])
        == "all 3 rows are predicted as pos, though they have 2 labels; the mean entropy of the predictions is 0.692 of at most 0.693. "
        + "A model that has collapsed does that, and one that has not learnt yet.")
    #expect(warning([[1, 0], [0, 1], [0, 1]]) == nil)
    #expect(
      LabelDecoder(definition: definition, targets: [[1], [1]]).warning([
        HeadOutput(values: [0, 1], loss: nil), HeadOutput(values: [0, 1], loss: nil),
      ]) == nil)
  }
}
