/// Relatives of BERT whose computation differs: recognised, named and refused.
enum ModelFamily {
  private struct Relative {
    let name: String
    /// `model_type` in Hugging Face configurations.
    let modelTypes: Set<String>
    /// Parts of tensor names that only this family has.
    let marks: [String]
    let difference: String
  }

  private static let relatives: [Relative] = [
    Relative(
      name: "ALBERT", modelTypes: ["albert"],
      marks: ["inner_group_0", "embedding_hidden_mapping_in", "layer_shared", "albert"],
      difference: "shares one layer's weights and factorises the word table"),
    Relative(
      name: "ELECTRA", modelTypes: ["electra"],
      marks: ["electra", "discriminator_predictions", "embeddings_project"],
      difference: "has no pooler and may project its word table"),
    Relative(
      name: "DistilBERT", modelTypes: ["distilbert"], marks: ["distilbert", "q_lin"],
      difference: "has no segments and names its layers otherwise"),
    Relative(
      name: "RoBERTa", modelTypes: ["roberta", "xlm-roberta", "camembert", "roberta-prelayernorm"],
      marks: ["roberta.", "roberta/", "lm_head.dense"],
      difference: "counts positions from 2 and tokenizes by byte pairs"),
    Relative(
      name: "NEZHA", modelTypes: ["nezha"],
      marks: ["relative_positions_encoding", "relative_position"],
      difference: "uses relative positions inside attention"),
    Relative(
      name: "RoFormer", modelTypes: ["roformer"], marks: ["roformer", "embed_positions"],
      difference: "rotates queries and keys by position"),
  ]

  /// The models of another family that are BERT in all but name.
  private static let wayOut =
    "use a BERT (Chinese RoBERTa-wwm, MacBERT and MiniLM with model_type bert are)"

  /// Throws when the configuration describes another family or a variant of BERT's attention.
  static func check(configuration json: JSONValue, file: String) throws {
    if let type = json["model_type"]?.string, type != "bert" {
      if let relative = relatives.first(where: { $0.modelTypes.contains(type) }) {
        throw refusal(relative, file: file, "model_type is \"\(type)\"")
      }
      throw WeightsError(
        .family, file, "model_type is \"\(type)\" where Lockstep trains \"bert\"", wayOut)
    }
    if json["use_relative_position"]?.bool == true {
      throw refusal(relatives[4], file: file, "use_relative_position is true")
    }
    if let size = json["embedding_size"]?.int, let hidden = json["hidden_size"]?.int, size != hidden
    {
      throw WeightsError(
        .family, file,
        "embedding_size \(size) differs from hidden_size \(hidden), as in ALBERT or ELECTRA",
        wayOut)
    }
    if let kind = json["position_embedding_type"]?.string, kind != "absolute" {
      throw WeightsError(
        .family, file, "position_embedding_type is \"\(kind)\" where Lockstep trains \"absolute\"",
        wayOut)
    }
    for key in ["is_decoder", "add_cross_attention"] where json[key]?.bool == true {
      throw WeightsError(
        .family, file, "\(key) is true: the model is a decoder", "use an encoder")
    }
  }

  /// Throws when tensors' names are those of another family.
  static func check(names: [String], file: String) throws {
    for relative in relatives {
      for mark in relative.marks {
        if let name = names.first(where: { $0.contains(mark) }) {
          throw refusal(relative, file: file, "it holds the tensor \"\(name)\"")
        }
      }
    }
    if let name = names.first(where: { $0.contains(".ATTRIBUTES/VARIABLE_VALUE") }) {
      throw WeightsError(
        .family, file,
        "is an object-based checkpoint of TensorFlow 2 (it holds the tensor \"\(name)\")",
        "save the model's variables by name (tf.compat.v1.train.Saver), or export it to Hugging Face"
      )
    }
  }

  private static func refusal(
    _ relative: Relative, file: String, _ evidence: String
  ) -> WeightsError {
    WeightsError(
      .family, file, "is \(relative.name) (\(evidence)), which \(relative.difference)", wayOut)
  }
}
