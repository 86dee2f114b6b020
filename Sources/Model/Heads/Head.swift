/// What is read from the encoder's [CLS] vector, and the loss over it.
package struct Head: Sendable, Equatable, Codable {
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

  /// Number of outputs `C`.
  package var outputs: Int
  package var loss: Loss
  /// `tanh(W [CLS] + b)` first (Google, Hugging Face), or the bare [CLS] vector (the 2019 recipes).
  package var usesPooler: Bool
  /// Dropout of the vector that the classifier reads.
  package var dropout: Float

  package init(outputs: Int, loss: Loss, usesPooler: Bool, dropout: Float) {
    self.outputs = outputs
    self.loss = loss
    self.usesPooler = usesPooler
    self.dropout = dropout
  }

  /// The global denominator's share of one sequence: 1, or `C` for losses averaged over outputs too.
  package var termsPerSequence: Int { loss == .softmax ? 1 : outputs }
}
