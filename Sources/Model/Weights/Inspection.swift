import Foundation

/// What a file or folder of weights is: the core of `lockstep inspect`.
///
/// Only headers are read. Models of another family and weights without a configuration are described
/// as well, with what keeps Lockstep from training them.
package struct Inspection: Sendable {
  package let location: String
  package let format: ModelFolder.Format
  /// "BERT", or nil when the weights are another family's or their configuration is missing or wrong.
  package let family: String?
  /// Why Lockstep cannot train from these weights; empty when it can.
  package let obstacles: [String]
  package let warnings: [String]
  package let configuration: BertConfiguration?
  package let dialect: Dialect
  /// Lines of `vocab.txt`, if it is there.
  package let vocabularyLines: Int?
  package let report: LoadReport
  /// Elements of all tensors but the optimizer's and derived ones.
  package let parameterCount: Int
  /// Bytes of all tensors.
  package let byteCount: Int

  /// The sum, or the largest number there is: partitioned variables may claim sizes that no file has.
  private static func sum(_ values: [Int]) -> Int {
    values.reduce(0) {
      let (sum, overflow) = $0.addingReportingOverflow($1)
      return overflow ? .max : sum
    }
  }

  /// Throws only where not even the headers can be read.
  package init(_ url: URL, dialect: Dialect) throws {
    let place = try WeightsLocation(url)
    let source = try place.open()
    let index = try TensorIndex(source, format: place.format)
    location = source.location
    format = place.format
    self.dialect = dialect
    byteCount = Self.sum(source.tensors.map(\.byteCount))
    let tensors = index.model.values.map(\.tensor) + index.unknown
    // Only shapes of known types were checked for overflow.
    parameterCount = Self.sum(
      tensors.map { $0.elementType == nil ? 0 : $0.shape.reduce(1, *) })

    var obstacles: [String] = [], warnings: [String] = []
    var configuration: BertConfiguration?
    do {
      try ModelFamily.check(names: source.tensors.map(\.name), file: location)
      (configuration, _, warnings) = try BertConfiguration.read(
        place.configuration(), dialect: dialect)
    } catch let error as WeightsError {
      obstacles.append(error.description)
    }
    var table = ParameterTable()
    if let configuration {
      // The pooler belongs to a pretrained BERT; whether a task reads it is the task's choice.
      table = ParameterTable(configuration, head: nil)
      let width = configuration.hiddenSize
      table.add("bert.pooler.dense.weight", [width, width], decays: true)
      table.add("bert.pooler.dense.bias", [width], decays: false)
    }
    report = LoadReport(index, table: table, configuration: configuration)
    if !report.missingFromEncoder.isEmpty {
      obstacles.append(
        "\(report.missingFromEncoder.count) tensors of the encoder are missing or of another shape")
    }
    let vocabulary = place.folder.appending(path: "vocab.txt")
    vocabularyLines = try Self.lines(of: vocabulary)
    if let lines = vocabularyLines, let size = configuration?.vocabularySize, lines != size {
      let sentence = "vocab.txt holds \(lines) lines where vocab_size is \(size)"
      if lines > size { obstacles.append(sentence) } else { warnings.append(sentence) }
    }
    family = configuration == nil ? nil : "BERT"
    self.configuration = configuration
    self.obstacles = obstacles
    self.warnings = warnings
  }

  /// Lines end at byte 0x0A only: vocabularies hold other line breaks as pieces.
  private static func lines(of url: URL) throws -> Int? {
    guard FileManager.default.fileExists(atPath: url.path) else { return nil }
    let bytes = try InputFile.contents(of: url)
    return bytes.count { $0 == 0x0A } + (bytes.isEmpty || bytes.last == 0x0A ? 0 : 1)
  }
}

