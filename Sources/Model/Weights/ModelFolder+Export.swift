import Foundation

extension ModelFolder {
  /// What a task adds to the configuration of an exported model.
  package struct TaskDescription: Sendable {
    /// Names of the classes, by output; nil for regression or when they have none.
    package var labels: [String]?
    package var head: Head

    package init(labels: [String]?, head: Head) {
      self.labels = labels
      self.head = head
    }

    /// The class of transformers that computes the head.
    ///
    /// A head that reads the bare [CLS] vector is a token classifier, of which row 0 counts: transformers'
    /// sequence classifier always has a pooler.
    var architecture: String {
      switch head.kind {
      case .sentence:
        head.usesPooler ? "BertForSequenceClassification" : "BertForTokenClassification"
      // What transformers makes of a chain is its classifier; transitions are an extra tensor to it.
      case .tokens, .chain: "BertForTokenClassification"
      case .span: "BertForQuestionAnswering"
      case .maskedLanguageModel: "BertForMaskedLM"
      // Heads that transformers does not have: it loads the encoder and says what it left out.
      case .globalPointer, .subjectPointer, .relation, .gplinker, .siamese: "BertModel"
      }
    }

    var problemType: String {
      switch head.loss {
      case .softmax: "single_label_classification"
      case .sigmoid, .sigmoidClipped: "multi_label_classification"
      case .squaredError: "regression"
      }
    }

    var members: [JSONValue.Member] {
      // The other heads' outputs have no labels that transformers could name.
      guard architecture.hasSuffix("Classification") else { return [] }
      let names = labels ?? (0..<head.outputs).map { "LABEL_\($0)" }
      precondition(names.count == head.outputs, "\(names.count) labels of \(head.outputs) outputs")
      return [
        .init("classifier_dropout", JSONValue(head.dropout)),
        .init(
          "id2label", .object(names.enumerated().map { .init("\($0)", .string($1)) })),
        .init(
          "label2id", .object(names.enumerated().map { .init($1, JSONValue($0)) })),
        .init("problem_type", .string(problemType)),
      ]
    }
  }

  /// Writes a folder that transformers loads as it is, and returns the bytes of its `model.safetensors`.
  ///
  /// `folder` is replaced as a whole: it holds the old files or all of the new ones. `observe` sees the
  /// bytes of `model.safetensors` in order, for a hash; `extra` are further files by name. `progress` is called after every piece.
  @discardableResult
  package static func export(
    huggingFaceTo folder: URL, configuration: BertConfiguration, arena: Arena,
    table: ParameterTable, task: TaskDescription?, vocabulary: [UInt8], lowercase: Bool,
    extra: [String: [UInt8]] = [:], operations: DurableOperations = DurableOperations(),
    observe: ((UnsafeRawBufferPointer) -> Void)? = nil, progress: () -> Void = {}
  ) throws -> Int {
    let target = try DurableFolder(folder, replacing: true, operations: operations)
    func write(_ bytes: [UInt8], to url: URL) throws {
      try Self.write(bytes, to: url, operations)
    }
    func write(_ json: JSONValue, to url: URL) throws {
      try write(Array(json.formatted().utf8), to: url)
    }
    let json = configuration.huggingFaceJSON(architecture: task?.architecture ?? "BertModel")
    try write(
      .object((json.members ?? []) + (task?.members ?? [])),
      to: target.url.appending(path: "config.json"))
    try write(
      tokenizerJSON(lowercase: lowercase, configuration),
      to: target.url.appending(path: "tokenizer_config.json"))
    try write(vocabulary, to: target.url.appending(path: "vocab.txt"))
    for (name, bytes) in extra { try write(bytes, to: target.url.appending(path: name)) }
    let count = try SafetensorsWriter.write(
      SafetensorsWriter.tensors(table, of: arena),
      to: target.url.appending(path: "model.safetensors"), operations: operations,
      observe: observe, progress: progress)
    try target.commit()
    return count
  }

  static func write(
    _ bytes: [UInt8], to url: URL, _ operations: DurableOperations = DurableOperations()
  ) throws {
    let file = try DurableFile(url, operations: operations)
    try file.write(bytes)
    try file.commit()
  }

  static func write(_ json: JSONValue, to url: URL) throws {
    try write(Array(json.formatted().utf8), to: url)
  }

  /// The `tokenizer_config.json` of a WordPiece vocabulary.
  static func tokenizerJSON(lowercase: Bool, _ configuration: BertConfiguration) -> JSONValue {
    .object([
      .init("cls_token", .string("[CLS]")),
      .init("do_lower_case", .bool(lowercase)),
      .init("mask_token", .string("[MASK]")),
      .init("model_max_length", JSONValue(configuration.maximumPositions)),
      .init("pad_token", .string("[PAD]")),
      .init("sep_token", .string("[SEP]")),
      .init("strip_accents", .null),
      .init("tokenize_chinese_chars", .bool(true)),
      .init("tokenizer_class", .string("BertTokenizer")),
      .init("unk_token", .string("[UNK]")),
    ])
  }
}
