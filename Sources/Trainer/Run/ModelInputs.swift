import Crypto
import Foundation
import Model

/// What a model's folder gives to every step of a run beside its first weights: which ids texts have, and what is computed of them.
///
/// A checkpoint holds it, because shapes alone do not tell: with another vocabulary of as many words, or another number of
/// heads, all tensors fit and the training goes on as another one.
package struct ModelInputs: Sendable, Equatable, Codable {
  /// SHA-256 of `vocab.txt`.
  package var vocabulary: String
  /// Whether texts are lower-cased before they are cut.
  package var lowercase: Bool
  /// The configuration as the recipe leaves it, by the names of `config.json`.
  package var configuration: [String: String]

  package init(vocabulary: [UInt8], lowercase: Bool, configuration c: BertConfiguration) {
    self.vocabulary = SHA256.hash(data: vocabulary).hex
    self.lowercase = lowercase
    configuration = [
      "vocab_size": "\(c.vocabularySize)", "hidden_size": "\(c.hiddenSize)",
      "num_hidden_layers": "\(c.layerCount)", "num_attention_heads": "\(c.headCount)",
      "intermediate_size": "\(c.intermediateSize)",
      "max_position_embeddings": "\(c.maximumPositions)", "type_vocab_size": "\(c.segmentCount)",
      "hidden_act": c.activation.rawValue, "layer_norm_eps": "\(c.layerNormEpsilon)",
      "hidden_dropout_prob": "\(c.hiddenDropout)",
      "attention_probs_dropout_prob": "\(c.attentionDropout)",
      "classifier_dropout": c.classifierDropout.map { "\($0)" } ?? "absent",
      "dropout of embeddings": c.embeddingDropoutBeforeNorm ? "before the norm" : "after the norm",
    ]
  }

  /// What differs from `before`, in words.
  func differences(from before: ModelInputs) -> [String] {
    var found: [String] = []
    if vocabulary != before.vocabulary {
      found.append(
        "vocab.txt has the SHA-256 \(vocabulary.prefix(12))…, was \(before.vocabulary.prefix(12))…")
    }
    if lowercase != before.lowercase {
      found.append("texts are \(lowercase ? "lower-cased, were not" : "not lower-cased, were")")
    }
    for key in Set(configuration.keys).union(before.configuration.keys).sorted() {
      let (now, then) = (configuration[key], before.configuration[key])
      if now != then { found.append("\(key) is \(now ?? "absent"), was \(then ?? "absent")") }
    }
    return found
  }
}
