import Foundation
import Model
import TestSupport
import Testing

@Suite struct ModelFolderTests {
  /// Loads the encoder and the pooler.
  static func load(_ url: URL, outputs: Int = 2) throws -> (LoadReport, [Float]) {
    let model = try ModelFolder.open(url, dialect: .huggingface)
    let head = Head(outputs: outputs, loss: .softmax, usesPooler: true, dropout: 0)
    let table = ParameterTable(model.configuration, head: head)
    let arena = Arena(count: table.count)
    let report = try model.load(into: arena, table: table)
    return (report, Array(arena.elements))
  }

  /// The tiny model's tensors under other names, in one safetensors file.
  static func rename(
    _ folder: TemporaryFolder, to file: String = "model.safetensors",
    keep: (String) -> Bool = { _ in true },
    _ name: (String) -> String
  ) throws {
    let source = try Safetensors(Fixtures.url("tiny_hf/model.safetensors"))
    let tensors = source.tensors.filter { keep($0.name) }.map { tensor in
      SafetensorsWriter.Tensor(name: name(tensor.name), elementType: .float32, shape: tensor.shape)
      {
        try source.stream(tensor, $0)
      }
    }
    try SafetensorsWriter.write(tensors, to: folder.path(file))
  }

  @Test func `names without the prefix and in the old spelling load to the same bits`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    let expected = try Self.load(folder.url).1
    try Self.rename(folder, keep: { !$0.hasPrefix("cls.") }) {
      $0.replacing("bert.", with: "").replacing("LayerNorm.weight", with: "LayerNorm.gamma")
        .replacing("LayerNorm.bias", with: "LayerNorm.beta")
    }
    let (report, values) = try Self.load(folder.url)
    #expect(values == expected)
    #expect(report.extra.isEmpty)
  }

  @Test func `shards load to the same bits, and a missing or incomplete shard is an error`() throws
  {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    let expected = try Self.load(folder.url).1
    let isFirst = { (name: String) in name.contains("layer.0") }
    try Self.rename(folder, to: "one.safetensors", keep: isFirst) { $0 }
    try Self.rename(folder, to: "two.safetensors", keep: { !isFirst($0) }) { $0 }
    let names = try Safetensors(folder.path("model.safetensors")).tensors.map(\.name)
    let map = names.map { "\"\($0)\": \"\(isFirst($0) ? "one" : "two").safetensors\"" }
    func index(_ map: [String]) throws {
      try folder.write(
        "{\"weight_map\": {\(map.joined(separator: ", "))}}".utf8,
        to: "model.safetensors.index.json")
    }
    try index(map)
    try FileManager.default.removeItem(at: folder.path("model.safetensors"))
    #expect(try Self.load(folder.url).1 == expected)

    let path = folder.path("model.safetensors.index.json").path
    try index(Array(map.dropFirst()))
    #expect(
      message { _ = try Self.load(folder.url) }.contains(
        "does not list; fetch or copy the file again."))
    try index(map + ["\"x\": \"../one.safetensors\""])
    #expect(
      message { _ = try Self.load(folder.url) }
        == "\(path): weight_map gives the string \"../one.safetensors\" for \"x\"; fetch or copy the file again."
    )
    try index(map)
    try FileManager.default.removeItem(at: folder.path("one.safetensors"))
    #expect(
      message { _ = try Self.load(folder.url) }
        == "\(path): names the shard one.safetensors, which is not there; fetch it into the same folder."
    )
  }

  @Test(arguments: [
    "", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001",
  ])
  func `a checkpoint opens by its folder, its prefix or any of its files`(name: String) throws {
    let url = Fixtures.url(name.isEmpty ? "tiny_tf" : "tiny_tf/\(name)")
    let model = try ModelFolder.open(url, dialect: .google)
    #expect(model.format == .tensorFlow)
    #expect(model.configuration.layerCount == 2)
    #expect(model.vocabularyURL?.lastPathComponent == "vocab.txt")
    #expect(model.lowercase == nil)
  }

  @Test func `a Hugging Face folder says how to use its vocabulary`() throws {
    let model = try ModelFolder.open(Fixtures.url("tiny_hf"), dialect: .huggingface)
    #expect(model.format == .huggingFace)
    #expect(model.lowercase == true)
    #expect(model.warnings.isEmpty)
  }

  @Test func `of several checkpoints the state file names the one, and without it they are listed`()
    throws
  {
    let folder = try TemporaryFolder(copyOf: "tiny_tf")
    for suffix in [".index", ".data-00000-of-00001"] {
      try FileManager.default.copyItem(
        at: folder.path("bert_model.ckpt\(suffix)"), to: folder.path("model.ckpt-7\(suffix)"))
    }
    try folder.write("model_checkpoint_path: \"model.ckpt-7\"\n".utf8, to: "checkpoint")
    let model = try ModelFolder.open(folder.url, dialect: .google)
    #expect(model.location.hasSuffix("model.ckpt-7"))
    try folder.write("model_checkpoint_path: \"gone\\055x\"\n".utf8, to: "checkpoint")
    #expect(
      message { _ = try ModelFolder.open(folder.url, dialect: .google) }
        == "\(folder.path("checkpoint").path): names the checkpoint \"gone-x\", which is not there; name the prefix of the checkpoint to read."
    )
    try FileManager.default.removeItem(at: folder.path("checkpoint"))
    #expect(
      message { _ = try ModelFolder.open(folder.url, dialect: .google) }
        == "\(folder.url.path): holds several weights: bert_model.ckpt, model.ckpt-7; name one of them instead of the folder."
    )
  }

  static let foreign: [(String, [UInt8], String)] = [
    (
      "pytorch_model.bin", [0x50, 0x4B, 3, 4],
      "is a PyTorch file (pickle), which can run any program when it is opened; load it with transformers and call save_pretrained, which writes safetensors."
    ),
    (
      "tf_model.h5", [0x89, 0x48, 0x44, 0x46],
      "is a Keras file (HDF5), whose layout depends on the program that wrote it; load it in that program and save the weights as a TensorFlow checkpoint or as safetensors."
    ),
    (
      "model.ckpt", [0, 0, 0x57, 0xFB, 0x80, 0x8B, 0x24, 0x75, 0x47, 0xDB],
      "is a TensorFlow V1 checkpoint; load it in TensorFlow and save it with tf.compat.v1.train.Saver, which writes V2 (.index and .data files)."
    ),
    (
      "notes.txt", [],
      "is neither safetensors nor part of a TensorFlow checkpoint; name a model folder, a safetensors file or a checkpoint's prefix."
    ),
  ]

  @Test(arguments: foreign)
  func `other formats are refused with the way out`(
    name: String, bytes: [UInt8], sentence: String
  ) throws {
    let folder = try TemporaryFolder()
    try folder.write(bytes, to: name)
    let path = folder.path(name).path
    #expect(
      message { _ = try ModelFolder.open(folder.path(name), dialect: .google) }
        == "\(path): \(sentence)")
  }

  @Test func `folders without weights or configuration say what is wanted`() throws {
    let folder = try TemporaryFolder()
    #expect(
      message { _ = try ModelFolder.open(folder.url, dialect: .google) }
        == "\(folder.url.path): holds no weights; put model.safetensors, or the .index and .data files of a TensorFlow checkpoint, there."
    )
    try Self.rename(folder) { $0 }
    #expect(
      message { _ = try ModelFolder.open(folder.url, dialect: .google) }
        == "\(folder.url.path): holds no config.json or bert_config.json; put the configuration that belongs to the weights beside them."
    )
    #expect(
      message { _ = try ModelFolder.open(folder.path("absent"), dialect: .google) }
        == "\(folder.path("absent").path): does not exist; name a model folder, a safetensors file or the prefix of a TensorFlow checkpoint."
    )
  }

  @Test(arguments: [
    ("embeddings.word", "bert/encoder/transformer/group_0/inner_group_0", "ALBERT"),
    ("bert.", "electra.", "ELECTRA"), ("bert.", "roberta.", "RoBERTa"),
    ("bert.", "distilbert.", "DistilBERT"), ("bert.", "roformer.", "RoFormer"),
  ])
  func `relatives of BERT are recognised by their tensors`(
    old: String, new: String, family: String
  ) throws {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    try Self.rename(folder) { $0.replacing(old, with: new) }
    #expect(
      message { _ = try ModelFolder.open(folder.url, dialect: .huggingface) }
        .contains(": is \(family) (it holds the tensor \""))
  }

  @Test func `a configuration of another size is an error that names the tensor and both shapes`()
    throws
  {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    try folder.replace("\"vocab_size\": 196", with: "\"vocab_size\": 200", in: "config.json")
    #expect(
      message { _ = try ModelFolder.open(folder.url, dialect: .huggingface) }
        == "\(folder.path("model.safetensors").path): does not fit config.json: bert.embeddings.word_embeddings.weight is [196, 32] in the file "
        + "and [200, 32] by the configuration (a vocabulary of another size); use the configuration that belongs to these weights."
    )
  }

  @Test func `more layers than the file holds are an error, fewer leave the rest`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    try folder.replace(
      "\"num_hidden_layers\": 2", with: "\"num_hidden_layers\": 1", in: "config.json")
    let extra = try Self.load(folder.url).0.extra
    #expect(extra.filter { $0.cause == "a layer past the configuration's 1" }.count == 16)
    try folder.replace(
      "\"num_hidden_layers\": 1", with: "\"num_hidden_layers\": 3", in: "config.json")
    let text = message { _ = try ModelFolder.open(folder.url, dialect: .huggingface) }
    #expect(
      text.contains(
        "bert.encoder.layer.2.attention.self.query.weight is absent and [32, 32] by the configuration (the file holds 2 layers)"
      ))
    #expect(text.contains(", and 6 more; "))
  }

  @Test func `a head of other classes stays as it was and is reported`() throws {
    let folder = try TemporaryFolder(copyOf: "tiny_hf")
    try Self.rename(folder) { $0.replacing("cls.seq_relationship", with: "classifier") }
    #expect(try Self.load(folder.url, outputs: 2).0.missing.isEmpty)
    let report = try Self.load(folder.url, outputs: 3).0
    #expect(report.missing.map(\.found) == [[2, 32], [2]])
    #expect(report.missing.map(\.expected) == [[3, 32], [3]])
    #expect(report.missing.allSatisfy { $0.cause == "the task head of another model" })
    #expect(
      report.description == """
        39 tensors loaded, 2 missing, 5 not used
        missing: classifier.weight, classifier.bias (the task head of another model)
        not used: cls.predictions.bias, cls.predictions.transform.LayerNorm.bias and 3 more (a head of pretraining)
        """)
  }

  @Test func `what a checkpoint holds beside the model is reported with its cause`() throws {
    let report = try Self.load(Fixtures.url("tiny_tf")).0
    #expect(report.extra.count { $0.cause == "optimizer slots" } == 2 * 46 + 1)
    #expect(report.extra.count { $0.cause == "a head of pretraining" } == 7)
    let sharded = try TemporaryFolder(copyOf: "tiny_tf_sharded")
    try FileManager.default.copyItem(
      at: Fixtures.url("tiny_tf/bert_config.json"), to: sharded.path("bert_config.json"))
    let (other, values) = try Self.load(sharded.url)
    #expect(other.extra.count { $0.cause == "no part of a BERT" } == 210)
    #expect(try values == Self.load(Fixtures.url("tiny_tf")).1)
  }

  @Test func `a partitioned variable reads like the whole one`() throws {
    let parts = try TensorFlowCheckpoint(prefix: Fixtures.url("tf_extra/partitioned.ckpt"))
    let whole = try TensorFlowCheckpoint(prefix: Fixtures.url("tiny_tf/bert_model.ckpt"))
    let name = "bert/embeddings/word_embeddings"
    var one = [Float](repeating: 0, count: 196 * 32), other = one
    try one.withUnsafeMutableBufferPointer { try parts.read(name, into: $0) }
    try other.withUnsafeMutableBufferPointer { try whole.read(name, into: $0) }
    #expect(one == other)
    #expect(
      parts.tensors.map(\.name) == [
        "bert/embeddings/LayerNorm/beta", "bert/embeddings/LayerNorm/gamma", name,
      ])
  }

  @Test func `NaN in a transposed kernel is named by its index in the file`() throws {
    let folder = try TemporaryFolder()
    let prefix = folder.path("x")
    var values = [Float](repeating: 0, count: 6)
    values[4] = .nan
    let writer = try TensorFlowCheckpointWriter(prefix: prefix)
    try writer.add("k", elementType: .float32, shape: [2, 3]) { sink in
      try values.withUnsafeBytes(sink)
    }
    try writer.finish()
    #expect(
      message {
        try values.withUnsafeMutableBufferPointer {
          try TensorFlowCheckpoint(prefix: prefix).read("k", transposed: true, into: $0)
        }
      }
        == "\(prefix.path): the tensor \"k\" holds nan at flat index 4; use weights from before training diverged."
    )
  }

  @Test(arguments: [(1, 1), (3, 5), (17, 33), (400, 1000), (5, 140_000), (140_000, 3)])
  func `a transposed matrix has its elements where they belong`(rows: Int, columns: Int) throws {
    let folder = try TemporaryFolder()
    let values = (0..<rows * columns).map { Float($0) }
    let writer = try TensorFlowCheckpointWriter(prefix: folder.path("x"))
    try writer.add("k", elementType: .float32, shape: [rows, columns]) { sink in
      try values.withUnsafeBytes(sink)
    }
    try writer.finish()
    var read = [Float](repeating: -1, count: values.count)
    try read.withUnsafeMutableBufferPointer {
      try TensorFlowCheckpoint(prefix: folder.path("x")).read("k", transposed: true, into: $0)
    }
    let isRight = (0..<rows).allSatisfy { row in
      (0..<columns).allSatisfy { read[$0 * rows + row] == Float(row * columns + $0) }
    }
    #expect(isRight)
  }
}
