extension Head {
  /// A tensor that a head adds behind the encoder's.
  struct Tensor {
    var name: String
    var shape: [Int]
    var decays: Bool
  }

  /// The head's tensors in the order of their use, for hidden width `h`.
  ///
  /// Names are Hugging Face's where transformers has the head.
  func tensors(_ c: BertConfiguration) -> [Tensor] {
    let h = c.hiddenSize
    switch kind {
    case .sentence:
      return (usesPooler ? Self.dense("bert.pooler.dense", [h, h]) : [])
        + Self.dense("classifier", [outputs, h])
    case .tokens: return Self.dense("classifier", [outputs, h])
    case .chain:
      return Self.dense("classifier", [outputs, h])
        + [Tensor(name: "crf.transitions", shape: [outputs, outputs], decays: false)]
    case .globalPointer:
      return Self.dense("global_pointer", [2 * GlobalPointerPass.width * outputs, h])
    case .subjectPointer: return [Tensor(name: "pointer.weight", shape: [2, h], decays: true)]
    case .span: return Self.dense("qa_outputs", [2, h])
    case .relation(let relation):
      return Self.dense("subject", [2, h])
        + (relation.conditioning != .mean ? Self.condition(h) : [])
        + Self.dense("object", [2 * outputs, h])
    case .gplinker:
      return GPLinkerPass.layers(outputs).flatMap { Self.dense($0.name, [$0.outputs, h]) }
    case .maskedLanguageModel:
      return Self.dense("cls.predictions.transform.dense", [h, h])
        + Self.norm("cls.predictions.transform.LayerNorm", h)
        + [Tensor(name: "cls.predictions.bias", shape: [c.vocabularySize], decays: false)]
    case .siamese(.cosine): return []
    case .siamese(let comparison):
      return Self.dense("classifier", [outputs, comparison.width(hidden: h)])
    }
  }

  private static func condition(_ h: Int) -> [Tensor] {
    norm("condition.LayerNorm", h)
      + ["gamma", "beta"].map {
        Tensor(name: "condition.\($0).weight", shape: [h, 2 * h], decays: true)
      }
  }

  private static func norm(_ name: String, _ h: Int) -> [Tensor] {
    ["weight", "bias"].map { Tensor(name: "\(name).\($0)", shape: [h], decays: false) }
  }

  /// Weight `[out, in]` and bias `[out]`.
  static func dense(_ name: String, _ shape: [Int]) -> [Tensor] {
    [
      Tensor(name: "\(name).weight", shape: shape, decays: true),
      Tensor(name: "\(name).bias", shape: [shape[0]], decays: false),
    ]
  }
}
