import Foundation
import Model
import Text

extension Recipe {
  /// The recipe as YAML with every default written out.
  ///
  /// The same recipe gives the same bytes, and reading them gives the same recipe. Paths are
  /// absolute, so that it means the same everywhere.
  package var yaml: String {
    var writer = YAMLWriter()
    writer.write("task", task.rawValue)
    if [.classification, .pair].contains(task) {
      writer.section("classification") { $0.write(classification) }
    }
    // Of relations the dialect says it, unless the recipe does.
    let dialectClips = RecipeDefaults(dialect: model.dialect, task: task).isClipped
    if task == .relation, relation.method != .gplinker, classification.isClipped != dialectClips {
      writer.section("classification") { $0.write("clipped", classification.isClipped) }
    }
    switch task {
    case .classification: break
    case .pair: writer.section("pair", pair.write)
    case .regression: if data.columns.text2 != nil { writer.section("pair", pair.write) }
    case .tagging: writer.section("tagging", tagging.write)
    case .relation: writer.section("relation", relation.write)
    case .eventSubject: writer.section("eventSubject", eventSubject.write)
    case .reading: writer.section("reading", reading.write)
    case .maskedLM: writer.section("masking", masking.write)
    }
    writer.section("head") {
      let isSiamese = pair.mode == .siamese
      if HeadSection.hasPooler(task, siamese: isSiamese) { $0.write("pooler", head.usesPooler) }
      if HeadSection.hasDropout(task, siamese: isSiamese) { $0.write("dropout", head.dropout) }
      $0.write("initialization", head.initialization.rawValue)
    }
    writer.section("model") { $0.write(model) }
    writer.section("data") { $0.write(data) }
    writer.section("optimizer") {
      $0.write("name", optimizer.name.rawValue)
      $0.write("learningRate", optimizer.learningRate)
      $0.write("betas", literal: "[\(optimizer.beta1), \(optimizer.beta2)]")
      $0.write("epsilon", optimizer.epsilon)
      $0.write("weightDecay", optimizer.weightDecay)
      $0.write("clipNorm", optimizer.clipNorm ?? 0)
      if !optimizer.multipliers.isEmpty { $0.write("multipliers", optimizer.multipliers) }
      if !optimizer.prefixMultipliers.isEmpty {
        $0.write("prefixMultipliers", optimizer.prefixMultipliers)
      }
      $0.write("layerDecay", optimizer.layerDecay)
    }
    writer.section("schedule") { $0.write(schedule) }
    if !training.isEmpty { writer.section("training", training.write) }
    writer.section("batch") {
      $0.write("size", batch.size)
      $0.write("leaves", batch.leaves)
      $0.write("leavesAtOnce", batch.leavesAtOnce)
      if let recomputes = batch.recomputes { $0.write("recompute", recomputes) }
      $0.write("dropLast", batch.dropsLast)
    }
    switch length {
    case .epochs(let count): writer.write("epochs", count)
    case .steps(let count): writer.write("steps", count)
    }
    writer.write("seed", Int(seed))
    if data.dev != nil || data.splitDev != nil {
      writer.section("evaluation") {
        $0.write("everySteps", evaluation.everySteps)
        $0.write("metric", evaluation.metric)
        $0.write("patience", evaluation.patience)
      }
    }
    writer.section("checkpoint") {
      $0.write("everySteps", checkpoint.everySteps)
      $0.write("everyMinutes", checkpoint.everyMinutes)
      $0.write("keep", checkpoint.keep)
    }
    writer.write("threads", threads)
    writer.write("memoryLimit", memoryLimit)
    return writer.text
  }
}

extension Recipe.HeadSection {
  /// Whether the head of `task` may have a pooler.
  static func hasPooler(_ task: Recipe.Task, siamese: Bool) -> Bool {
    [.classification, .pair, .regression].contains(task) && !siamese
  }

  /// Whether the head of `task` may drop parts of what it reads.
  static func hasDropout(_ task: Recipe.Task, siamese: Bool) -> Bool {
    task != .relation && task != .maskedLM && !siamese
  }
}

/// Writes the few forms of YAML that a recipe needs; absent values are left out.
struct YAMLWriter {
  private(set) var text = ""
  private var indentation = ""

  mutating func section(_ key: String, _ body: (inout YAMLWriter) -> Void) {
    text += "\(indentation)\(key):\n"
    indentation += "  "
    body(&self)
    indentation.removeLast(2)
  }

  mutating func write(_ key: String, literal: String) {
    text += "\(indentation)\(key): \(literal)\n"
  }

  mutating func write(_ key: String, _ value: String?) {
    if let value { write(key, literal: Self.quoted(value)) }
  }

