/// What is read from the encoder's rows, and the loss over it.
///
/// A new kind of head is a case of `Kind`, its tensors in `Head+Tensors.swift`, a `HeadPass` of its own, and a
/// line in `Engine.makeHeadPass`.
package struct Head: Sendable, Equatable, Codable {
  package enum Kind: Sendable, Equatable, Codable {
    /// `C` outputs of an input's [CLS] vector; targets as `Loss` says.
    case sentence
    /// A softmax over `C` labels for each token.
    ///
    /// The target holds a label a token `[S]`, or −1 where none is learnt; outputs are `[S, C]` logits.
    case tokens
    /// A linear-chain conditional random field over the labels of the tokens.
    ///
    /// The target holds a label a token `[S]`, or −1 for a token outside the chain. Outputs are the emissions `[S, C]` and
    /// behind them the transitions `[C, C]` (from, to) times `multiplier`, so that who decodes needs no weights. The
    /// multiplier is bert4keras' learning-rate multiplier of the transitions.
    case chain(multiplier: Float)
    /// A score for every span and each of `C` types of entity.
    ///
    /// Targets are made by `globalPointerTarget`; outputs are the entities: type, first token, last token, score, type, …
    case globalPointer
    /// The first and the last token of a subject, an end being searched from the true start on (the recipe of 2019).
    ///
    /// The target is start and end, tokens of the whole sequence; outputs are the logits of the starts `[S]`, then of the ends `[S]`.
    case subjectPointer
    /// The same with independent softmaxes: reading comprehension. The target 0, 0 says that there is no answer.
    case span
    /// Subjects, and of one of them the objects with their predicates, of which there are `C`.
    ///
    /// Targets are made by `relationTarget`; outputs are triples that were found, as `RelationPass` says.
    case relation(Relation)
    /// Subjects and objects, and the predicates of their pairs, of which there are `C`: GPLinker.
    ///
    /// Targets are made by `linkerTarget`; outputs are triples as those of `relation`.
    case gplinker
    /// The words at masked tokens.
    ///
    /// The target holds for each token the word that stood there, −1 where nothing is asked, −2 where a word is asked for that is not
    /// known. Outputs are, for each token that is asked for, its five likeliest words: id, probability, id, …
    case maskedLanguageModel
    /// `C` outputs of the [CLS] vectors of two sequences that were encoded apart.
    case siamese(Comparison)
  }

  /// What is made of two vectors `u` and `v`.
  package enum Comparison: String, Sendable, Codable, CaseIterable {
    /// `[u; v]`.
    case concatenation
    /// `[u; v; |u − v|]`.
    case difference
    /// Their cosine, which is the output itself.
    case cosine

    /// Numbers of one comparison.
    func width(hidden: Int) -> Int {
      switch self {
      case .concatenation: 2 * hidden
      case .difference: 3 * hidden
      case .cosine: 1
      }
    }
  }

  /// How tokens are told the subject whose objects are looked for.
  package enum Conditioning: String, Sendable, Codable, CaseIterable {
    /// The mean of its two vectors is added to every token.
    case mean
    /// Its two vectors set gain and bias of a layer norm of the last layer's output.
    case layerNorm = "layer-norm"
    /// The same of the sum that the last layer's own norm reads: both vectors and what is normalised come from there (bert4keras).
    case preNorm = "pre-norm"
  }

  /// Probabilities from which a token is a start and an end.
  package struct Thresholds: Sendable, Equatable, Codable {
    package var start: Float
    package var end: Float

    package init(start: Float, end: Float) {
      self.start = start
      self.end = end
    }
  }

  package struct Relation: Sendable, Equatable, Codable {
    package var conditioning: Conditioning
    package var subjectThresholds: Thresholds
    package var objectThresholds: Thresholds
    /// The powers of the sigmoids that are the probabilities of subjects and of objects; nil: 1, and named nowhere.
    package var subjectPower: Int?, objectPower: Int?

    package init(
      conditioning: Conditioning, subject: Thresholds, object: Thresholds,
      subjectPower: Int? = nil, objectPower: Int? = nil
    ) {
      self.conditioning = conditioning
      subjectThresholds = subject
      objectThresholds = object
      self.subjectPower = subjectPower
      self.objectPower = objectPower
    }
  }

  /// What a training adds to a head's loss; evaluation leaves it out.
  package struct Regularization: Sendable, Equatable, Codable {
    /// The share of the true class that is spread over all classes (softmax).
    package var labelSmoothing: Float = 0
    /// A weight for each class; the denominator is the sum of the weights (softmax).
    package var classWeights: [Float]?
    /// The weight of R-Drop's divergence between two passes with dropout of their own (sentence heads); nil: one pass.
    package var rDrop: Float?
    /// The exponent γ of focal loss, which learns little of what is known already (softmax and sigmoids); nil: 0.
    package var focal: Float?

    package init() {}
  }

  package enum Loss: String, Sendable, Codable {
    /// Softmax cross-entropy over `outputs` classes; the target is a class.
    case softmax
    /// Sigmoid cross-entropy of each output; targets are 0 or 1 (binary: one output; multi-label: many).
    case sigmoid
    /// The same with the probability clipped to [1e-7, 1 − 1e-7] as Keras does: beyond the clip the gradient is zero.
    case sigmoidClipped
    /// Squared error of each output.
    case squaredError
  }

  package var kind: Kind
  /// Number of outputs `C`.
  package var outputs: Int
  package var loss: Loss
  /// `tanh(W [CLS] + b)` first (Google, Hugging Face), or the bare [CLS] vector (the 2019 recipes).
  package var usesPooler: Bool
  /// Dropout of the vectors that the head reads.
  package var dropout: Float
  package var regularization = Regularization()

  package init(
    _ kind: Kind = .sentence, outputs: Int, loss: Loss, usesPooler: Bool = false, dropout: Float
  ) {
    self.kind = kind
    self.outputs = outputs
    self.loss = loss
    self.usesPooler = usesPooler
    self.dropout = dropout
  }

  private enum CodingKeys: String, CodingKey {
    case kind, outputs, loss, usesPooler, dropout, regularization
  }

  /// Models saved before there were other heads name no kind.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    kind = try container.decodeIfPresent(Kind.self, forKey: .kind) ?? .sentence
    outputs = try container.decode(Int.self, forKey: .outputs)
    loss = try container.decode(Loss.self, forKey: .loss)
    usesPooler = try container.decode(Bool.self, forKey: .usesPooler)
    dropout = try container.decode(Float.self, forKey: .dropout)
    regularization =
      try container.decodeIfPresent(Regularization.self, forKey: .regularization)
      ?? Regularization()
  }

  /// Such as `2 outputs, softmax`.
  package var summary: String {
    let count = "\(outputs) \(outputs == 1 ? "output" : "outputs")"
    switch kind {
    case .sentence: return "\(count), \(loss.rawValue)"
    case .tokens: return "\(count) a token, \(loss.rawValue)"
    case .chain: return "\(count) a token, conditional random field"
    case .globalPointer: return "\(count) for each span, GlobalPointer"
    case .subjectPointer, .span: return "first and last token, softmax over the tokens"
    case .relation(let relation):
      return
        "subjects, and objects of \(outputs) predicates (\(relation.conditioning.rawValue)), \(loss.rawValue)"
    case .gplinker: return "subjects, objects, and their pairs for \(outputs) predicates, GPLinker"
    case .maskedLanguageModel: return "a word of \(outputs) for each masked token, softmax"
    case .siamese(let comparison):
      return "\(count) of two vectors (\(comparison.rawValue)), \(loss.rawValue)"
    }
  }

  /// Whether the head reads the sums `[T, H]` in front of the last layer's norm as well.
  var readsLastSums: Bool {
    if case .relation(let relation) = kind { relation.conditioning == .preNorm } else { false }
  }

  /// Whether the last layer's [CLS] rows are all that the head reads.
  package var readsFirstTokensOnly: Bool {
    switch kind {
    case .sentence, .siamese: true
    case .tokens, .chain, .globalPointer, .subjectPointer, .span, .relation, .gplinker,
      .maskedLanguageModel:
      false
    }
  }

  /// Whether the head computes words from the word table itself, whose gradient then has no zero rows.
  package var readsWordTable: Bool { kind == .maskedLanguageModel }

  /// How often an example is computed in a training step.
  package var copies: Int { regularization.rDrop == nil ? 1 : 2 }

  /// An example's share of the global denominator: what its loss is a sum over.
  package func terms(of example: SequenceInput) -> Double {
    let target = example.target
    func weight(_ label: Float) -> Double {
      regularization.classWeights.map { Double($0[Int(label)]) } ?? 1
    }
    switch kind {
    case .sentence, .siamese: return loss == .softmax ? weight(target[0]) : Double(outputs)
    case .tokens: return target.reduce(0) { $1 >= 0 ? $0 + weight($1) : $0 }
    case .chain, .subjectPointer: return 1
    case .globalPointer: return Double(outputs)
    case .span: return 2
    case .relation: return Double(example.ids.count)
    case .gplinker: return Double(GPLinkerPass.classes(outputs))
    case .maskedLanguageModel: return Double(target.count { $0 >= 0 })
    }
  }

  /// The head as it is evaluated: without what only training adds.
  package var evaluated: Head {
    var head = self
    head.regularization = Regularization()
    return head
  }
}

/// What a head says of one example.
package struct HeadOutput: Sendable, Equatable {
  /// As the head's kind says.
  package var values: [Float]
  /// The example's loss, undivided; nil where it has no target.
  package var loss: Double?

  package init(values: [Float], loss: Double?) {
    self.values = values
    self.loss = loss
  }
}
