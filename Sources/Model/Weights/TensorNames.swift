/// What a tensor's name in a file means to a BERT.
enum TensorMeaning: Equatable {
  /// A tensor of BERT or of a known head; a dense kernel of TensorFlow is `[in, out]`, transposed.
  case model(canonical: String, transposed: Bool)
  /// Moments and counters of an optimizer.
  case optimizerState
  /// Numbers that follow from others: position ids, a decoder tied to the word table.
  case derived
  case unknown
}

/// The names of BERT's tensors in Hugging Face files (canonical) and TensorFlow checkpoints.
package enum TensorNames {
  /// Both names of each tensor outside the layers, and whether TensorFlow stores it transposed.
  private static let outside: [(canonical: String, tensorFlow: String, transposed: Bool)] =
    ["word", "position", "token_type"].map {
      ("bert.embeddings.\($0)_embeddings.weight", "bert/embeddings/\($0)_embeddings", false)
    }
    + norm("bert.embeddings.LayerNorm") + dense("bert.pooler.dense")
    + dense("cls.predictions.transform.dense") + norm("cls.predictions.transform.LayerNorm")
    + [("cls.predictions.bias", "cls/predictions/output_bias", false)]
    + head("cls.seq_relationship", "cls/seq_relationship/") + head("classifier", "")
    + head("qa_outputs", "cls/squad/") + [("crf.transitions", "crf/transitions", false)]
    + dense("subject") + dense("object") + dense("global_pointer")
    + ["entities", "heads", "tails"].flatMap { dense("gplinker.\($0)") }
    + [("pointer.weight", "pointer/kernel", true)] + norm("condition.LayerNorm")
    + [
      ("condition.gamma.weight", "condition/gamma_kernel", true),
      ("condition.beta.weight", "condition/beta_kernel", true),
    ]

  /// The same inside a layer, after its prefix.
  private static let inside: [(canonical: String, tensorFlow: String, transposed: Bool)] =
    ["query", "key", "value"].flatMap { dense("attention.self.\($0)") }
    + dense("attention.output.dense") + norm("attention.output.LayerNorm")
    + dense("intermediate.dense") + dense("output.dense") + norm("output.LayerNorm")

  private typealias Rows = [(canonical: String, tensorFlow: String, transposed: Bool)]

  private static func dense(_ name: String) -> Rows {
    let path = name.replacing(".", with: "/")
    return [("\(name).weight", "\(path)/kernel", true), ("\(name).bias", "\(path)/bias", false)]
  }

  private static func norm(_ name: String) -> Rows {
    let path = name.replacing(".", with: "/")
    return [("\(name).weight", "\(path)/gamma", false), ("\(name).bias", "\(path)/beta", false)]
  }

  /// Google's heads are `[C, H]` already: no transpose.
  private static func head(_ name: String, _ path: String) -> Rows {
    [
      ("\(name).weight", "\(path)output_weights", false),
      ("\(name).bias", "\(path)output_bias", false),
    ]
  }

  private typealias Target = (name: String, transposed: Bool)
  private static func lookup(_ rows: Rows, toTensorFlow: Bool) -> [String: Target] {
    Dictionary(
      uniqueKeysWithValues: rows.map {
        toTensorFlow
          ? ($0.canonical, ($0.tensorFlow, $0.transposed))
          : ($0.tensorFlow, ($0.canonical, $0.transposed))
      })
  }
  private static let outsideToTensorFlow = lookup(outside, toTensorFlow: true)
  private static let insideToTensorFlow = lookup(inside, toTensorFlow: true)
  private static let outsideFromTensorFlow = lookup(outside, toTensorFlow: false)
  private static let insideFromTensorFlow = lookup(inside, toTensorFlow: false)

  /// The TensorFlow name of a canonical tensor, or nil when no BERT has it.
  package static func tensorFlow(canonical name: String) -> (name: String, transposed: Bool)? {
    if let target = outsideToTensorFlow[name] { return target }
    guard let (layer, rest) = layer(of: name, after: "bert.encoder.layer.", separator: "."),
      let target = insideToTensorFlow[rest]
    else { return nil }
    return ("bert/encoder/layer_\(layer)/\(target.name)", target.transposed)
  }

  /// What a variable of a TensorFlow checkpoint is.
  static func meaning(tensorFlow name: String) -> TensorMeaning {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    let counters: Set = ["global_step", "beta1_power", "beta2_power"]
    let slots: Set<Substring> = ["adam_m", "adam_v", "Adam", "Adam_1"]
    if counters.contains(name) || (parts.count > 1 && parts.last.map(slots.contains) == true) {
      return .optimizerState
    }
    var name = name
    if ["embeddings", "encoder", "pooler"].contains(parts[0]) && parts.count > 1 {
      name = "bert/" + name
    }
    if let target = outsideFromTensorFlow[name] {
      return .model(canonical: target.name, transposed: target.transposed)
    }
    guard let (layer, rest) = layer(of: name, after: "bert/encoder/layer_", separator: "/"),
      let target = insideFromTensorFlow[rest]
    else { return .unknown }
    return .model(
      canonical: "bert.encoder.layer.\(layer).\(target.name)", transposed: target.transposed)
  }

  /// What a tensor of a Hugging Face file is: with or without `bert.`, in the old or new spelling of layer norms.
  static func meaning(huggingFace name: String) -> TensorMeaning {
    var name = name
    for (old, new) in [
      ("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"),
    ]
    where name.hasSuffix(old) {
      name = name.dropLast(old.count) + new
    }
    if ["embeddings.", "encoder.", "pooler."].contains(where: name.hasPrefix) {
      name = "bert." + name
    }
    let derived: Set = [
      "bert.embeddings.position_ids", "bert.embeddings.token_type_ids",
      "cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
    ]
    if derived.contains(name) { return .derived }
    return tensorFlow(canonical: name) == nil
      ? .unknown : .model(canonical: name, transposed: false)
  }

  /// The number of the layer in `name` and what follows it.
  ///
  /// Only plain decimal numbers count, so
  /// that a name survives the way there and back.
  static func layer(
    of name: String, after prefix: String, separator: Character
  ) -> (number: Int, rest: String)? {
    guard name.hasPrefix(prefix) else { return nil }
    let rest = name.dropFirst(prefix.count)
    guard let end = rest.firstIndex(of: separator), let number = Int(rest[..<end]), number >= 0,
      String(number) == rest[..<end]
    else { return nil }
    return (number, String(rest[rest.index(after: end)...]))
  }
}
