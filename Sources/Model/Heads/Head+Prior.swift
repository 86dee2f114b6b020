import Foundation

/// What a training's loss is where nothing of the inputs is read.
extension Head {
  /// The mean training loss of a model that has learnt how frequent each answer is, and nothing else, under the class
  /// weights, the label smoothing and the focal exponent of this head; nil without anything to learn.
  ///
  /// A training whose loss stays at it, or comes back to it, does not read its inputs. By kind: classes, tags and words have the
  /// (weighted, smoothed) entropy of their frequencies; sigmoids the sum of two-valued entropies, for relations of each output over
  /// all tokens; tags of a chain the entropy of a tag behind the one before it; pointers the logarithm of the places that are
  /// possible; GlobalPointer the least loss of one score for all spans of a type, GPLinker that of one for all pairs of a class;
  /// numbers their variance.
  /// R-Drop adds nothing: two passes that do not read agree. `examples` have their targets.
  package func priorLoss(of examples: [SequenceInput]) -> Double? {
    guard !examples.isEmpty else { return nil }
    switch kind {
    case .sentence, .siamese: return answerLoss(examples.map(\.target))
    case .tokens:
      return classLoss(Self.counts(examples.lazy.flatMap(\.target).filter { $0 >= 0 }))
    case .maskedLanguageModel:
      return Self.entropy(
        Self.counts(examples.lazy.flatMap(\.target).filter { $0 >= 0 }).values.map(Double.init))
    case .chain: return Self.chainLoss(examples.map { $0.target.filter { $0 >= 0 } })
    case .globalPointer: return globalPointerLoss(examples)
    case .subjectPointer:
      let logs = examples.map {
        log(Double($0.ids.count)) + log(Double($0.ids.count) - Double($0.target[0]))
      }
      return logs.reduce(0, +) / Double(logs.count)
    case .span: return Self.spanLoss(examples)
    case .relation: return relationLoss(examples)
    case .gplinker: return linkerLoss(examples)
    }
  }

  /// The mean training loss that no model can pass below: label smoothing's, else 0.
  package var leastLoss: Double {
    let smoothing = Double(regularization.labelSmoothing)
    guard smoothing > 0, loss == .softmax else { return 0 }
    let rest = smoothing / Double(outputs)
    return Self.entropy([1 - smoothing + rest] + Array(repeating: rest, count: outputs - 1)) ?? 0
  }

  // MARK: Classes and numbers

  private func answerLoss(_ targets: [[Float]]) -> Double? {
    switch loss {
    case .softmax: return classLoss(Self.counts(targets.lazy.map { $0[0] }))
    case .sigmoid, .sigmoidClipped:
      let sums = (0..<outputs).map { output in
        let ones = Double(targets.count { $0[output] == 1 })
        return leastMean([ones, Double(targets.count) - ones])
      }
      return sums.reduce(0, +) / Double(outputs)
    case .squaredError:
      let sums = (0..<outputs).map { output in
        let values = targets.map { Double($0[output]) }
        let mean = values.reduce(0, +) / Double(values.count)
        return values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
      }
      return sums.reduce(0, +) / Double(outputs)
    }
  }

  /// The loss of the best constant distribution over classes that occur so often; nil without any.
  private func classLoss(_ counts: [Int: Int]) -> Double? {
    var shares = [Double](repeating: 0, count: outputs)
    for (label, count) in counts {
      shares[label] = Double(count) * Double(regularization.classWeights?[label] ?? 1)
    }
    let total = shares.reduce(0, +), smoothing = Double(regularization.labelSmoothing)
    guard total > 0 else { return nil }
    return leastMean(shares.map { (1 - smoothing) * $0 / total + smoothing / Double(outputs) })
  }

  /// The least `Σ f ℓ(p)` over distributions `p`, with `f` the shares of `counts` and `ℓ(p) = −(1 − p)^γ log p`.
  ///
  /// Without γ it is the entropy, at `p = f`. With it every `−f ℓ′(p)` is the same λ at the least, found by halving: ℓ is
  /// convex, so each falls with its p, and the sum of the p with λ.
  private func leastMean(_ counts: [Double]) -> Double {
    guard let focal = regularization.focal, focal > 0 else { return Self.entropy(counts) ?? 0 }
    let gamma = Double(focal), total = counts.reduce(0, +)
    let shares = counts.filter { $0 > 0 }.map { $0 / total }
    guard shares.count > 1 else { return 0 }
    func slope(_ p: Double) -> Double {
      pow(1 - p, gamma) / p - gamma * pow(1 - p, gamma - 1) * log(p)
    }
    func halve(_ low: Double, _ high: Double, _ isBelow: (Double) -> Bool) -> Double {
      var (low, high) = (low, high)
      for _ in 0..<100 {
        let middle = (low + high) / 2
        if isBelow(middle) { low = middle } else { high = middle }
      }
      return (low + high) / 2
    }
    func probabilities(_ logLambda: Double) -> [Double] {
      let lambda = exp(logLambda)
      return shares.map { share in halve(1e-12, 1 - 1e-12) { share * slope($0) > lambda } }
    }
    let best = probabilities(halve(-40, 40) { probabilities($0).reduce(0, +) > 1 })
    return zip(shares, best).reduce(0) { $0 - $1.0 * pow(1 - $1.1, gamma) * log($1.1) }
  }

