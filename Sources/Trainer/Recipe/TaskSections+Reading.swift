import Model
import Text

extension RecipeReader {
  /// Notes the first key of this section unless it applies.
  func refuse(unless applies: Bool, _ condition: String) {
    guard !applies, let key = givenKeys.first else { return }
    findings.add(
      place(of: key), "`\(path(of: key))` applies to `\(condition)`. Leave it out.")
  }
}

extension Recipe.Tagging {
  init(_ reader: RecipeReader, task: Recipe.Task, tokenizer: TokenizerKind, dialect: Dialect) {
    head = reader.choice("head", Head.self) ?? .crf
    unit = reader.choice("unit", Unit.self) ?? (tokenizer == .character ? .characters : .words)
    pieces = reader.choice("pieces", Pieces.self) ?? (head == .softmax ? .first : .all)
    if head == .globalPointer, pieces == .first {
      reader.findings.add(
        reader.place(of: "pieces"),
        "`tagging.pieces: first` does not go with `tagging.head: global-pointer`, which reads all pieces. Leave it out."
      )
    }
    let multiplier = reader.number("crfMultiplier", .positive)
    if multiplier != nil, head != .crf {
      reader.findings.add(
        reader.place(of: "crfMultiplier"),
        "`tagging.crfMultiplier` applies to `tagging.head: crf`. Leave it out.")
    }
    crfMultiplier = multiplier ?? (dialect == .bert4keras ? 1000 : 100)
    storesMultiplied = dialect == .bert4keras
    continuation = reader.choice("continuation", BIOFile.Continuation.self) ?? .strict
    types = reader.strings("types")
    reader.refuse(unless: task == .tagging, "task: tagging")
    reader.finish()
  }

  func write(to writer: inout YAMLWriter) {
    writer.write("head", head.rawValue)
    writer.write("unit", unit.rawValue)
    writer.write("pieces", pieces.rawValue)
    if head == .crf { writer.write("crfMultiplier", crfMultiplier) }
    writer.write("continuation", continuation.rawValue)
    writer.write("types", types)
  }
}

extension Recipe.Relation {
  /// `classification`: the section that says whether the cascade's sigmoids are clipped.
  init(
    _ reader: RecipeReader, task: Recipe.Task, dialect: Dialect, classification: RecipeReader
  ) {
    let isBert4keras = dialect == .bert4keras
    method = reader.choice("method", Method.self).flatMap { $0 == .cascade ? nil : $0 }
    for key in ["conditioning", "startThreshold", "endThreshold", "subjectPower", "objectPower"]
    where task == .relation && method == .gplinker && reader.has(key) {
      reader.findings.add(
        reader.place(of: key),
        "`relation.\(key)` applies to `relation.method: cascade`. Leave it out.")
    }
    if task == .relation, method == .gplinker, classification.has("clipped") {
      reader.findings.add(
        classification.place(of: "clipped"),
        "`classification.clipped` applies to `relation.method: cascade`, whose outputs are sigmoids. Leave it out."
      )
    }
    conditioning =
      reader.choice("conditioning", Head.Conditioning.self) ?? (isBert4keras ? .preNorm : .mean)
    startThreshold = reader.number("startThreshold", .fraction) ?? (isBert4keras ? 0.6 : 0.5)
    endThreshold = reader.number("endThreshold", .fraction) ?? (isBert4keras ? 0.5 : 0.4)
    // A power of 1 is named where the dialect has another one.
    let isCascade = method == nil
    func power(_ key: String, ofDialect usual: Int) -> Int? {
      let power = reader.integer(key, 1...8) ?? usual
      return isCascade && (power > 1 || usual > 1) ? power : nil
    }
    subjectPower = power("subjectPower", ofDialect: isBert4keras ? 2 : 1)
    objectPower = power("objectPower", ofDialect: isBert4keras ? 4 : 1)
    matching =
      reader.choice("matching", Recipe.Matching.self) ?? (dialect == .seed2019 ? .tokens : .text)
    symmetric = reader.texts("symmetric") ?? [:]
    excludedSubjects = reader.texts("excludedSubjects")
    repairsTitles = reader.flag("repairTitles") ?? false
    reader.refuse(unless: task == .relation, "task: relation")
    reader.finish()
  }

