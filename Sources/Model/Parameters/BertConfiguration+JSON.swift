import Foundation

extension BertConfiguration {
  /// The configuration in `config.json` or `bert_config.json`, with the rows of the dialect applied,
  /// and sentences about what was not understood or overridden.
  package static func read(
    _ url: URL, dialect: Dialect
  ) throws -> (configuration: BertConfiguration, json: JSONValue, warnings: [String]) {
    let file = url.relativePath
    let json = try JSONValue(parsing: InputFile.contents(of: url, limit: 1 << 24), file: file)
    let (configuration, warnings) = try Self.decode(json, file: file, dialect: dialect)
    return (configuration, json, warnings)
  }

  /// Decodes `json`, the content of `file`.
  package static func decode(
    _ json: JSONValue, file: String, dialect: Dialect
  ) throws -> (configuration: BertConfiguration, warnings: [String]) {
    let fields = try ConfigurationFields(json, file: file)
    try ModelFamily.check(configuration: json, file: file)
    // The limits keep products of sizes far from overflow; no BERT comes near them.
    var configuration = BertConfiguration(
      vocabularySize: try fields.size("vocab_size", limit: 1 << 24),
      hiddenSize: try fields.size("hidden_size", limit: 1 << 17),
      layerCount: try fields.size("num_hidden_layers", limit: 1 << 10),
      headCount: try fields.size("num_attention_heads", limit: 1 << 12),
      intermediateSize: try fields.size("intermediate_size", limit: 1 << 19),
      maximumPositions: try fields.size("max_position_embeddings", limit: 1 << 20, default: 512),
      segmentCount: try fields.size("type_vocab_size", limit: 1 << 16, default: 2))
    guard configuration.hiddenSize % configuration.headCount == 0 else {
      throw WeightsError(
        .configuration, file,
        "hidden_size \(configuration.hiddenSize) is not a multiple of num_attention_heads \(configuration.headCount)",
        "correct one of the two")
    }
    configuration.activation = try fields.activation(dialect: dialect)
    configuration.hiddenDropout = try fields.number("hidden_dropout_prob", 0..<1, default: 0.1)
    configuration.attentionDropout = try fields.number(
      "attention_probs_dropout_prob", 0..<1, default: 0.1)
    configuration.classifierDropout = try fields.optionalNumber("classifier_dropout", 0..<1)
    configuration.layerNormEpsilon = try fields.number(
      "layer_norm_eps", .leastNonzeroMagnitude..<1, default: dialect.layerNormEpsilon)
    configuration.initializerRange = try fields.number(
      "initializer_range", .leastNonzeroMagnitude..<100, default: 0.02)
    var warnings = fields.unknownKeys()
    for sentence in dialect.apply(to: &configuration) { warnings.append("\(file): \(sentence)") }
    return (configuration, warnings)
  }

  /// The configuration as Google's `bert_config.json`.
  package func googleJSON() -> JSONValue {
    .object([
      .init("attention_probs_dropout_prob", JSONValue(attentionDropout)),
      .init("hidden_act", .string(activation == .geluErf ? "gelu" : "gelu_new")),
      .init("hidden_dropout_prob", JSONValue(hiddenDropout)),
      .init("hidden_size", JSONValue(hiddenSize)),
      .init("initializer_range", JSONValue(initializerRange)),
      .init("intermediate_size", JSONValue(intermediateSize)),
      .init("max_position_embeddings", JSONValue(maximumPositions)),
      .init("num_attention_heads", JSONValue(headCount)),
      .init("num_hidden_layers", JSONValue(layerCount)),
      .init("type_vocab_size", JSONValue(segmentCount)),
      .init("vocab_size", JSONValue(vocabularySize)),
    ])
  }