  // MARK: Tokens

  /// Of a sequence the entropy of its first tag, and of every other one that of the tags behind the tag before it.
  private static func chainLoss(_ chains: [[Float]]) -> Double? {
    var firsts: [Float] = [], nexts: [Float: [Float]] = [:]
    for chain in chains {
      if let first = chain.first { firsts.append(first) }
      for (tag, next) in zip(chain, chain.dropFirst()) { nexts[tag, default: []].append(next) }
    }
    guard !firsts.isEmpty else { return nil }
    let sum = ([firsts] + nexts.sorted { $0.key < $1.key }.map(\.value)).reduce(0.0) {
      $0 + Double($1.count) * (entropy(counts($1).values.map(Double.init)) ?? 0)
    }
    return sum / Double(chains.count)
  }

  /// Each output's frequency of ones over all tokens.
  private func relationLoss(_ examples: [SequenceInput]) -> Double? {
    var ones = [Double](repeating: 0, count: 2 + 2 * outputs), tokens = 0
    for example in examples {
      tokens += example.ids.count
      let target = RelationTarget(example.target)
      ones[0] += Double(Set(target.subjects.map(\.start)).count)
      ones[1] += Double(Set(target.subjects.map(\.end)).count)
      for (predicate, spans) in Dictionary(grouping: target.objects, by: \.predicate) {
        ones[2 + predicate] += Double(Set(spans.map(\.start)).count)
        ones[2 + outputs + predicate] += Double(Set(spans.map(\.end)).count)
      }
    }
    return ones.reduce(0) { $0 + (Self.entropy([$1, Double(tokens) - $1]) ?? 0) }
  }

  // MARK: Spans

  /// [CLS] with the frequency of "no answer", all other tokens alike.
  private static func spanLoss(_ examples: [SequenceInput]) -> Double {
    let none = Double(examples.count { $0.target == [0, 0] }), all = Double(examples.count)
    let places = examples.reduce(0.0) {
      $1.target == [0, 0] ? $0 : $0 + log(Double(max($1.ids.count - 1, 1)))
    }
    return (entropy([none, all - none]) ?? 0) + places / all
  }

  /// The mean over types of `leastScoreLoss`, over the spans of a sequence.
  private func globalPointerLoss(_ examples: [SequenceInput]) -> Double {
    let gold = examples.map { example in
      var counts = [Int](repeating: 0, count: outputs)
      for span in Self.globalPointerSpans(example.target) { counts[span.type] += 1 }
      return counts
    }
    let sums = (0..<outputs).map { type in
      Self.leastScoreLoss(
        zip(examples, gold).map { (Self.spans($0.ids.count), $1[type]) })
    }
    return sums.reduce(0, +) / Double(outputs)
  }

  /// The same over spans of subjects and objects, and over all pairs of tokens for each predicate's first and last tokens.
  private func linkerLoss(_ examples: [SequenceInput]) -> Double {
    let gold = examples.map { example in
      LinkerTarget(example.target).places(tokens: example.ids.count, predicates: outputs)
    }
    let classes = GPLinkerPass.classes(outputs)
    let sums = (0..<classes).map { number in
      Self.leastScoreLoss(
        zip(examples, gold).map { example, gold in
          let tokens = example.ids.count
          return (number < 2 ? Self.spans(tokens) : tokens * tokens, gold[number].count)
        })
    }
    return sums.reduce(0, +) / Double(classes)
  }

  private static func spans(_ tokens: Int) -> Int { tokens * (tokens + 1) / 2 }

  /// The mean loss of one score `s` for all pairs at its least: `log(1 + (n − g) eˢ) + log(1 + g e⁻ˢ)` of an example's `n` pairs with
  /// `g` that are right, which is convex in s.
  private static func leastScoreLoss(_ examples: [(pairs: Int, gold: Int)]) -> Double {
    var groups: [SIMD2<Int>: Double] = [:]
    for example in examples { groups[SIMD2(example.pairs, example.gold), default: 0] += 1 }
    let sorted = groups.sorted { ($0.key.x, $0.key.y) < ($1.key.x, $1.key.y) }
    func loss(_ s: Double) -> Double {
      sorted.reduce(0) { sum, group in
        let (pairs, gold) = (Double(group.key.x), Double(group.key.y))
        return sum + group.value * (log1p((pairs - gold) * exp(s)) + log1p(gold * exp(-s)))
      }
    }
    var (low, high) = (-40.0, 40.0)
    for _ in 0..<100 {
      let (left, right) = ((2 * low + high) / 3, (low + 2 * high) / 3)
      if loss(left) < loss(right) { high = right } else { low = left }
    }
    return loss((low + high) / 2) / Double(examples.count)
  }

  // MARK: Counting

  private static func counts(_ values: some Sequence<Float>) -> [Int: Int] {
    var counts: [Int: Int] = [:]
    for value in values { counts[Int(value), default: 0] += 1 }
    return counts
  }

  /// `−Σ p log p` of the shares of `counts`; nil where they are all 0.
  private static func entropy(_ counts: [Double]) -> Double? {
    // In an order of their own: a sum over a dictionary would not be the same every time.
    let counts = counts.filter { $0 > 0 }.sorted(), total = counts.reduce(0, +)
    guard total > 0 else { return nil }
    return -counts.reduce(0.0) { $0 + $1 / total * log($1 / total) }
  }
}
