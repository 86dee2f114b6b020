import Foundation

/// A pretrained or fine-tuned BERT on disk: its configuration, its weights (not yet read) and what
/// lies beside them.
package struct ModelFolder: Sendable {
  package enum Format: String, Sendable, Codable {
    case huggingFace = "safetensors"
    case tensorFlow = "TensorFlow V2 checkpoint"
  }

  /// The folder that holds the weights.
  package let folder: URL
  package let format: Format
  package let dialect: Dialect
  package let source: any TensorSource
  package var configuration: BertConfiguration
  package let configurationURL: URL
  /// The configuration file as it stands, for what Lockstep itself does not read (labels, architectures).
  package let configurationJSON: JSONValue
  /// `vocab.txt`, if it is there.
  package let vocabularyURL: URL?
  /// `do_lower_case` of `tokenizer_config.json`, if it says so.
  package let lowercase: Bool?
  /// Sentences about what was not understood or overridden; each is worth printing once.
  package let warnings: [String]
  let index: TensorIndex

  /// The path of the weights, as errors name it.
  package var location: String { source.location }

  /// Opens a folder, a checkpoint's prefix or any of its files, or a safetensors file.
  ///
  /// The configuration lies beside the weights. Nothing is loaded, but everything the files claim is checked, and the
  /// encoder's tensors must have the shapes of the configuration.
  package static func open(_ url: URL, dialect: Dialect) throws -> ModelFolder {
    let model = try ModelFolder(WeightsLocation(url), dialect: dialect)
    try model.checkEncoder(
      LoadReport(
        model.index, table: ParameterTable(model.configuration, head: nil),
        configuration: model.configuration))
    return model
  }

  init(_ location: WeightsLocation, dialect: Dialect) throws {
    self.dialect = dialect
    folder = location.folder
    format = location.format
    source = try location.open()
    try ModelFamily.check(names: source.tensors.map(\.name), file: source.location)
    index = try TensorIndex(source, format: format)
    configurationURL = try location.configuration()
    (configuration, configurationJSON, warnings) = try BertConfiguration.read(
      configurationURL, dialect: dialect)
    let vocabulary = folder.appending(path: "vocab.txt")
    vocabularyURL = FileManager.default.fileExists(atPath: vocabulary.path) ? vocabulary : nil
    lowercase = try Self.lowercase(in: folder)
  }

  private static func lowercase(in folder: URL) throws -> Bool? {
    let url = folder.appending(path: "tokenizer_config.json")
    guard FileManager.default.fileExists(atPath: url.path) else { return nil }
    let json = try JSONValue(
      parsing: InputFile.contents(of: url, limit: 1 << 24), file: url.relativePath)
    guard let value = json["do_lower_case"], value != .null else { return nil }
    guard let lowercase = value.bool else {
      throw WeightsError(
        .configuration, url.relativePath, "do_lower_case is \(value.kind)", "give true or false")
    }
    return lowercase
  }

  /// Throws when a tensor of the encoder is missing or of another shape; all of them are named, up to ten.
  func checkEncoder(_ report: LoadReport) throws {
    let missing = report.missingFromEncoder
    guard !missing.isEmpty else { return }
    let shown = missing.prefix(10).map { item in
      let expected = item.expected ?? []
      let found = item.found.map { "\($0) in the file" } ?? "absent"
      return "\(item.name) is \(found) and \(expected) by the configuration (\(item.cause ?? ""))"
    }
    let more = missing.count > 10 ? ", and \(missing.count - 10) more" : ""
    throw WeightsError(
      .shape, location,
      "does not fit \(configurationURL.lastPathComponent): " + shown.joined(separator: ", ") + more,
      "use the configuration that belongs to these weights")
  }
}
