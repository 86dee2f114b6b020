import Foundation
import Model
import TestSupport
import Testing

@Suite struct ConversionTests {
  static let dialect = Dialect.huggingface

  private static func files(_ folder: URL) throws -> [String: Data] {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    return try Dictionary(
      uniqueKeysWithValues: names.map {
        ($0, try Data(contentsOf: folder.appending(path: $0)))
      })
  }

  /// The bytes of every variable of a checkpoint.
  private static func variables(_ prefix: URL) throws -> [String: [UInt8]] {
    let checkpoint = try TensorFlowCheckpoint(prefix: prefix)
    var variables: [String: [UInt8]] = [:]
    for tensor in checkpoint.tensors {
      try checkpoint.stream(tensor) { variables[tensor.name, default: []] += $0 }
    }
    return variables
  }

  @Test(arguments: ["tiny_tf", "tiny_tf_sharded"])
  func `TensorFlow to Hugging Face and back loses no bit and repeats byte for byte`(
    fixture: String
  ) throws {
    let folder = try TemporaryFolder()
    let source = try TemporaryFolder(copyOf: fixture)
    for name in ["bert_config.json", "vocab.txt"] {
      try folder.write(Fixtures.data("tiny_tf/\(name)"), to: "x")
      try Data(contentsOf: folder.path("x")).write(to: source.path(name))
    }
    let steps: [(String, Conversion.Target)] = [
      ("hf1", .huggingface), ("tf1", .tensorflow), ("hf2", .huggingface), ("tf2", .tensorflow),
    ]
    var from = source.url
    for (name, target) in steps {
      _ = try Conversion(from, to: folder.path(name), target: target, dialect: Self.dialect)
      from = folder.path(name)
    }
    #expect(try Self.files(folder.path("hf1")) == Self.files(folder.path("hf2")))
    #expect(try Self.files(folder.path("tf1")) == Self.files(folder.path("tf2")))
    // What transformers wrote from the same numbers.
    #expect(
      try Self.files(folder.path("hf1"))["model.safetensors"]
        == Fixtures.data("tiny_hf/model.safetensors"))
    let before = try Self.variables(source.path("bert_model.ckpt"))
    let after = try Self.variables(folder.path("tf1/bert_model.ckpt"))
    #expect(after.count == 46)
    #expect(after.allSatisfy { before[$0.key] == $0.value })
    #expect(
      try Self.files(folder.path("tf1")).keys.sorted() == [
        "bert_config.json", "bert_model.ckpt.data-00000-of-00001", "bert_model.ckpt.index",
        "checkpoint", "tokenizer_config.json", "vocab.txt",
      ])
    #expect(try Self.files(folder.path("tf1"))["checkpoint"] == Fixtures.data("tiny_tf/checkpoint"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path).count == 5)
  }

  @Test func `what is left out is listed with its cause`() throws {
    let folder = try TemporaryFolder()
    let conversion = try Conversion(
      Fixtures.url("tiny_tf"), to: folder.path("hf"), target: .huggingface, dialect: .google)
    #expect(conversion.written == 46)
    #expect(conversion.leftOut.count == 93)
    #expect(conversion.leftOut.allSatisfy { $0.cause == "optimizer slots" })
    #expect(
      conversion.notes == [
        "do_lower_case is true because vocab.txt has no piece with a capital letter"
      ])
    let config = try JSONValue(parsing: [UInt8](Data(contentsOf: folder.path("hf/config.json"))))
    #expect(config["hidden_act"]?.string == "gelu_new")
    #expect(config["model_type"]?.string == "bert")
    #expect(config["architectures"]?.array == [.string("BertForPreTraining")])
    #expect(config["layer_norm_eps"]?.double == 1e-12)
    #expect(config["directionality"]?.string == "bidi")
    let model = try ModelFolder.open(folder.path("hf"), dialect: .huggingface)
    #expect(model.configuration.activation == .geluTanh)
    #expect(model.lowercase == true)
  }

  @Test func `the meaning of gelu survives the way to TensorFlow and back`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    try folder.replace("\"gelu\"", with: "\"gelu_pytorch_tanh\"", in: "config.json")
    for dialect in [Dialect.huggingface, .google] {
      let target = folder.path("tf-\(dialect.rawValue)")
      _ = try Conversion(folder.url, to: target, target: .tensorflow, dialect: dialect)
      #expect(try ModelFolder.open(target, dialect: dialect).configuration.activation == .geluTanh)
      let config = try JSONValue(
        parsing: [UInt8](Data(contentsOf: target.appending(path: "bert_config.json"))))
      #expect(config["hidden_act"]?.string == (dialect == .google ? "gelu" : "gelu_new"))
    }
  }

  @Test(arguments: ["tiny_hf_fp16", "tiny_hf_bf16"])
  func `half-precision weights are widened for TensorFlow without loss`(fixture: String) throws {
    let folder = try TemporaryFolder()
    let conversion = try Conversion(
      Fixtures.url(fixture), to: folder.path("tf"), target: .tensorflow, dialect: Self.dialect)
    #expect(conversion.notes.first == "46 tensors of half precision were widened to float32")
    #expect(try LoadingTests.encoder(folder.path("tf")) == LoadingTests.encoder(fixture))
    let copy = try Conversion(
      Fixtures.url(fixture), to: folder.path("hf"), target: .huggingface, dialect: Self.dialect)
    #expect(copy.written == 46)
    #expect(
      try Data(contentsOf: folder.path("hf/model.safetensors"))
        == Fixtures.data("\(fixture)/model.safetensors"))
  }

  @Test func `a destination that holds something is replaced only when told`() throws {
    let folder = try TemporaryFolder()
    let target = folder.path("out")
    try FileManager.default.createDirectory(at: target, withIntermediateDirectories: true)
    func convert(replacing: Bool) throws {
      _ = try Conversion(
        Fixtures.url("tiny_tf"), to: target, target: .huggingface, dialect: Self.dialect,
        replacing: replacing)
    }
    try convert(replacing: false)
    #expect(
      message { try convert(replacing: false) }
        == "\(target.path): is a folder that is not empty; choose another destination, or replace it (--replace)."
    )
    try folder.write([1], to: "out/old.safetensors")
    try convert(replacing: true)
    #expect(try Self.files(target)["old.safetensors"] == nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == ["out"])
  }

  @Test func `a folder that holds more than a model, or the source, is never replaced`() throws {
    let folder = try TemporaryFolder()
    let home = folder.path("home"), source = home.appending(path: "source")
    try FileManager.default.createDirectory(at: home, withIntermediateDirectories: true)
    try FileManager.default.copyItem(at: Fixtures.url("tiny_tf"), to: source)
    func refusal(_ destination: URL) -> String {
      message {
        _ = try Conversion(
          source, to: destination, target: .huggingface, dialect: Self.dialect, replacing: true)
      }
    }
    let consequence = ", and --replace takes the whole folder away; choose another destination."
    for destination in [home, source, folder.url] {
      #expect(refusal(destination) == "\(destination.path): holds the source\(consequence)")
    }
    let link = folder.path("link")
    try FileManager.default.createSymbolicLink(at: link, withDestinationURL: home)
    #expect(refusal(link).contains(": holds the source, "))
    let out = folder.path("out")
    for name in ["out", "deep/config.json"] {
      try FileManager.default.createDirectory(
        at: folder.path(name), withIntermediateDirectories: true)
    }
    try folder.write([1], to: "out/notes.txt")
    #expect(
      refusal(out) == "\(out.path): holds notes.txt, which is no file of a model\(consequence)")
    #expect(refusal(folder.path("deep")).contains(": holds config.json, which is no file"))
    #expect(refusal(URL(filePath: "/")).contains("holds the source"))
    #expect(try Self.files(out) == ["notes.txt": Data([1])])
  }

  @Test func `a conversion that fails leaves nothing behind`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_tf")
    let name = "bert_model.ckpt.data-00000-of-00001"
    var data = try folder.bytes(name)
    let entries = try TensorFlowCheckpoint(prefix: folder.path("bert_model.ckpt")).entries
    let entry = try #require(entries.first { $0.key == Array("bert/pooler/dense/bias".utf8) })
    data[entry.offset] ^= 1
    try folder.write(data, to: name)
    let parent = try TemporaryFolder()
    for target in Conversion.Target.allCases {
      let text = message {
        _ = try Conversion(
          folder.url, to: parent.path("out"), target: target, dialect: Self.dialect)
      }
      #expect(text.contains("\"bert/pooler/dense/bias\""))
      #expect(text.hasSuffix("does not match its checksum; fetch or copy the file again."))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: parent.url.path).isEmpty)
  }

  @Test(arguments: [true, false])
  func `an exported model opens again with its weights, labels and tokenizer`(pooler: Bool) throws {
    let source = try ModelFolder.open(Fixtures.url("tiny_tf"), dialect: .google)
    let head = Head(outputs: 2, loss: .softmax, usesPooler: pooler, dropout: 0.25)
    let table = ParameterTable(source.configuration, head: head)
    let arena = Arena(count: table.count)
    try source.load(into: arena, table: table)
    arena.elements[table.count - 1] = 0.5
    let folder = try TemporaryFolder()
    var seen = 0
    let vocabulary = try [UInt8](Fixtures.data("tiny_tf/vocab.txt"))
    for _ in 0..<2 {
      let count = try ModelFolder.export(
        huggingFaceTo: folder.path("best"), configuration: source.configuration, arena: arena,
        table: table, task: .init(labels: ["no", "yes"], head: head), vocabulary: vocabulary,
        lowercase: true, extra: ["task.json": [0x7B, 0x7D]]
      ) { seen += $0.count }
      #expect(seen == count)
      seen = 0
    }
    let model = try ModelFolder.open(folder.path("best"), dialect: .huggingface)
    var configuration = source.configuration
    configuration.classifierDropout = 0.25
    #expect(model.configuration == configuration)
    #expect(model.lowercase == true)
    let json = model.configurationJSON
    #expect(json["id2label"]?["1"]?.string == "yes")
    #expect(json["label2id"]?["no"]?.int == 0)
    #expect(json["problem_type"]?.string == "single_label_classification")
    #expect(json["classifier_dropout"]?.double == 0.25)
    #expect(
      json["architectures"]?.array == [
        .string(pooler ? "BertForSequenceClassification" : "BertForTokenClassification")
      ])
    let again = Arena(count: table.count)
    let report = try model.load(into: again, table: table)
    #expect(report.missing.isEmpty && report.extra.isEmpty)
    #expect(Array(again.elements) == Array(arena.elements))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == ["best"])
  }
}