extension Inspection {
  /// The inspection as one object; equal inspections give equal text.
  package var json: JSONValue {
    func texts(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }
    func shape(_ shape: [Int]?) -> JSONValue {
      shape.map { .array($0.map { JSONValue($0) }) } ?? .null
    }
    func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
    func items(_ items: [LoadReport.Item]) -> JSONValue {
      .array(
        items.map {
          .object([
            .init("name", .string($0.name)), .init("fileName", text($0.fileName)),
            .init("type", text($0.typeName)), .init("expectedShape", shape($0.expected)),
            .init("foundShape", shape($0.found)), .init("cause", text($0.cause)),
          ])
        })
    }
    return .object([
      .init("location", .string(location)), .init("format", .string(format.rawValue)),
      .init("family", text(family)), .init("dialect", .string(dialect.rawValue)),
      .init("obstacles", texts(obstacles)), .init("warnings", texts(warnings)),
      .init("configuration", configuration.map(Self.json) ?? .null),
      .init("vocabularyLines", vocabularyLines.map { JSONValue($0) } ?? .null),
      .init("parameterCount", JSONValue(parameterCount)), .init("byteCount", JSONValue(byteCount)),
      .init("found", items(report.found)), .init("missing", items(report.missing)),
      .init("extra", items(report.extra)),
    ])
  }

  private static func json(_ configuration: BertConfiguration) -> JSONValue {
    .object([
      .init("vocabularySize", JSONValue(configuration.vocabularySize)),
      .init("hiddenSize", JSONValue(configuration.hiddenSize)),
      .init("layerCount", JSONValue(configuration.layerCount)),
      .init("headCount", JSONValue(configuration.headCount)),
      .init("intermediateSize", JSONValue(configuration.intermediateSize)),
      .init("maximumPositions", JSONValue(configuration.maximumPositions)),
      .init("segmentCount", JSONValue(configuration.segmentCount)),
      .init("activation", .string(configuration.activation.rawValue)),
      .init("layerNormEpsilon", JSONValue(configuration.layerNormEpsilon)),
      .init("hiddenDropout", JSONValue(configuration.hiddenDropout)),
      .init("attentionDropout", JSONValue(configuration.attentionDropout)),
      .init("embeddingDropoutBeforeNorm", .bool(configuration.embeddingDropoutBeforeNorm)),
      .init("initializerRange", JSONValue(configuration.initializerRange)),
    ])
  }

  /// The inspection for people: a summary, then a table of all tensors.
  package var text: String {
    var lines = ["\(location): \(family ?? "not a model Lockstep trains"), \(format.rawValue)"]
    if let c = configuration {
      lines.append(
        "configuration  \(c.layerCount) layers, hidden \(c.hiddenSize), \(c.headCount) heads, intermediate \(c.intermediateSize), "
          + "\(c.vocabularySize) pieces, \(c.maximumPositions) positions, \(c.segmentCount) segments"
      )
      lines.append(
        "numerics       dialect \(dialect.rawValue): \(c.activation.rawValue), epsilon \(c.layerNormEpsilon), dropout \(c.hiddenDropout), "
          + "attention dropout \(c.attentionDropout)\(c.embeddingDropoutBeforeNorm ? ", embeddings dropped before their norm" : "")"
      )
    }
    lines.append(
      "vocabulary     \(vocabularyLines.map { "\($0) lines in vocab.txt" } ?? "no vocab.txt")")
    lines.append("parameters     \(parameterCount) in \(byteCount) bytes of tensors")
    lines.append(
      "tensors        \(report.found.count) found, \(report.missing.count) missing, \(report.extra.count) extra"
    )
    lines += obstacles.map { "obstacle       \($0)" } + warnings.map { "warning        \($0)" }
    lines.append("")
    let rows =
      [["state", "tensor", "type", "model", "file", "cause"]]
      + [("found", report.found), ("missing", report.missing), ("extra", report.extra)].flatMap {
        state, items in
        items.map { item in
          [
            state, item.name, item.typeName ?? "-", Self.text(item.expected),
            Self.text(item.found), item.cause ?? "",
          ]
        }
      }
    let widths = rows[0].indices.map { column in rows.map { $0[column].utf8.count }.max() ?? 0 }
    for row in rows {
      let cells = zip(row, widths).map { cell, width in
        cell + String(repeating: " ", count: max(0, width - cell.utf8.count))
      }
      let line = cells.joined(separator: "  ")
      lines.append(String(line[...(line.lastIndex { $0 != " " } ?? line.startIndex)]))
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func text(_ shape: [Int]?) -> String {
    shape.map { "[\($0.map(String.init).joined(separator: ", "))]" } ?? "-"
  }
}