  func write(to writer: inout YAMLWriter) {
    if let method {
      writer.write("method", method.rawValue)
    } else {
      writer.write("conditioning", conditioning.rawValue)
      writer.write("startThreshold", startThreshold)
      writer.write("endThreshold", endThreshold)
      if let subjectPower { writer.write("subjectPower", subjectPower) }
      if let objectPower { writer.write("objectPower", objectPower) }
    }
    writer.write("matching", matching.rawValue)
    if !symmetric.isEmpty { writer.write("symmetric", symmetric) }
    if let excludedSubjects, !excludedSubjects.isEmpty {
      writer.write("excludedSubjects", excludedSubjects)
    }
    writer.write("repairTitles", repairsTitles)
  }
}

extension Recipe.EventSubject {
  init(_ reader: RecipeReader, task: Recipe.Task, dialect: Dialect) {
    matching =
      reader.choice("matching", Recipe.Matching.self) ?? (dialect == .seed2019 ? .tokens : .text)
    dropped = reader.strings("drop") ?? []
    reader.refuse(unless: task == .eventSubject, "task: event-subject")
    reader.finish()
  }

  func write(to writer: inout YAMLWriter) {
    writer.write("matching", matching.rawValue)
    writer.write("drop", dropped)
  }
}

extension Recipe.Reading {
  init(_ reader: RecipeReader, task: Recipe.Task, dialect: Dialect) {
    maxQuestion = reader.integer("maxQuestion", 1...4096) ?? 64
    stride = reader.integer("stride", (dialect == .google ? 1 : 0)...4096) ?? 128
    maxAnswer = reader.integer("maxAnswer", 1...4096) ?? 30
    best = reader.integer("best", 1...1000) ?? 20
    nullThreshold = reader.number("nullThreshold", .any) ?? 0
    metric = reader.choice("metric", AnswerMetrics.Kind.self) ?? .squad
    reader.refuse(unless: task == .reading, "task: reading")
    reader.finish()
  }

  func write(to writer: inout YAMLWriter) {
    writer.write("maxQuestion", maxQuestion)
    writer.write("stride", stride)
    writer.write("maxAnswer", maxAnswer)
    writer.write("best", best)
    writer.write("nullThreshold", nullThreshold)
    writer.write("metric", metric.rawValue)
  }
}

extension Recipe.Masking {
  init(_ reader: RecipeReader, task: Recipe.Task) {
    share = reader.number("share", .fraction) ?? 0.15
    wholeWords = reader.flag("wholeWords") ?? false
    reader.refuse(unless: task == .maskedLM, "task: masked-lm")
    reader.finish()
  }

  func write(to writer: inout YAMLWriter) {
    writer.write("share", share)
    writer.write("wholeWords", wholeWords)
  }
}

extension Recipe.Pair {
  init(_ reader: RecipeReader, task: Recipe.Task, hasSecondText: Bool) {
    mode = reader.choice("mode", Mode.self) ?? .joined
    let given = reader.choice("comparison", Head.Comparison.self)
    comparison = given ?? (task == .regression ? .cosine : .difference)
    if given != nil, mode == .joined {
      reader.findings.add(
        reader.place(of: "comparison"),
        "`pair.comparison` applies to `pair.mode: siamese`. Leave it out, or set the mode.")
    }
    if comparison == .cosine, mode == .siamese, task == .pair {
      reader.findings.add(
        reader.place(of: "comparison"),
        "`pair.comparison: cosine` gives a number. Set `task: regression`, or compare by difference or concatenation."
      )
    }
    reader.refuse(
      unless: task == .pair || task == .regression && hasSecondText,
      "task: pair, or regression of two texts")
    reader.finish()
  }

  func write(to writer: inout YAMLWriter) {
    writer.write("mode", mode.rawValue)
    if mode == .siamese { writer.write("comparison", comparison.rawValue) }
  }
}
