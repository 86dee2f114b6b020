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
    /// The weight of R-Drop's divergence.
    package var rDrop: Double?
    /// The decay of the moving average of the weights; nil: none is kept.
    package var ema: Double?
    package var labelSmoothing: Double
    package var classWeights: ClassWeights?
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
    rDrop = reader.number("rDrop", .nonNegative)
    ema = reader.number("ema", .fraction)
    labelSmoothing = reader.number("labelSmoothing", .fraction) ?? 0
    if reader.isText("classWeights") {
      let balanced = reader.choice("classWeights", among: ["balanced"])
      classWeights = balanced == nil ? nil : .balanced
    } else {
      classWeights = reader.numbersByName("classWeights", .positive).map { .byLabel($0) }
    }
    let isSentence = task == .classification || task == .pair
    func object(_ key: String, _ applies: Bool, _ condition: String) {
      guard reader.has(key), !applies else { return }
      reader.findings.add(
        reader.place(of: key), "`training.\(key)` applies to \(condition). Leave it out.")
    }
    object("adversarialDropout", adversarial != nil, "`training.adversarial`")
    object("adversarial", task != .maskedLM, "tasks other than masked-lm")
    object("rDrop", isSentence && !siamese, "classification and joined pairs")
    let isSoftmax = isSentence && kind == .softmax
    object("labelSmoothing", isSoftmax || smoothsTags, "softmax heads")
    object("classWeights", isSoftmax, "classification and pairs of kind softmax")
    reader.finish()
  }

  func write(to writer: inout YAMLWriter) {
    writer.write("adversarial", adversarial)
    if adversarial != nil { writer.write("adversarialDropout", adversarialDropout) }
    writer.write("rDrop", rDrop)
    writer.write("ema", ema)
    if labelSmoothing > 0 { writer.write("labelSmoothing", labelSmoothing) }
    switch classWeights {
    case .balanced?: writer.write("classWeights", "balanced")
    case .byLabel(let weights)?: writer.write("classWeights", weights)
    case nil: break
    }
  }

  /// Whether anything is written.
  var isEmpty: Bool {
    adversarial == nil && rDrop == nil && ema == nil && labelSmoothing == 0 && classWeights == nil
  }
}
