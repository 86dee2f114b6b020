import Model

extension Recipe {
  /// What a training does beside following the gradient of its loss: the section `training`.
  package struct Training: Sendable, Equatable {
    package enum ClassWeights: Sendable, Equatable {
      /// Rows over classes times rows of the class, as scikit-learn's `balanced`.
      case balanced
      case byLabel([String: Double])
    }

    /// The length of FGM's step in the word table; nil: none is made.
    package var adversarial: Double?
    /// Whether the pass that finds the direction of that step has dropout.
    package var adversarialDropout: Bool
    /// How many steps PGD makes inside the ball of radius `adversarial`; 1: FGM.
    package var adversarialSteps: Int
    /// The length of each of them.
    package var adversarialAlpha: Double?
    /// The weight of R-Drop's divergence.
    package var rDrop: Double?
    /// The decay of the moving average of the weights; nil: none is kept.
    package var ema: Double?
    package var labelSmoothing: Double
    package var classWeights: ClassWeights?
    /// The exponent of focal loss.
    package var focal: Double?
  }
}

extension Recipe.Training {
  /// `smoothsTags`: whether tags are a softmax.
  init(
    _ reader: RecipeReader, task: Recipe.Task, kind: Recipe.ClassificationKind, siamese: Bool,
    smoothsTags: Bool
  ) {
    adversarial = reader.number("adversarial", .positive)
    adversarialDropout = reader.flag("adversarialDropout") ?? false
    let radius = adversarial, steps = reader.integer("adversarialSteps", 1...100) ?? 1
    let alpha = reader.number("adversarialAlpha", .positive)
    adversarialSteps = steps
    // 2.5 ε / K, as Madry and others have it: every point of the ball can be reached.
    adversarialAlpha = radius.map { alpha ?? min($0, 2.5 * $0 / Double(steps)) }
    rDrop = reader.number("rDrop", .nonNegative)
    ema = reader.number("ema", .fraction)
    labelSmoothing = reader.number("labelSmoothing", .fraction) ?? 0
    if reader.isText("classWeights") {
      let balanced = reader.choice("classWeights", among: ["balanced"])
      classWeights = balanced == nil ? nil : .balanced
    } else {
      classWeights = reader.numbersByName("classWeights", .positive).map { .byLabel($0) }
    }
    focal = reader.number("focal", .positive)
    let isSentence = task == .classification || task == .pair
    func object(_ key: String, _ applies: Bool, _ condition: String) {
      guard reader.has(key), !applies else { return }
      reader.findings.add(
        reader.place(of: key), "`training.\(key)` applies to \(condition). Leave it out.")
    }
    object("adversarialDropout", adversarial != nil, "`training.adversarial`")
    for key in ["adversarialSteps", "adversarialAlpha"] {
      object(key, adversarial != nil, "`training.adversarial`")
    }
    if let alpha, let adversarial, alpha > adversarial {
      reader.findings.add(
        reader.place(of: "adversarialAlpha"),
        "`training.adversarialAlpha` is \(alpha), longer than the radius `training.adversarial` of \(adversarial). Give at most the radius."
      )
    }
    object("adversarial", task != .maskedLM, "tasks other than masked-lm")
    object("rDrop", isSentence && !siamese, "classification and joined pairs")
    let isSoftmax = isSentence && kind == .softmax
    object("labelSmoothing", isSoftmax || smoothsTags, "softmax heads")
    object("classWeights", isSoftmax, "classification and pairs of kind softmax")
    object("focal", isSentence, "classification and pairs")
    if let other = ["labelSmoothing", "rDrop"].first(where: reader.has), focal != nil {
      reader.findings.add(
        reader.place(of: "focal"),
        "`training.focal` and `training.\(other)` have no accepted meaning together. Leave one out."
      )
    }
    reader.finish()
  }

  func write(to writer: inout YAMLWriter) {
    writer.write("adversarial", adversarial)
    if adversarial != nil {
      writer.write("adversarialDropout", adversarialDropout)
      if adversarialSteps > 1 || adversarialAlpha != adversarial {
        writer.write("adversarialSteps", adversarialSteps)
        writer.write("adversarialAlpha", adversarialAlpha)
      }
    }
    writer.write("rDrop", rDrop)
    writer.write("ema", ema)
    if labelSmoothing > 0 { writer.write("labelSmoothing", labelSmoothing) }
    switch classWeights {
    case .balanced?: writer.write("classWeights", "balanced")
    case .byLabel(let weights)?: writer.write("classWeights", weights)
    case nil: break
    }
    writer.write("focal", focal)
  }

  /// How inputs are disturbed; nil: not at all.
  var adversary: AdversarialSettings? {
    adversarial.map {
      AdversarialSettings(
        epsilon: $0, steps: adversarialSteps, alpha: adversarialAlpha,
        hasDropout: adversarialDropout)
    }
  }

  /// Whether anything is written.
  var isEmpty: Bool {
    adversarial == nil && rDrop == nil && ema == nil && labelSmoothing == 0 && classWeights == nil
      && focal == nil
  }
}