  mutating func write(_ key: String, _ value: Int?) {
    if let value { write(key, literal: "\(value)") }
  }

  mutating func write(_ key: String, _ value: Double?) {
    if let value { write(key, literal: "\(value)") }
  }

  mutating func write(_ key: String, _ value: Bool) { write(key, literal: "\(value)") }

  mutating func write(_ key: String, _ values: [String]?) {
    if let values {
      write(key, literal: "[\(values.map(Self.quoted).joined(separator: ", "))]")
    }
  }

  /// A section on one line, by name.
  mutating func write(_ key: String, _ values: [String: String]) {
    let members = values.sorted { $0.key < $1.key }.map {
      "\(Self.quoted($0.key)): \(Self.quoted($0.value))"
    }
    write(key, literal: "{\(members.joined(separator: ", "))}")
  }

  /// A section on one line, by name.
  mutating func write(_ key: String, _ values: [String: Double]) {
    let members = values.sorted { $0.key < $1.key }.map { "\(Self.quoted($0.key)): \($0.value)" }
    write(key, literal: "{\(members.joined(separator: ", "))}")
  }

  /// Plain where that is surely a text, double-quoted elsewhere.
  static func quoted(_ text: String) -> String {
    let plain = text.utf8.allSatisfy {
      switch $0 {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."),
        UInt8(ascii: "_"), UInt8(ascii: "-"):
        true
      default: false
      }
    }
    let first = text.utf8.first ?? 0
    let startsAsWord = first == UInt8(ascii: "/") || (first | 0x20 >= 0x61 && first | 0x20 <= 0x7A)
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
    if plain, startsAsWord, !reserved.contains(text.lowercased()) { return text }
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\n": quoted += "\\n"
      case "\t": quoted += "\\t"
      case "\r": quoted += "\\r"
      case _
      where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
        || scalar.value == 0x2028 || scalar.value == 0x2029 || scalar.value == 0xFEFF:
        let digits = String(scalar.value, radix: 16, uppercase: true)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}

extension YAMLWriter {
  mutating func write(_ classification: Recipe.Classification) {
    write("kind", classification.kind.rawValue)
    guard classification.kind != .softmax else { return }
    write("clipped", classification.isClipped)
    if classification.kind == .multiLabel { write("separator", classification.separator) }
    write("threshold", classification.threshold)
  }

  mutating func write(_ model: Recipe.ModelSection) {
    write("path", model.path.path)
    write("dialect", model.dialect.rawValue)
    write("initialize", model.initialize.rawValue)
    write("hiddenDropout", model.hiddenDropout)
    write("attentionDropout", model.attentionDropout)
    write("activation", model.activation.map { $0 == .geluErf ? "erf" : "tanh" })
    write("layerNormEpsilon", model.layerNormEpsilon)
    write("frozen", model.frozen)
    write("freezeEmbeddings", model.freezesEmbeddings)
    write("frozenLayers", model.frozenLayers)
  }

  mutating func write(_ data: Recipe.DataSection) {
    write("train", data.train.path)
    write("dev", data.dev?.path)
    write("test", data.test?.path)
    if data.splitDev != nil || data.splitTest != nil {
      section("split") {
        $0.write("dev", data.splitDev)
        $0.write("test", data.splitTest)
        if (data.splitDev ?? 0) + (data.splitTest ?? 0) > 0 {
          $0.write("seed", Int(data.splitSeed))
        }
      }
    }
    write("dropDuplicates", data.dropsDuplicates)
    write("dropLeaked", data.dropsLeaked)
    write("skipBad", data.skipsBad)
    write("limit", data.limit)
    write("format", data.format?.rawValue)
    write("header", data.header.rawValue)
    section("columns") {
      $0.write("text", data.columns.text)
      $0.write("text2", data.columns.text2)
      $0.write("label", data.columns.label)
      $0.write("type", data.columns.type)
      $0.write("id", data.columns.id)
    }
    write("labels", data.labels)
    write("maxLength", data.maxLength)
    write("maxCharacters", data.maxCharacters)
    write("evaluationLength", data.evaluationLength)
    write("truncation", data.truncation.rawValue)
    write("tokenizer", data.tokenizer.rawValue)
    if let lowercase = data.lowercase { write("lowercase", lowercase) }
  }

  mutating func write(_ schedule: Recipe.ScheduleSection) {
    write("name", schedule.name.rawValue)
    write("warmupFraction", schedule.warmupFraction)
    write("warmupSteps", schedule.warmupSteps)
    write("minimumRate", schedule.minimumRate)
    if !schedule.points.isEmpty {
      let points = schedule.points.map { "\($0.step): \($0.multiplier)" }
      write("points", literal: "{\(points.joined(separator: ", "))}")
    }
  }
}
