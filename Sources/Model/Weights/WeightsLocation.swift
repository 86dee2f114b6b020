import Foundation

/// Where weights lie on disk and in which format, found from whatever the user named.
struct WeightsLocation {
  let format: ModelFolder.Format
  /// The safetensors file, its index of shards, or a checkpoint's prefix.
  let weights: URL
  var folder: URL { weights.deletingLastPathComponent() }

  private static let singleName = "model.safetensors"
  private static let shardIndexName = "model.safetensors.index.json"

  /// `url` may be a folder, a safetensors file, an index of shards, or a checkpoint's prefix or one of its files.
  init(_ url: URL) throws {
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder)
    let name = url.lastPathComponent
    if exists && isFolder.boolValue {
      self = try Self.inFolder(url)
    } else if name.hasSuffix(".safetensors.index.json") || name.hasSuffix(".safetensors") {
      self.init(.huggingFace, url)
    } else if name.hasSuffix(".index") {
      self.init(.tensorFlow, Self.sibling(url, name.dropLast(6)))
    } else if let data = name.range(of: ".data-", options: .backwards), name.contains("-of-") {
      self.init(.tensorFlow, Self.sibling(url, name[..<data.lowerBound]))
    } else if FileManager.default.fileExists(atPath: url.path + ".index") {
      self.init(.tensorFlow, url)
    } else if exists {
      throw try Self.refusal(of: url)
    } else {
      throw WeightsError(
        .missing, url.relativePath, "does not exist",
        "name a model folder, a safetensors file or the prefix of a TensorFlow checkpoint")
    }
  }

  private init(_ format: ModelFolder.Format, _ weights: URL) {
    self.format = format
    self.weights = weights
  }

  private static func sibling(_ url: URL, _ name: some StringProtocol) -> URL {
    url.deletingLastPathComponent().appending(path: String(name))
  }

  private static func inFolder(_ folder: URL) throws -> WeightsLocation {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    } catch {
      throw WeightsError(
        .missing, folder.relativePath, "cannot be listed", "check its permissions")
    }
    var candidates: [WeightsLocation] = []
    // A single file goes before shards, as in transformers; other names must be the only one.
    if names.contains(singleName) {
      candidates.append(.init(.huggingFace, folder.appending(path: singleName)))
    } else if names.contains(shardIndexName) {
      candidates.append(.init(.huggingFace, folder.appending(path: shardIndexName)))
    } else {
      for name in names where name.hasSuffix(".safetensors") {
        candidates.append(.init(.huggingFace, folder.appending(path: name)))
      }
    }
    let prefixes = names.filter { $0.hasSuffix(".index") }.map { String($0.dropLast(6)) }
    if prefixes.count > 1, let latest = try CheckpointState.latest(in: folder) {
      candidates.append(.init(.tensorFlow, latest))
    } else {
      candidates += prefixes.map { .init(.tensorFlow, folder.appending(path: $0)) }
    }
    if candidates.count == 1 { return candidates[0] }
    guard candidates.isEmpty else {
      let list = candidates.map(\.weights.lastPathComponent).joined(separator: ", ")
      throw WeightsError(
        .ambiguous, folder.relativePath, "holds several weights: \(list)",
        "name one of them instead of the folder")
    }
    let foreign = names.first {
      $0.hasSuffix(".bin") || $0.hasSuffix(".h5") || $0.hasSuffix(".weights") || $0.hasSuffix(".pt")
    }
    if let foreign { throw try refusal(of: folder.appending(path: foreign)) }
    throw WeightsError(
      .missing, folder.relativePath, "holds no weights",
      "put model.safetensors, or the .index and .data files of a TensorFlow checkpoint, there")
  }

  /// Why a file that is neither safetensors nor part of a V2 checkpoint cannot be read.
  private static func refusal(of url: URL) throws -> WeightsError {
    let file = try InputFile(url)
    let head = try file.bytes(at: 0, count: min(8, file.byteCount))
    let tail = try file.bytes(at: max(0, file.byteCount - 8), count: min(8, file.byteCount))
    let magic = (0..<8).map { UInt8(truncatingIfNeeded: CheckpointTable.magic >> (8 * $0)) }
    if tail == magic {
      return WeightsError(
        .version, file.path, "is a TensorFlow V1 checkpoint",
        "load it in TensorFlow and save it with tf.compat.v1.train.Saver, which writes V2 (.index and .data files)"
      )
    }
    if head.starts(with: [0x89] + Array("HDF".utf8)) {
      return WeightsError(
        .format, file.path,
        "is a Keras file (HDF5), whose layout depends on the program that wrote it",
        "load it in that program and save the weights as a TensorFlow checkpoint or as safetensors")
    }
    if head.starts(with: Array("PK".utf8)) || head.first == 0x80 {
      return WeightsError(
        .format, file.path,
        "is a PyTorch file (pickle), which can run any program when it is opened",
        "load it with transformers and call save_pretrained, which writes safetensors")
    }
    return WeightsError(
      .format, file.path, "is neither safetensors nor part of a TensorFlow checkpoint",
      "name a model folder, a safetensors file or a checkpoint's prefix")
  }

  /// Opens the weights; every claim of their headers is checked.
  func open() throws -> any TensorSource {
    switch format {
    case .tensorFlow: try TensorFlowCheckpoint(prefix: weights)
    case .huggingFace where weights.pathExtension == "json": try ShardedSafetensors(weights)
    case .huggingFace: try Safetensors(weights)
    }
  }

  /// The configuration beside the weights: the format's own name first.
  func configuration() throws -> URL {
    let names = ["config.json", "bert_config.json"]
    for name in format == .huggingFace ? names : names.reversed() {
      let url = folder.appending(path: name)
      if FileManager.default.fileExists(atPath: url.path) { return url }
    }
    throw WeightsError(
      .missing, folder.relativePath, "holds no config.json or bert_config.json",
      "put the configuration that belongs to the weights beside them")
  }
}
