/// The habits of a framework where "the same BERT" differs: one choice sets them all.
package enum Dialect: String, Sendable, Codable, CaseIterable {
  /// Hugging Face transformers.
  case huggingface
  /// google-research/bert since February 2019, when its GELU became the tanh form.
  case google
  /// keras-bert 0.89.
  case kerasBert = "keras-bert"
  /// bert4keras 0.11.
  case bert4keras
  /// The recipes of June 2019: keras-bert of that month on Keras 2.2 and TensorFlow 1.13.
  case seed2019

  /// What `"hidden_act": "gelu"` means.
  package var gelu: BertConfiguration.Activation {
    switch self {
    case .huggingface, .bert4keras, .seed2019: .geluErf
    case .google, .kerasBert: .geluTanh
    }
  }

  /// The epsilon of every layer norm; Hugging Face alone lets the configuration set it.
  package var layerNormEpsilon: Float {
    switch self {
    case .huggingface, .google, .bert4keras: 1e-12
    // keras-layer-normalization squares Keras' 1e-7.
    case .kerasBert, .seed2019: 1e-14
    }
  }

  /// keras-bert drops embeddings before their layer norm, never drops attention probabilities, and
  /// reads neither rate from the configuration.
  package var hasKerasBertDropout: Bool { self == .kerasBert || self == .seed2019 }

  /// How the weights of a new head are drawn; its bias is zero everywhere.
  package enum HeadInitialization: String, Sendable, Codable {
    /// Normal with the configuration's `initializer_range`.
    case normal
    /// The same, drawn again past two deviations.
    case truncatedNormal
    /// Uniform within ±√(6 / (in + out)), the habit of Keras' dense layers.
    case glorotUniform
  }

  package var headInitialization: HeadInitialization {
    switch self {
    case .huggingface: .normal
    case .google, .bert4keras: .truncatedNormal
    case .kerasBert, .seed2019: .glorotUniform
    }
  }

  /// Whether classification reads `tanh(W [CLS] + b)` when the recipe does not say.
  package var usesPooler: Bool { self == .huggingface || self == .google }

  /// Sets the rows of the configuration that the dialect decides, and says what of the file it overrode.
  func apply(to configuration: inout BertConfiguration) -> [String] {
    var overridden: [String] = []
    func set<T: Equatable>(_ path: WritableKeyPath<BertConfiguration, T>, _ value: T, _ key: String)
    {
      if configuration[keyPath: path] != value {
        overridden.append(
          "the dialect \(rawValue) sets \(key) to \(value), the configuration has \(configuration[keyPath: path])"
        )
      }
      configuration[keyPath: path] = value
    }
    if self != .huggingface {
      set(\.layerNormEpsilon, layerNormEpsilon, "layer_norm_eps")
    }
    if hasKerasBertDropout {
      set(\.hiddenDropout, 0.1, "hidden_dropout_prob")
      set(\.attentionDropout, 0, "attention_probs_dropout_prob")
      configuration.embeddingDropoutBeforeNorm = true
    }
    return overridden
  }
}