  /// The configuration as Hugging Face's `config.json`; `hidden_act` says which GELU was computed.
  package func huggingFaceJSON(
    architecture: String, elementType: ElementType = .float32
  ) -> JSONValue {
    let types: [ElementType: String] = [
      .float16: "float16", .bfloat16: "bfloat16", .float64: "float64",
    ]
    guard case .object(let members) = googleJSON() else { preconditionFailure("not an object") }
    return .object(
      members + [
        .init("architectures", .array([.string(architecture)])),
        .init("dtype", .string(types[elementType] ?? "float32")),
        .init("layer_norm_eps", JSONValue(layerNormEpsilon)),
        .init("model_type", .string("bert")),
        .init("pad_token_id", JSONValue(0)),
      ])
  }
}

/// The members of a configuration file, each read with its rule.
private struct ConfigurationFields {
  private let json: JSONValue
  private let file: String

  init(_ json: JSONValue, file: String) throws {
    guard json.members != nil else {
      throw WeightsError(
        .configuration, file, "holds \(json.kind) where an object is expected",
        "name the configuration of a BERT")
    }
    self.json = json
    self.file = file
  }

  private func member(_ key: String) -> JSONValue? {
    json[key].flatMap { $0 == .null ? nil : $0 }
  }

  func size(_ key: String, limit: Int, default value: Int? = nil) throws -> Int {
    guard let member = member(key) else {
      if let value { return value }
      throw WeightsError(
        .configuration, file, "has no \(key)", "add it: BERT's shape does not follow without it")
    }
    guard let size = member.int, (1...limit).contains(size) else {
      throw WeightsError(
        .configuration, file, "\(key) is \(member.kind)", "give a whole number from 1 to \(limit)")
    }
    return size
  }

  func number(_ key: String, _ range: Range<Float>, default value: Float) throws -> Float {
    guard let member = member(key) else { return value }
    guard let number = member.double, range.contains(Float(number)) else {
      throw WeightsError(
        .configuration, file, "\(key) is \(member.kind)",
        "give a number from \(range.lowerBound) to below \(range.upperBound)")
    }
    return Float(number)
  }

  /// nil where the member is absent or null.
  func optionalNumber(_ key: String, _ range: Range<Float>) throws -> Float? {
    try member(key) == nil ? nil : number(key, range, default: 0)
  }

  func activation(dialect: Dialect) throws -> BertConfiguration.Activation {
    guard let member = member("hidden_act") else { return dialect.gelu }
    switch member.string?.lowercased() {
    case "gelu": return dialect.gelu
    case "gelu_python", "gelu_erf": return .geluErf
    // All four compute the same tanh form.
    case "gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_tanh":
      return .geluTanh
    default:
      throw WeightsError(
        .configuration, file, "hidden_act is \(member.kind)",
        "use a model with gelu or gelu_new: Lockstep trains BERTs with GELU only")
    }
  }

  /// Keys that say nothing about the computation, or nothing that differs in a BERT.
  private static let understood: Set<String> = [
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size", "hidden_act", "hidden_dropout_prob",
    "attention_probs_dropout_prob", "layer_norm_eps", "initializer_range", "directionality",
    "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
    "pooler_size_per_head", "pooler_type", "pad_token_id", "classifier_dropout",
    "position_embedding_type", "model_type", "architectures", "dtype", "torch_dtype",
    "transformers_version", "use_cache", "is_decoder", "add_cross_attention",
    "tie_word_embeddings", "bos_token_id", "eos_token_id", "id2label", "label2id",
    "problem_type", "gradient_checkpointing", "output_past", "_name_or_path", "name_or_path",
    "finetuning_task", "num_labels", "_num_labels", "output_attentions", "output_hidden_states",
    "tokenizer_class", "return_dict", "is_encoder_decoder", "cls_token_id", "sep_token_id",
    "do_lower_case",
  ]

  func unknownKeys() -> [String] {
    let unknown = (json.members ?? []).map(\.key).filter { !Self.understood.contains($0) }
    guard !unknown.isEmpty else { return [] }
    let keys = unknown.map { "\"\($0)\"" }.joined(separator: ", ")
    return ["\(file): unknown keys that were not used: \(keys)"]
  }
}
