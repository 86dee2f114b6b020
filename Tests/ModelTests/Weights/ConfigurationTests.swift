import Foundation
import Model
import TestSupport
import Testing

@Suite struct ConfigurationTests {
  static let base = """
    {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64
    """

  static func read(
    _ more: String, _ dialect: Dialect = .huggingface
  ) throws -> (
    BertConfiguration, [String]
  ) {
    let json = try JSONValue(parsing: Array((base + more + "}").utf8), file: "config.json")
    return try BertConfiguration.decode(json, file: "config.json", dialect: dialect)
  }

  @Test func `what the file leaves out has the framework's default`() throws {
    let (configuration, warnings) = try Self.read("")
    var expected = BertConfiguration(
      vocabularySize: 100, hiddenSize: 32, layerCount: 2, headCount: 4, intermediateSize: 64,
      maximumPositions: 512, segmentCount: 2)
    expected.layerNormEpsilon = 1e-12
    #expect(configuration == expected)
    #expect(warnings.isEmpty)
  }

  @Test func `a classifier's dropout may be its own`() throws {
    #expect(try Self.read(#", "classifier_dropout": 0.3"#).0.classifierDropout == 0.3)
    #expect(try Self.read(#", "classifier_dropout": null"#).0.classifierDropout == nil)
    #expect(throws: WeightsError.self) { try Self.read(#", "classifier_dropout": 1"#) }
  }

  @Test(arguments: [
    (
      Dialect.huggingface, BertConfiguration.Activation.geluErf, Float(1e-5), Float(0.2),
      Float(0.3), false
    ),
    (.google, .geluTanh, 1e-12, 0.2, 0.3, false),
    (.bert4keras, .geluErf, 1e-12, 0.2, 0.3, false),
    (.kerasBert, .geluTanh, 1e-14, 0.1, 0, true),
    (.seed2019, .geluErf, 1e-14, 0.1, 0, true),
  ])
  func `a dialect sets all its rows at once and says what it overrode`(
    dialect: Dialect, activation: BertConfiguration.Activation, epsilon: Float, dropout: Float,
    attentionDropout: Float, before: Bool
  ) throws {
    let (configuration, warnings) = try Self.read(
      #", "hidden_act": "gelu", "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3"#,
      dialect)
    #expect(configuration.activation == activation)
    #expect(configuration.layerNormEpsilon == epsilon)
    #expect(configuration.hiddenDropout == dropout)
    #expect(configuration.attentionDropout == attentionDropout)
    #expect(configuration.embeddingDropoutBeforeNorm == before)
    #expect(warnings.count == (dialect == .huggingface ? 0 : before ? 3 : 1))
    if dialect == .google {
      #expect(
        warnings == [
          "config.json: the dialect google sets layer_norm_eps to 1e-12, the configuration has 1e-05"
        ])
    }
  }

  @Test(arguments: [
    ("gelu_new", BertConfiguration.Activation.geluTanh), ("gelu_pytorch_tanh", .geluTanh),
    ("gelu_python", .geluErf), ("GELU", .geluErf),
  ])
  func `names of GELU mean one of two`(
    name: String, activation: BertConfiguration.Activation
  ) throws {
    #expect(try Self.read(", \"hidden_act\": \"\(name)\"").0.activation == activation)
  }

  static let wrong: [(String, String)] = [
    (
      #", "hidden_act": "relu""#,
      "hidden_act is the string \"relu\"; use a model with gelu or gelu_new: Lockstep trains BERTs with GELU only."
    ),
    (
      #", "hidden_dropout_prob": 1"#,
      "hidden_dropout_prob is the number 1; give a number from 0.0 to below 1.0."
    ),
    (
      #", "hidden_dropout_prob": "0.1""#,
      "hidden_dropout_prob is the string \"0.1\"; give a number from 0.0 to below 1.0."
    ),
    (
      #", "type_vocab_size": 0"#,
      "type_vocab_size is the number 0; give a whole number from 1 to 65536."
    ),
    (
      #", "max_position_embeddings": 1e99"#,
      "max_position_embeddings is the number 1e99; give a whole number from 1 to 1048576."
    ),
    (
      #", "max_position_embeddings": -1"#,
      "max_position_embeddings is the number -1; give a whole number from 1 to 1048576."
    ),
    (
      #", "max_position_embeddings": [512]"#,
      "max_position_embeddings is a list; give a whole number from 1 to 1048576."
    ),
    (
      #", "position_embedding_type": "relative_key""#,
      "position_embedding_type is \"relative_key\" where Lockstep trains \"absolute\"; use a BERT (Chinese RoBERTa-wwm, MacBERT and MiniLM with model_type bert are)."
    ),
    (
      #", "model_type": "gpt2""#,
      "model_type is \"gpt2\" where Lockstep trains \"bert\"; use a BERT (Chinese RoBERTa-wwm, MacBERT and MiniLM with model_type bert are)."
    ),
    (
      #", "use_relative_position": true"#,
      "is NEZHA (use_relative_position is true), which uses relative positions inside attention; use a BERT (Chinese RoBERTa-wwm, MacBERT and MiniLM with model_type bert are)."
    ),
    (#", "is_decoder": true"#, "is_decoder is true: the model is a decoder; use an encoder."),
  ]

  @Test(arguments: wrong)
  func `a configuration that cannot be trained is refused with the way out`(
    more: String, sentence: String
  ) {
    #expect(message { _ = try Self.read(more) } == "config.json: \(sentence)")
  }

  @Test(arguments: ["electra", "roberta", "distilbert", "nezha", "roformer", "albert"])
  func `other families are named`(type: String) {
    let text = message { _ = try Self.read(", \"model_type\": \"\(type)\"") }
    #expect(
      text.lowercased().hasPrefix("config.json: is \(type) (model_type is \"\(type)\"), which "))
  }

  @Test func `sizes that are missing or do not divide are errors`() throws {
    func decode(_ text: String) throws {
      let json = try JSONValue(parsing: Array(text.utf8), file: "c")
      _ = try BertConfiguration.decode(json, file: "c", dialect: .google)
    }
    #expect(
      message { try decode("{}") }
        == "c: has no vocab_size; add it: BERT's shape does not follow without it.")
    #expect(
      message { try decode("[]") }
        == "c: holds a list where an object is expected; name the configuration of a BERT.")
    #expect(
      message { try decode(Self.base.replacing(": 4,", with: ": 5,") + "}") }
        == "c: hidden_size 32 is not a multiple of num_attention_heads 5; correct one of the two.")
  }

  @Test
  func `unknown keys are named once, a byte order mark is skipped, a mistake has line and column`()
    throws
  {
    #expect(
      try Self.read(#", "foo": 1, "pooler_type": "x", "bar": {}"#).1
        == ["config.json: unknown keys that were not used: \"foo\", \"bar\""])
    let folder = try TemporaryFolder()
    try folder.write([0xEF, 0xBB, 0xBF] + Array((Self.base + "}").utf8), to: "config.json")
    let url = folder.path("config.json")
    #expect(try BertConfiguration.read(url, dialect: .google).configuration.hiddenSize == 32)
    try folder.write((Self.base + ",\n}").utf8, to: "config.json")
    #expect(
      message { _ = try BertConfiguration.read(url, dialect: .google) }
        == "\(url.path): is not JSON at line 2, column 1: a key in quotes is expected, found '}'; correct the file there."
    )
  }
}
