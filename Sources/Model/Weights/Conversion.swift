import Foundation

/// Rewrites a model in the other format, tensor by tensor: the core of `lockstep convert`.
///
/// The bits of every model variable stay; half-precision weights are widened for TensorFlow, whose BERT
/// graphs take nothing but float32.
package struct Conversion: Sendable {
  package enum Target: String, Sendable, CaseIterable {
    case tensorflow, huggingface
  }

  /// Tensors written.
  package private(set) var written = 0
  /// Bytes of the weights written.
  package private(set) var byteCount = 0
  /// What the source holds and the destination does not.
  package private(set) var leftOut: [LoadReport.Item] = []
  /// Sentences about choices that were made.
  package private(set) var notes: [String] = []

  private let model: ModelFolder

  /// Converts the model at `source`, written by a framework of the given dialect, into the folder `destination`.
  ///
  /// A `destination` that is not empty is an error unless `replacing`. `lowercase` says how the vocabulary is to be
  /// used where the source does not say.
  package init(
    _ source: URL, to destination: URL, target: Target, dialect: Dialect, lowercase: Bool? = nil,
    replacing: Bool = false
  ) throws {
    model = try ModelFolder.open(source, dialect: dialect)
    if replacing { try Self.checkReplaceable(destination, source: source) }
    let folder = try DurableFolder(destination, replacing: replacing)
    notes = model.warnings
    leftOut = LoadReport(
      model.index, table: ParameterTable(), configuration: nil
    ).extra.filter { model.index.model[$0.name] == nil }
    switch target {
    case .huggingface: try writeHuggingFace(to: folder.url)
    case .tensorflow: try writeTensorFlow(to: folder.url)
    }
    try writeTokenizer(to: folder.url, lowercase: lowercase, always: target == .huggingface)
    try folder.commit()
  }

  /// Refuses to replace a folder that holds anything but a model, or the source.
  ///
  /// A folder is replaced as a whole: what else lies in it would be gone.
  private static func checkReplaceable(_ destination: URL, source: URL) throws {
    func refuse(_ finding: String) -> WeightsError {
      WeightsError(
        .output, destination.relativePath, "\(finding), and --replace takes the whole folder away",
        "choose another destination")
    }
    let target = destination.resolvingSymlinksInPath().standardizedFileURL.path
    let places = [
      (source.resolvingSymlinksInPath().standardizedFileURL.path, "holds the source"),
      (URL(filePath: FileManager.default.currentDirectoryPath).path, "holds the working directory"),
    ]
    let inside = target == "/" ? target : target + "/"
    for (path, finding) in places where path == target || path.hasPrefix(inside) {
      throw refuse(finding)
    }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: destination.path)) ?? []
    for name in names.sorted() where !isFileOfModel(name, in: destination) {
      throw refuse("holds \(name), which is no file of a model")
    }
  }

  /// Whether `name` is a file as models have it, in either format.
  private static func isFileOfModel(_ name: String, in folder: URL) -> Bool {
    var isFolder: ObjCBool = false
    let path = folder.appending(path: name).path
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue
    else { return false }
    let names: Set = [
      "checkpoint", "config.json", "bert_config.json", "vocab.txt", "tokenizer.json",
      "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    ]
    return names.contains(name)
      || [".safetensors", ".safetensors.index.json", ".ckpt.index", ".ckpt.meta"].contains {
        name.hasSuffix($0)
      } || name.contains(#/\.ckpt(-\d+)?\.(index|meta|data-\d{5}-of-\d{5})$/#)
  }

  // MARK: Hugging Face

  private mutating func writeHuggingFace(to folder: URL) throws {
    let index = model.index, source = model.source
    let tensors = try index.order.map { name in
      let (place, type) = try element(name)
      return SafetensorsWriter.Tensor(name: name, elementType: type, shape: place.shape) { sink in
        if place.transposed {
          try Self.transposed(place.tensor, type, source).withUnsafeBytes(sink)
        } else {
          try source.stream(place.tensor, sink)
        }
      }
    }
    written = tensors.count
    byteCount = try SafetensorsWriter.write(
      tensors, to: folder.appending(path: "model.safetensors"))
    let word = index.model[ParameterTable.wordTable]
    let json = model.configuration.huggingFaceJSON(
      architecture: architecture, elementType: word?.tensor.elementType ?? .float32)
    // Labels, architectures and whatever else the source's configuration says go along.
    var members = json.members ?? []
    for member in model.configurationJSON.members ?? []
    where json[member.key] == nil || (member.key == "architectures" && member.value.array != nil) {
      members.removeAll { $0.key == member.key }
      members.append(member)
    }
    if model.configuration.embeddingDropoutBeforeNorm {
      notes.append(
        "config.json cannot say that the dialect \(model.dialect.rawValue) drops embeddings before their layer norm"
      )
    }
    try ModelFolder.write(.object(members), to: folder.appending(path: "config.json"))
  }

  /// The class of transformers that has the tensors of the source.
  private var architecture: String {
    let names = model.index.model
    if names["classifier.weight"] != nil { return "BertForSequenceClassification" }
    if names["qa_outputs.weight"] != nil { return "BertForQuestionAnswering" }
    let predicts = names["cls.predictions.bias"] != nil
    let pairs = names["cls.seq_relationship.weight"] != nil
    switch (predicts, pairs) {
    case (true, true): return "BertForPreTraining"
    case (true, false): return "BertForMaskedLM"
    case (false, true): return "BertForNextSentencePrediction"
    case (false, false): return "BertModel"
    }
  }

  // MARK: TensorFlow

  private mutating func writeTensorFlow(to folder: URL) throws {
    let writer = try TensorFlowCheckpointWriter(prefix: folder.appending(path: "bert_model.ckpt"))
    let targets = model.index.order.compactMap { name in
      TensorNames.tensorFlow(canonical: name).map { (canonical: name, $0.name, $0.transposed) }
    }
    precondition(targets.count == model.index.order.count, "a canonical tensor without a name")
    var widened = 0
    for (canonical, name, transposes) in targets.sorted(by: {
      $0.1.utf8.lexicographicallyPrecedes($1.1.utf8)
    }) {
      let (place, type) = try element(canonical)
      // The canonical matrix is [out, in]; both sides transposed means that the bytes stay as they are.
      let flips = transposes != place.transposed && place.shape.count == 2
      let shape = transposes && place.shape.count == 2 ? place.shape.reversed() : place.shape
      if type.byteCount < 4 {
        widened += 1
        let floats = try widenedElements(place.tensor, transposed: flips)
        try writer.add(name, elementType: .float32, shape: shape) { sink in
          try floats.withUnsafeBytes(sink)
        }
      } else {
        try writer.add(name, elementType: type, shape: shape) { [model] sink in
          if flips {
            try Self.transposed(place.tensor, type, model.source).withUnsafeBytes(sink)
          } else {
            try model.source.stream(place.tensor, sink)
          }
        }
      }
    }
    try writer.finish()
    written = targets.count
    let data = TensorFlowCheckpoint.shardURL(folder.appending(path: "bert_model.ckpt"), 0, of: 1)
    byteCount = try InputFile(data).byteCount
    if widened > 0 { notes.append("\(widened) tensors of half precision were widened to float32") }
    try ModelFolder.write(
      Array(CheckpointState.text("bert_model.ckpt").utf8), to: folder.appending(path: "checkpoint"))
    try ModelFolder.write(googleConfiguration(), to: folder.appending(path: "bert_config.json"))
  }

  /// `bert_config.json` in the words of the dialect, so that reading it again under the same dialect gives the same model.
  private mutating func googleConfiguration() -> JSONValue {
    let configuration = model.configuration
    var members = configuration.googleJSON().members ?? []
    members.removeAll { $0.key == "hidden_act" }
    let isPlain = configuration.activation == model.dialect.gelu
    let activation =
      isPlain ? "gelu" : configuration.activation == .geluTanh ? "gelu_new" : "gelu_erf"
    members.append(.init("hidden_act", .string(activation)))
    if !isPlain {
      notes.append(
        "hidden_act is \(activation), a name google-research/bert does not know; with the dialect google its gelu is the tanh form"
      )
    }
    if configuration.layerNormEpsilon != Dialect.google.layerNormEpsilon {
      members.append(.init("layer_norm_eps", JSONValue(configuration.layerNormEpsilon)))
      notes.append(
        "layer_norm_eps is \(configuration.layerNormEpsilon) where google-research/bert always computes with 1e-12"
      )
    }
    for member in model.configurationJSON.members ?? []
    where member.key == "directionality" || member.key.hasPrefix("pooler_") {
      members.append(member)
    }
    return .object(members)
  }

  // MARK: Both

  private func element(_ name: String) throws -> (TensorIndex.Place, ElementType) {
    guard let place = model.index.model[name], let type = place.tensor.elementType,
      type.isFloatingPoint
    else {
      let tensor = model.index.model[name]?.tensor
      throw WeightsError(
        .elementType, model.location,
        "the tensor \"\(tensor?.name ?? name)\" is of type \(tensor?.typeName ?? "?") where floating-point numbers are expected",
        "convert a model whose weights are F64, F32, F16 or BF16")
    }
    return (place, type)
  }

  private func widenedElements(_ tensor: TensorDescription, transposed: Bool) throws -> [Float] {
    let count = tensor.shape.reduce(1, *)
    return try [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      let buffer = UnsafeMutableBufferPointer(rebasing: buffer[0..<count])
      try model.source.read(tensor.name, transposed: transposed, into: buffer)
      initialized = count
    }
  }

  /// The bytes of the transposed matrix.
  private static func transposed(
    _ tensor: TensorDescription, _ type: ElementType, _ source: any TensorSource
  ) throws -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(tensor.byteCount)
    try source.stream(tensor) { bytes += $0 }
    let rows = tensor.shape[0], columns = tensor.shape[1]
    func flip<T: FixedWidthInteger>(_: T.Type) -> [UInt8] {
      [UInt8](unsafeUninitializedCapacity: bytes.count) { target, initialized in
        initialized = bytes.count
        target.withMemoryRebound(to: T.self) { target in
          bytes.withUnsafeBytes { source in
            Transposition.scatter(
              source.bindMemory(to: T.self), from: 0, rows: rows, columns: columns,
              to: UnsafeMutableBufferPointer(rebasing: target[0..<rows * columns]))
          }
        }
      }
    }
    switch type.byteCount {
    case 2: return flip(UInt16.self)
    case 4: return flip(UInt32.self)
    default: return flip(UInt64.self)
    }
  }

  private mutating func writeTokenizer(to folder: URL, lowercase: Bool?, always: Bool) throws {
    guard let vocabulary = model.vocabularyURL else {
      notes.append("\(model.folder.relativePath) holds no vocab.txt, so there is none to copy")
      return
    }
    let bytes = try InputFile.contents(of: vocabulary)
    try ModelFolder.write(bytes, to: folder.appending(path: "vocab.txt"))
    let own = model.folder.appending(path: "tokenizer_config.json")
    if lowercase == nil, model.lowercase != nil {
      return try ModelFolder.write(
        InputFile.contents(of: own), to: folder.appending(path: "tokenizer_config.json"))
    }
    guard always || lowercase != nil else { return }
    let guess = !Self.hasCapitals(bytes)
    if lowercase == nil {
      notes.append(
        "do_lower_case is \(guess) because vocab.txt has \(guess ? "no piece" : "pieces") with a capital letter"
      )
    }
    try ModelFolder.write(
      ModelFolder.tokenizerJSON(lowercase: lowercase ?? guess, model.configuration),
      to: folder.appending(path: "tokenizer_config.json"))
  }

  /// Whether a piece other than the special ones in brackets has a capital letter A to Z.
  private static func hasCapitals(_ vocabulary: [UInt8]) -> Bool {
    vocabulary.split(separator: 0x0A).contains { piece in
      piece.first != UInt8(ascii: "[") && piece.contains { (0x41...0x5A).contains($0) }
    }
  }
}
