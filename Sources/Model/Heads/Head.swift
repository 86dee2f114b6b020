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

  package init(
    _ kind: Kind = .sentence, outputs: Int, loss: Loss, usesPooler: Bool = false, dropout: Float
  ) {
    self.kind = kind
    self.outputs = outputs
    self.loss = loss
    self.usesPooler = usesPooler
    self.dropout = dropout
  }

  private enum CodingKeys: String, CodingKey { case kind, outputs, loss, usesPooler, dropout }

  /// Models saved before there were other heads name no kind.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    kind = try container.decodeIfPresent(Kind.self, forKey: .kind) ?? .sentence
    outputs = try container.decode(Int.self, forKey: .outputs)
    loss = try container.decode(Loss.self, forKey: .loss)
    usesPooler = try container.decode(Bool.self, forKey: .usesPooler)
    dropout = try container.decode(Float.self, forKey: .dropout)
  }

  /// Such as `2 outputs, softmax`.
  package var summary: String {
    let count = "\(outputs) \(outputs == 1 ? "output" : "outputs")"
    switch kind {
    case .sentence: return "\(count), \(loss.rawValue)"
    case .tokens: return "\(count) a token, \(loss.rawValue)"
    }
  }

  /// Whether the last layer's [CLS] rows are all that the head reads.
  package var readsFirstTokensOnly: Bool {
    switch kind {
    case .sentence: true
    case .tokens: false
    }
  }

  /// An example's share of the global denominator: what its loss is a sum over.
  package func terms(of sequence: SequenceInput) -> Int {
    switch kind {
    case .sentence: loss == .softmax ? 1 : outputs
    case .tokens: sequence.target.count { $0 >= 0 }
    }
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
