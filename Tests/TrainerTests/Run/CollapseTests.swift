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

  static func prior(_ head: Head, _ targets: [[Float]], tokens: Int = 1) throws -> Double {
    try #require(
      head.priorLoss(
        of: targets.map {
          SequenceInput(
            ids: Array(repeating: 1, count: tokens), segments: Array(repeating: 0, count: tokens),
            exampleID: 0, target: $0)
        }))
  }

  /// Of two values, one of which has probability `p`.
  static func entropy(_ p: Double) -> Double { -p * log(p) - (1 - p) * log(1 - p) }

  @Test func `weights, smoothing and focal loss are in the prior's loss as they are in the loss`()
    throws
  {
    let rows: [[Float]] = Array(repeating: [0], count: 10) + [[1]]
    var head = Head(outputs: 2, loss: .softmax, dropout: 0)
    #expect(abs(try Self.prior(head, rows) - 0.304_636) < 1e-6)
    // Balanced: both classes weigh alike.
    head.regularization.classWeights = [0.55, 5.5]
    #expect(abs(try Self.prior(head, rows) - log(2)) < 1e-6)
    head.regularization.labelSmoothing = 0.2
    #expect(abs(try Self.prior(head, rows) - log(2)) < 1e-6)
    head.regularization.classWeights = nil
    // 0.8 · 10/11 + 0.1
    let p = 0.8 * 10 / 11 + 0.1
    #expect(abs(try Self.prior(head, rows) - Self.entropy(p)) < 1e-6)
    #expect(abs(head.leastLoss - Self.entropy(0.9)) < 1e-6)
    var focal = Head(outputs: 2, loss: .softmax, dropout: 0)
    #expect(focal.leastLoss == 0)
    focal.regularization.focal = 2
    #expect(abs(try Self.prior(focal, [[0], [1]]) - log(2) / 4) < 1e-9)
    // At the least no other probability is better: here by trial.
    let best =
      (1..<1000).map { step in
        let p = Double(step) / 1000
        let (most, least) = ((1 - p) * (1 - p) * log(p), p * p * log(1 - p))
        return -(10 * most + least) / 11
      }.min() ?? 0
    #expect(abs(try Self.prior(focal, rows) - best) < 1e-5)
    var sigmoid = Head(outputs: 1, loss: .sigmoid, dropout: 0)
    sigmoid.regularization.focal = 2
    #expect(abs(try Self.prior(sigmoid, rows) - best) < 1e-5)
  }

  @Test func `every task has a prior's loss, by hand`() throws {
    // O O, O B: first tags O; behind an O one O and one B.
    let chain = Head(.chain(multiplier: 1), outputs: 2, loss: .softmax, dropout: 0)
    #expect(abs(try Self.prior(chain, [[-1, 0, 0], [0, 1, -1]]) - log(2)) < 1e-12)
    let words = Head(.maskedLanguageModel, outputs: 9, loss: .softmax, dropout: 0)
    #expect(abs(try Self.prior(words, [[-1, 5, 7], [-2, 5, 7]]) - log(2)) < 1e-12)
    let span = Head(.span, outputs: 2, loss: .softmax, dropout: 0)
    #expect(abs(try Self.prior(span, [[1, 2], [3, 3]], tokens: 5) - log(4)) < 1e-12)
    // Half of the windows have no answer: log 2 for that, and log 4 for the place in the others.
    #expect(abs(try Self.prior(span, [[0, 0], [3, 3]], tokens: 5) - 2 * log(2)) < 1e-12)
    let subject = Head(.subjectPointer, outputs: 2, loss: .softmax, dropout: 0)
    #expect(abs(try Self.prior(subject, [[3, 4]], tokens: 5) - log(5) - log(2)) < 1e-12)
    // 3 of 6 spans of one type, none of the other.
    let spans = Head(.globalPointer, outputs: 2, loss: .softmax, dropout: 0)
    let target = Head.globalPointerTarget([(0, 0, 0), (0, 0, 1), (0, 1, 2)])
    #expect(abs(try Self.prior(spans, [target], tokens: 3) - log(4)) < 1e-9)
    // Of 4 tokens one starts and one ends the subject, one starts and one ends the object of one of two predicates.
    let thresholds = Head.Thresholds(start: 0.5, end: 0.5)
    let relation = Head(
      .relation(
        Head.Relation(conditioning: .mean, subject: thresholds, object: thresholds)), outputs: 2,
      loss: .sigmoid, dropout: 0)
    let quarter = Self.entropy(0.25)
    let triple = Head.relationTarget(
      first: 1, last: 1, subjects: [(1, 1), (1, 1)], objects: [(2, 2, 1)])
    #expect(abs(try Self.prior(relation, [triple], tokens: 4) - 4 * quarter) < 1e-12)
    // One of 10 spans is a subject and one an object; one of 16 pairs has the first of two predicates at its first tokens, one at
    // its last; the other predicate has no pair. Of n pairs with one that is right the least is 2 log(1 + √(n − 1)).
    let linker = Head(.gplinker, outputs: 2, loss: .softmax, dropout: 0)
    let linked = Head.linkerTarget([((1, 1), (2, 3), 0), ((1, 1), (2, 3), 0)])
    let least = 4 * log(1 + 3.0) + 4 * log(1 + 15.0.squareRoot())
    #expect(abs(try Self.prior(linker, [linked], tokens: 4) - least / 6) < 1e-9)
  }

  @Test func `smoothing's floor and a raised loss are no lack of learning`() {
    func said(_ circumstances: CollapseDetector.Circumstances, _ loss: Double) -> [Int: String] {
      var detector = CollapseDetector(circumstances)
      return Self.say(&detector, Array(repeating: loss, count: 400))
    }
    func circumstances(
      least: Double = 0, isRaised: Bool = false
    ) -> CollapseDetector.Circumstances {
      CollapseDetector.Circumstances(
        priorLoss: 0.693, leastLoss: least, isRaised: isRaised, groups: ["a", "b", "c"],
        peakRate: 5e-5, clips: true, totalSteps: 1000)
    }
    // A loss of 0.68 is near 0.693, but far below it where nothing goes below 0.65.
    #expect(said(circumstances(), 0.68).count == 1)
    #expect(said(circumstances(least: 0.65), 0.68).isEmpty)
    // Disturbed inputs: above the prior's loss is not at it.
    #expect(said(circumstances(), 0.8).count == 1)
    #expect(said(circumstances(isRaised: true), 0.8).isEmpty)
    #expect(said(circumstances(isRaised: true), 0.69).count == 1)
  }

  @Test func `the third evaluation without a prediction says what to try`() {
    #expect(CollapseDetector.remedy(afterEvaluations: 2, peakRate: 5e-5).isEmpty)
    #expect(
      CollapseDetector.remedy(afterEvaluations: 3, peakRate: 5e-5).contains(
        "3 evaluations in a row have said so. Try optimizer.learningRate: 2.50e-05"))
  }

  @Test func `multi-label rows that all get the same labels, or none, are a warning`() throws {
    let task = try MadeUpTask(train: 2, dev: 1, test: 1)
    let definition = TaskDefinition(
      try Recipe(contentsOf: task.recipe, overrides: ["classification.kind=multi-label"]),
      labels: ["a", "b"], lowercase: true, configuration: tinyConfiguration(dropout: 0))
    let decoder = LabelDecoder(definition: definition, targets: [[0, 1], [1, 1]])
    func warning(_ outputs: [[Float]]) -> String? {
      decoder.warning(outputs.map { HeadOutput(values: $0, loss: nil) })
    }
    #expect(
      warning([[-1, -1], [-2, -2]])?.hasPrefix(
        "all 2 rows are predicted to have no label, though they have 2 different sets of labels; the mean entropy of a label's prediction is 0.474 of at most 0.693."
      ) == true)
    #expect(warning([[1, 1], [2, 2]])?.contains("just a, b") == true)
    #expect(warning([[1, 1], [-2, 2]]) == nil)
    #expect(
      LabelDecoder(definition: definition, targets: [[0, 1], [0, 1]]).warning([
        HeadOutput(values: [1, 1], loss: nil), HeadOutput(values: [1, 1], loss: nil),
      ]) == nil)
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
