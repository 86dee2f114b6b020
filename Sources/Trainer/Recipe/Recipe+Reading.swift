import Foundation
import Model
import Text

extension Recipe {
  /// Reads the recipe at `url` with `overrides` of the form `key.path=value` applied.
  ///
  /// Paths in the file are relative to the file, paths in overrides to the working directory.
  /// - Throws: `RecipeErrors` with everything that is wrong, in the order of the file's sections.
  package init(contentsOf url: URL, overrides: [String] = []) throws(RecipeErrors) {
    try self.init(
      LocatedNode.read(url), folder: url.deletingLastPathComponent(), overrides: overrides)
  }

  /// Reads `yaml`, whose paths are relative to `folder`; `name` stands in messages.
  package init(
    yaml: String, name: String = "recipe.yaml", folder: URL, overrides: [String] = []
  ) throws(RecipeErrors) {
    try self.init(LocatedNode.parse(yaml, file: name), folder: folder, overrides: overrides)
  }

  private init(
    _ document: LocatedNode, folder: URL, overrides: [String]
  ) throws(RecipeErrors) {
    var document = document
    for override in overrides { document = try document.setting(override) }
    let reader = RecipeReader(document)
    let recipe = Recipe(reader, folder: folder)
    guard reader.findings.problems.isEmpty, let recipe else {
      throw RecipeErrors(reader.findings.problems)
    }
    self = recipe
  }

  /// The full paths of all keys that a recipe may have, as `Documentation/Recipes.md` lists them.
  package static let keys: [String] = {
    let reader = RecipeReader(
      LocatedNode(node: .section([]), place: RecipePlace("")))
    _ = Recipe(reader, folder: URL(filePath: "/"))
    return reader.findings.keys
  }()

