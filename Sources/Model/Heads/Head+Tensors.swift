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
    }
  }

  /// Weight `[out, in]` and bias `[out]`.
  static func dense(_ name: String, _ shape: [Int]) -> [Tensor] {
    [
      Tensor(name: "\(name).weight", shape: shape, decays: true),
      Tensor(name: "\(name).bias", shape: [shape[0]], decays: false),
    ]
  }
}
