import Model

/// What an optimizer does with a gradient, resolved: no constant is left to a framework's habit.
package struct OptimizerSettings: Sendable, Equatable {
  /// The update rule, named for the project whose form it has, because the forms differ.
  package enum Method: String, Sendable, Codable, CaseIterable {
    /// Keras 2: `p −= lr √(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε)`; decay, if any, is bert4keras's: `p −= lr·wd·p`.
    case adam
    /// bert4keras under `TF_KERAS=1`: `p −= lr · m̂/(√v̂ + ε)`.
    case bert4kerasAdam = "bert4keras-adam"
    /// torch and Hugging Face: `p −= lr·wd·p`, then `p −= lr · m̂/(√v̂ + ε)`.
    case adamW = "adamw"
    /// Google's `AdamWeightDecayOptimizer`: `p −= lr (m/(√v + ε) + wd·p)`, without bias correction.
    case adamWeightDecay = "adam-weight-decay"
    /// keras-bert: `p −= lr √(1−β₂ᵗ)/(1−β₁ᵗ) · (m/(√v + ε) + wd·p)`.
    case adamWarmup = "adam-warmup"
    /// LAMB, first version: `u = m̂/(√v̂ + ε) + wd·p`, `p −= lr · |p|/|u| · u`; tensors without decay keep ratio 1.
    case lamb
    /// bert4keras `extend_with_layer_adaptation`: the ratio on every tensor, no decay.
    case bert4kerasLamb = "bert4keras-lamb"
  }

  /// Which tensors weight decay applies to.
  package enum DecayGroups: Sendable, Equatable {
    /// The parameter table's flags: all but biases and layer norms, as Hugging Face.
    case table
    /// All but tensors whose name contains one of these.
    case excluding([String])
    /// Every tensor: what keras-bert does whatever its pattern says.
    case all

    /// Google's exclusions.
    package static let google = DecayGroups.excluding(["LayerNorm", "layer_norm", "bias"])

    /// Whether weight decay applies to `parameter`.
    package func decays(_ parameter: Parameter) -> Bool {
      switch self {
      case .table: parameter.decays
      case .excluding(let patterns): !patterns.contains { parameter.name.contains($0) }
      case .all: true
      }
    }
  }

  /// How a gradient that is too long is shortened.
  package enum Clipping: Sendable, Equatable {
    /// `tf.clip_by_global_norm`: times `c / max(norm, c)`.
    case google(Double)
    /// `torch.nn.utils.clip_grad_norm_`: times `min(1, c / (norm + 1e-6))`.
    case torch(Double)
    /// tf.keras `clipnorm`: every tensor by its own norm, in Google's form.
    case perTensor(Double)

    /// The factor for a gradient of norm `norm`.
    package func coefficient(norm: Double) -> Double {
      switch self {
      case .google(let c), .perTensor(let c): norm > c ? c / norm : 1
      case .torch(let c): min(1, c / (norm + 1e-6))
      }
    }
  }

  package var method: Method
  package var beta1 = 0.9
  package var beta2 = 0.999
  package var epsilon: Double
  package var weightDecay: Double
  package var decayGroups: DecayGroups
  package var clipping: Clipping?

  /// `method` with the constants of the project it comes from; clipping is off unless given.
  package init(
    _ method: Method, weightDecay: Double? = nil, epsilon: Double? = nil,
    decayGroups: DecayGroups? = nil, clipping: Clipping? = nil
  ) {
    self.method = method
    self.weightDecay = weightDecay ?? method.usualWeightDecay
    self.epsilon = epsilon ?? method.usualEpsilon
    self.decayGroups = decayGroups ?? method.usualDecayGroups
    self.clipping = clipping
  }
}

extension OptimizerSettings.Method {
  /// The epsilon of the project the method comes from.
  package var usualEpsilon: Double {
    switch self {
    case .adam, .adamWarmup: 1e-7
    case .adamW: 1e-8
    case .bert4kerasAdam, .adamWeightDecay, .lamb, .bert4kerasLamb: 1e-6
    }
  }

  /// Google's 0.01 where the method has decay by name; 0 elsewhere, as Keras and `TrainingArguments`.
  package var usualWeightDecay: Double {
    switch self {
    case .adamWeightDecay, .adamWarmup, .lamb: 0.01
    case .adam, .bert4kerasAdam, .adamW, .bert4kerasLamb: 0
    }
  }

  /// Which tensors the project decays.
  package var usualDecayGroups: OptimizerSettings.DecayGroups {
    switch self {
    case .adamWarmup: .all
    case .adamW: .table
    case .adam, .bert4kerasAdam, .adamWeightDecay, .lamb, .bert4kerasLamb: .google
    }
  }

  /// Whether each tensor's update is scaled by the ratio of its norm to the update's.
  package var adaptsLayers: Bool { self == .lamb || self == .bert4kerasLamb }
}

/// Learning-rate multipliers by tensor name.
package enum LearningRateMultipliers: Sendable, Equatable {
  /// bert4keras `extend_with_parameter_wise_lr`: all patterns that the name contains multiply.
  case substrings([String: Double])
  /// keras-lr-multiplier: the longest prefix of the name wins.
  case prefixes([String: Double])

  /// One factor for each tensor of `table`, 1 where nothing matches.
  package func factors(for table: ParameterTable) -> [Double] {
    table.parameters.map { parameter in
      switch self {
      case .substrings(let factors):
        // In a fixed order: a dictionary's order differs from run to run, and so would the last bit.
        factors.sorted { $0.key < $1.key }.filter { parameter.name.contains($0.key) }
          .reduce(1) { $0 * $1.value }
      case .prefixes(let factors):
        factors.filter { parameter.name.hasPrefix($0.key) }
          .max { $0.key.utf8.count < $1.key.utf8.count }?.value ?? 1
      }
    }
  }
}