  /// Reads all sections; nil if a key without a default is missing (noted).
  ///
  /// Every key is asked for on every path through here, so that `keys` is complete and an unknown
  /// key is one that no recipe could have.
  private init?(_ root: RecipeReader, folder: URL) {
    let task = root.choice("task", Task.self)
    if task == nil, !root.has("task") {
      root.findings.add(
        root.place,
        "`task` is missing: one of \(Task.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    let model = root.section("model")
    let dialect = model.choice("dialect", Dialect.self) ?? .huggingface
    let defaults = RecipeDefaults(dialect: dialect, task: task ?? .classification)

    let classification = root.section("classification")
    self.task = task ?? .classification
    self.classification = Classification(classification, task: self.task, defaults: defaults)
    let modelSection = ModelSection(model, dialect: dialect, folder: folder)
    let dataSection = DataSection(
      root.section("data"), task: self.task, kind: self.classification.kind, folder: folder,
      defaults: defaults)
    let columns = dataSection?.columns
    pair = Pair(
      root.section("pair"), task: self.task, hasSecondText: columns?.text2 != nil)
    head = HeadSection(
      root.section("head"), task: self.task, siamese: pair.mode == .siamese, defaults: defaults)
    tagging = Tagging(
      root.section("tagging"), task: self.task, tokenizer: dataSection?.tokenizer ?? .huggingface,
      dialect: dialect)
    relation = Relation(
      root.section("relation"), task: self.task, dialect: dialect, classification: classification)
    eventSubject = EventSubject(root.section("eventSubject"), task: self.task, dialect: dialect)
    reading = Reading(root.section("reading"), task: self.task, dialect: dialect)
    masking = Masking(root.section("masking"), task: self.task)
    training = Training(
      root.section("training"), task: self.task, kind: self.classification.kind,
      siamese: pair.mode == .siamese,
      smoothsTags: self.task == .tagging && tagging.head == .softmax)
    optimizer = OptimizerSection(root.section("optimizer"), defaults: defaults)
    schedule = ScheduleSection(root.section("schedule"), defaults: defaults)
    batch = Batch(root.section("batch"))
    length = Length(root, defaults: defaults)
    seed = UInt64(root.integer("seed", 0...Int.max) ?? 1)
    evaluation = Evaluation(
      root.section("evaluation"),
      metrics: self.task.metrics(kind: self.classification.kind), task: self.task,
      hasDev: dataSection.map { $0.dev != nil || ($0.splitDev ?? 0) > 0 } ?? false)
    checkpoint = Checkpoints(root.section("checkpoint"))
    threads = root.integer("threads", 1...1024)
    memoryLimit = root.memory("memoryLimit")
    root.finish()
    guard let modelSection, let dataSection else { return nil }
    self.model = modelSection
    data = dataSection
  }
}

extension Recipe.Classification {
  fileprivate init(_ reader: RecipeReader, task: Recipe.Task, defaults: RecipeDefaults) {
    // Relations are sigmoids that may be clipped as well.
    let keys =
      task == .relation
      ? ["kind", "separator", "threshold"] : ["kind", "clipped", "separator", "threshold"]
    if task != .classification, task != .pair, let given = keys.first(where: reader.has) {
      reader.findings.add(
        reader.place(of: given),
        "`classification.\(given)` does not apply to `task: \(task.rawValue)`. Leave it out.")
    }
    kind = reader.choice("kind", Recipe.ClassificationKind.self) ?? defaults.kind
    let clipped = reader.flag("clipped")
    if clipped == true, kind == .softmax, task != .relation {
      reader.findings.add(
        reader.place(of: "clipped"),
        "`classification.clipped` applies to sigmoid heads. Leave it out, or set `classification.kind: binary-sigmoid`."
      )
    }
    let isSoftmax = kind == .softmax && task != .relation
    isClipped = clipped ?? (isSoftmax ? false : defaults.isClipped)
    let separator = reader.string("separator")
    if separator != nil, kind != .multiLabel {
      reader.findings.add(
        reader.place(of: "separator"),
        "`classification.separator` applies to `kind: multi-label`. Leave it out.")
    }
    if separator == "" {
      reader.findings.add(
        reader.place(of: "separator"), "`classification.separator` must not be empty.")
    }
    self.separator = separator ?? ","
    let threshold = reader.number("threshold", .fraction)
    if threshold != nil, kind == .softmax {
      reader.findings.add(
        reader.place(of: "threshold"),
        "`classification.threshold` applies to sigmoid heads. Leave it out.")
    }
    self.threshold = threshold ?? 0.5
    reader.finish()
  }
}

extension Recipe.HeadSection {
  fileprivate init(
    _ reader: RecipeReader, task: Recipe.Task, siamese: Bool, defaults: RecipeDefaults
  ) {
    usesPooler = reader.flag("pooler") ?? defaults.usesPooler
    dropout = reader.number("dropout", .fraction) ?? defaults.headDropout
    func object(_ key: String, _ applies: Bool) {
      guard reader.has(key), !applies else { return }
      reader.findings.add(
        reader.place(of: key),
        "`head.\(key)` does not apply to \(siamese ? "`pair.mode: siamese`" : "`task: \(task.rawValue)`"). Leave it out."
      )
    }
    object("pooler", Recipe.HeadSection.hasPooler(task, siamese: siamese))
    object("dropout", Recipe.HeadSection.hasDropout(task, siamese: siamese))
    initialization =
      reader.choice("initialization", Recipe.HeadInitialization.self) ?? defaults.initialization
    reader.finish()
  }
}

extension Recipe.ModelSection {
  fileprivate init?(_ reader: RecipeReader, dialect: Dialect, folder: URL) {
    self.dialect = dialect
    let path = reader.path("path", folder: folder, what: "the folder of a model")
    initialize = reader.choice("initialize", Recipe.Initialization.self) ?? .pretrained
    hiddenDropout = reader.number("hiddenDropout", .fraction)
    attentionDropout = reader.number("attentionDropout", .fraction)
    activation = reader.choice("activation", among: ["erf", "tanh"]).map {
      $0 == "erf" ? .geluErf : .geluTanh
    }
    layerNormEpsilon = reader.number("layerNormEpsilon", .positive)
    frozen = reader.strings("frozen") ?? []
    freezesEmbeddings = reader.flag("freezeEmbeddings") ?? false
    frozenLayers = reader.integer("frozenLayers", 0...1024) ?? 0
    reader.finish()
    guard let path else { return nil }
    self.path = path
  }
}

extension Recipe.DataSection {
  fileprivate init?(
    _ reader: RecipeReader, task: Recipe.Task, kind: Recipe.ClassificationKind, folder: URL,
    defaults: RecipeDefaults
  ) {
    let train = reader.path("train", folder: folder, what: "the file of training rows")
    dev = reader.path("dev", folder: folder)
    test = reader.path("test", folder: folder)
    let split = reader.section("split")
    splitDev = split.number("dev", .fraction)
    splitTest = split.number("test", .fraction)
    splitSeed = UInt64(split.integer("seed", 0...Int.max) ?? 1)
    if split.has("seed"), (splitDev ?? 0) + (splitTest ?? 0) == 0 {
      split.findings.add(
        split.place(of: "seed"),
        "`data.split.seed` applies where `data.split.dev` or `data.split.test` is given. Leave it out."
      )
    }
    for (key, isGiven) in [("dev", dev != nil), ("test", test != nil)]
    where split.has(key) && isGiven {
      split.findings.add(
        split.place(of: key), "`data.split.\(key)` and `data.\(key)` both give rows. Leave one out."
      )
    }
    split.finish()
    dropsDuplicates = reader.flag("dropDuplicates") ?? false
    dropsLeaked = reader.flag("dropLeaked") ?? false
    skipsBad = reader.integer("skipBad", 0...Int.max) ?? 0
    limit = reader.integer("limit", 1...Int.max)
    format = reader.choice("format", RowFormat.self)
    header = reader.choice("header", HeaderPolicy.self) ?? .automatic
    columns = Recipe.Columns(reader.section("columns"), task: task)
    labels = reader.strings("labels")
    reader.checkLabels(labels, task: task, kind: kind)
    maxCharacters = reader.integer("maxCharacters", 1...Int.max) ?? defaults.maxCharacters
    maxLength = reader.integer("maxLength", 3...Int.max) ?? defaults.maxLength
    evaluationLength =
      reader.integer("evaluationLength", 3...Int.max) ?? defaults.evaluationLength
    if reader.has("evaluationLength"), task != .relation, task != .eventSubject {
      reader.findings.add(
        reader.place(of: "evaluationLength"),
        "`data.evaluationLength` applies to `task: relation` and `task: event-subject`. Leave it out."
      )
    }
    truncation = reader.truncation("truncation") ?? defaults.truncation
    tokenizer = reader.choice("tokenizer", TokenizerKind.self) ?? defaults.tokenizer
    lowercase = reader.flag("lowercase")
    if lowercase == nil, tokenizer == .character { lowercase = false }
    reader.finish()
    guard let train else { return nil }
    self.train = train
  }
}

extension Recipe.Columns {
  fileprivate init(_ reader: RecipeReader, task: Recipe.Task) {
    text = reader.string("text") ?? (task == .pair ? "text1" : "text")
    let second = reader.string("text2")
    if task != .pair, task != .regression, second != nil {
      reader.findings.add(
        reader.place(of: "text2"),
        "`data.columns.text2` needs `task: pair` (or regression). Leave it out, or change the task."
      )
    }
    text2 = second ?? (task == .pair ? "text2" : nil)
    label = reader.string("label") ?? (task == .eventSubject ? "entity" : "label")
    type = reader.string("type") ?? (task == .eventSubject ? "type" : nil)
    id = reader.string("id")
    for key in ["type", "id"] where reader.has(key) && task != .eventSubject {
      reader.findings.add(
        reader.place(of: key),
        "`data.columns.\(key)` applies to `task: event-subject`. Leave it out.")
    }
    reader.finish()
  }
}

extension Recipe.OptimizerSection {
  fileprivate init(_ reader: RecipeReader, defaults: RecipeDefaults) {
    name = reader.choice("name", Recipe.OptimizerName.self) ?? defaults.optimizer
    learningRate = reader.number("learningRate", .nonNegative) ?? defaults.learningRate
    let betas = reader.numbers("betas", count: 2, .fraction) ?? [0.9, 0.999]
    (beta1, beta2) = (betas[0], betas[1])
    epsilon = reader.number("epsilon", .positive) ?? name.method.usualEpsilon
    weightDecay =
      reader.number("weightDecay", .nonNegative) ?? (name.decays ? name.method.usualWeightDecay : 0)
    if weightDecay > 0, !name.decays {
      reader.findings.add(
        reader.place(of: "weightDecay"),
        "`optimizer.weightDecay` does not apply to \(name.rawValue). Use `optimizer.name: adamw`.")
    }
    // 0 switches clipping off where the dialect has it.
    clipNorm =
      reader.number("clipNorm", .nonNegative).map { $0 == 0 ? nil : $0 } ?? defaults.clipNorm
    multipliers = reader.numbersByName("multipliers", .nonNegative) ?? [:]
    prefixMultipliers = reader.numbersByName("prefixMultipliers", .nonNegative) ?? [:]
    layerDecay = reader.number("layerDecay", .positive)
    let ways = ["multipliers", "prefixMultipliers", "layerDecay"].filter(reader.has)
    if ways.count > 1 {
      reader.findings.add(
        reader.place(of: ways[1]),
        "`optimizer.\(ways[1])` and `optimizer.\(ways[0])` both set rates by tensor. Leave one out."
      )
    }
    reader.finish()
  }
}

extension Recipe.ScheduleSection {
  fileprivate init(_ reader: RecipeReader, defaults: RecipeDefaults) {
    name = reader.choice("name", Recipe.ScheduleName.self) ?? defaults.schedule
    let warmsUp = name.warmsUp
    var warmupFraction = reader.number("warmupFraction", .fraction)
    warmupSteps = reader.integer("warmupSteps", 0...Int.max)
    minimumRate = reader.number("minimumRate", .nonNegative)
    points = (reader.points("points") ?? []).map {
      Recipe.Point(step: $0.step, multiplier: $0.value)
    }
    reader.finish()

    func object(_ key: String, _ message: String) {
      reader.findings.add(reader.place(of: key), "`schedule.\(key)` \(message)")
    }
    if warmupFraction != nil, warmupSteps != nil {
      object("warmupSteps", "and `schedule.warmupFraction` say the same thing. Leave one out.")
    }
    if !warmsUp, let key = ["warmupFraction", "warmupSteps"].first(where: reader.has) {
      object(key, "does not apply to the \(name.rawValue) schedule. Leave it out.")
    }
    if minimumRate != nil, name != .twoEpoch, name != .adamWarmup {
      object("minimumRate", "applies to the two-epoch and adam-warmup schedules. Leave it out.")
    }
    if name == .piecewise, points.isEmpty {
      object("points", "is missing: a section of step: multiplier, such as {1000: 1, 2000: 0.1}.")
    }
    if name != .piecewise, !points.isEmpty {
      object("points", "applies to the piecewise schedule. Set `schedule.name: piecewise`.")
    }
    if warmupFraction == nil, warmupSteps == nil, warmsUp {
      warmupFraction = name == defaults.schedule ? defaults.warmupFraction : 0
    }
    self.warmupFraction = warmupFraction
    if minimumRate == nil { minimumRate = name.defaultMinimumRate }
  }
}

extension Recipe.Batch {
  fileprivate init(_ reader: RecipeReader) {
    size = reader.integer("size", 1...1 << 20) ?? 32
    leaves = reader.integer("leaves", 1...1024) ?? 8
    leavesAtOnce = reader.integer("leavesAtOnce", 1...1024)
    recomputes = reader.flag("recompute")
    dropsLast = reader.flag("dropLast") ?? false
    reader.finish()
    for (key, value) in [("leaves", leaves), ("leavesAtOnce", leavesAtOnce ?? 1)]
    where value.nonzeroBitCount != 1 {
      reader.findings.add(
        reader.place(of: key), "`batch.\(key)` must be a power of two; found \(value).")
    }
    if let leavesAtOnce, leavesAtOnce > leaves {
      reader.findings.add(
        reader.place(of: "leavesAtOnce"),
        "`batch.leavesAtOnce` is \(leavesAtOnce) of \(leaves) leaves. Give at most \(leaves).")
    }
  }
}

extension Recipe.Length {
  fileprivate init(_ reader: RecipeReader, defaults: RecipeDefaults) {
    var epochs = reader.integer("epochs", 1...1_000_000)
    var steps = reader.integer("steps", 1...Int.max)
    // The command line says it instead of the file.
    switch (reader.place(of: "epochs").isOverride, reader.place(of: "steps").isOverride) {
    case (true, false): steps = nil
    case (false, true): epochs = nil
    default: break
    }
    if epochs != nil, steps != nil {
      reader.findings.add(
        reader.place(of: "steps"), "`steps` and `epochs` say the same thing. Leave one out.")
    }
    self = steps.map { .steps($0) } ?? .epochs(epochs ?? defaults.epochs)
  }
}

extension Recipe.Evaluation {
  fileprivate init(
    _ reader: RecipeReader, metrics: [String], task: Recipe.Task, hasDev: Bool
  ) {
    everySteps = reader.integer("everySteps", 1...Int.max)
    // Which types there are, the rows say: `PreparedRun` checks it.
    metric =
      reader.choice("metric", among: metrics, or: task == .tagging ? "f1.TYPE" : nil) ?? metrics[0]
    patience = reader.integer("patience", 1...Int.max)
    reader.finish()
    if !hasDev, let key = ["everySteps", "metric", "patience"].first(where: reader.has) {
      reader.findings.add(
        reader.place(of: key),
        "`evaluation.\(key)` needs rows to evaluate on. Give `data.dev`, or leave it out.")
    }
  }
}

extension Recipe.Checkpoints {
  fileprivate init(_ reader: RecipeReader) {
    everySteps = reader.integer("everySteps", 1...Int.max)
    everyMinutes = reader.number("everyMinutes", .positive)
    keep = reader.integer("keep", 1...Int.max) ?? 2
    reader.finish()
    if everySteps == nil, everyMinutes == nil { everyMinutes = 10 }
  }
}
