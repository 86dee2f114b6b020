import Foundation
import Model
import TestSupport
import Testing

@Suite struct InspectionTests {
  @Test func `a checkpoint is described with its configuration and every tensor`() throws {
    let url = Fixtures.url("tiny_tf")
    let inspection = try Inspection(url, dialect: .google)
    #expect(inspection.family == "BERT")
    #expect(inspection.obstacles.isEmpty && inspection.warnings.isEmpty)
    #expect(inspection.report.found.count == 39)
    #expect(inspection.report.missing.isEmpty)
    #expect(inspection.report.extra.count == 7 + 93)
    #expect(inspection.vocabularyLines == 196)
    #expect(inspection.parameterCount == 27_974)
    let lines = inspection.text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(
      lines.prefix(6) == [
        "\(url.path)/bert_model.ckpt: BERT, TensorFlow V2 checkpoint",
        "configuration  2 layers, hidden 32, 4 heads, intermediate 64, 196 pieces, 64 positions, 2 segments",
        "numerics       dialect google: geluTanh, epsilon 1e-12, dropout 0.1, attention dropout 0.1",
        "vocabulary     196 lines in vocab.txt",
        "parameters     27974 in 335696 bytes of tensors",
        "tensors        39 found, 0 missing, 100 extra",
      ])
    #expect(
      lines.contains { $0.hasPrefix("extra  global_step ") && $0.hasSuffix("  optimizer slots") })
  }

  @Test func `the JSON holds the same and is one for equal inputs`() throws {
    let json = try Inspection(Fixtures.url("tiny_hf"), dialect: .huggingface).json
    #expect(
      try json.formatted()
        == Inspection(Fixtures.url("tiny_hf"), dialect: .huggingface).json.formatted())
    #expect(json["family"]?.string == "BERT")
    #expect(json["format"]?.string == "safetensors")
    #expect(json["configuration"]?["hiddenSize"]?.int == 32)
    #expect(json["found"]?.array?.count == 39)
    let first = json["found"]?.array?.first
    #expect(first?["name"]?.string == "bert.embeddings.word_embeddings.weight")
    #expect(first?["expectedShape"] == .array([JSONValue(196), JSONValue(32)]))
    #expect(first?["type"]?.string == "F32")
  }

  @Test func `weights that do not fit are shown with both shapes and the likely cause`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    try folder.replace("\"vocab_size\": 196", with: "\"vocab_size\": 190", in: "config.json")
    let inspection = try Inspection(folder.url, dialect: .huggingface)
    let item = try #require(inspection.report.missing.first)
    #expect(item.expected == [190, 32] && item.found == [196, 32])
    #expect(item.cause == "a vocabulary of another size")
    #expect(
      inspection.obstacles == [
        "1 tensors of the encoder are missing or of another shape",
        "vocab.txt holds 196 lines where vocab_size is 190",
      ])
  }

  @Test func `another family and weights without a configuration are described all the same`()
    throws
  {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    try folder.replace(
      "\"model_type\": \"bert\"", with: "\"model_type\": \"albert\"", in: "config.json")
    let inspection = try Inspection(folder.url, dialect: .huggingface)
    #expect(inspection.family == nil)
    #expect(
      inspection.obstacles == [
        "\(folder.path("config.json").path): is ALBERT (model_type is \"albert\"), which shares one layer's weights and factorises the word table; "
          + "use a BERT (Chinese RoBERTa-wwm, MacBERT and MiniLM with model_type bert are)."
      ])
    #expect(inspection.report.extra.count == 46)
    let bare = try Inspection(Fixtures.url("tf_extra/dtypes.ckpt"), dialect: .google)
    #expect(bare.family == nil)
    #expect(
      bare.report.extra.map(\.typeName) == [
        "BF16", "BOOL", "F64", "F32", "F32", "F16", "I16", "I32", "I64", "I8", "F32", "STRING",
        "U8",
      ])
  }
}
