import Collective
import Crypto
import Foundation
import Model
import Text

/// All that a run needs, read and checked before its first step.
package struct PreparedRun: Sendable {
  package let recipe: Recipe
  package let definition: TaskDefinition
  package let configuration: BertConfiguration
  /// nil if the weights are drawn.
  let model: ModelFolder?
  /// The bytes of the model's `vocab.txt`, which go into every model saved.
  let vocabulary: [UInt8]
  /// What of the model's folder enters the bits beside its weights.
  let inputs: ModelInputs
  package let train: ExampleSet
  package let dev: ExampleSet?
  package let test: ExampleSet?
  package let table: ParameterTable
  /// One flag for each of `table.parameters`.
  package let trainable: [Bool]
  package let batches: BatchPlan
  package let totalSteps: Int
  package let schedule: Schedule
  package let optimizer: OptimizerSettings
  /// What the rows are like.
  package let report: DataReport
  /// Sentences worth printing once.
  package let notes: [String]

  /// Reads and checks everything that `recipe` names; nothing is written.
  ///
  /// Collective where `group` has several ranks: they agree on recipe, vocabulary and rows, and those of one host tokenize together.
  /// - Throws: `PreparationErrors` with all that is wrong; `CommunicationError`.
  package init(_ recipe: Recipe, threads: Int, group: RankGroup? = nil) throws {
    var findings = Findings()
    let opened = findings.attempt { try OpenedModel(recipe) }
    let read = DataFiles(recipe, &findings)
    let labels = read.flatMap { files in
      findings.attempt { try recipe.data.labels ?? files.train.allLabels(recipe) }
    }
    guard let opened, var files = read, let labels else {
      throw PreparationErrors(
        findings.errors + Self.problemsOfReadableFiles(recipe, opened, threads: threads))
    }
    let sharing = try group.flatMap {
      try Self.sharing($0, recipe, vocabulary: opened.vocabulary, files)
    }

    var configuration = opened.configuration
    configuration.apply(recipe.model)
    self.configuration = configuration
    self.recipe = recipe
    model = opened.folder
    vocabulary = opened.vocabulary
    inputs = ModelInputs(
      vocabulary: vocabulary, lowercase: opened.tokenizer.lowercase, configuration: configuration)
    var definition = TaskDefinition(
      recipe, labels: labels, lowercase: opened.tokenizer.lowercase, configuration: configuration)
    if let events = files.train as? EventSubjectRows {
      definition.entityCharacters = events.entityCharacters
      definition.eventTypes = events.types(but: recipe.eventSubject.dropped)
    }
    definition.hasUnanswerable = (files.train as? ReadingRows)?.hasUnanswerable
    let table = ParameterTable(configuration, head: definition.head)
    self.table = table
    let trainable = findings.attempt {
      try Self.trainable(recipe.model, table: table, configuration: configuration)
    }

    _ = findings.attempt { try Self.checkMetric(recipe, labels: labels, dev: files.dev) }
    func context(isTraining: Bool) -> TaskContext {
      TaskContext(
        definition, tokenizer: opened.tokenizer, threads: threads, isTraining: isTraining,
        sharing: sharing)
    }
    let skips = recipe.data.skipsBad, evaluation = context(isTraining: false)
    func examples(_ rows: any TaskRows) throws -> (rows: any TaskRows, set: ExampleSet) {
      try DataFiles.examples(rows, evaluation, skippingUpTo: skips)
    }
    let train = findings.attempt {
      let (rows, set) = try DataFiles.examples(
        files.train, context(isTraining: true), skippingUpTo: skips)
      return (rows: rows, set: try set.placed(in: rows).learnable(limit: recipe.data.limit))
    }
    let dev = findings.attempt { try files.dev.map(examples) }
    let test = findings.attempt { try files.test.map(examples) }
    if let failure = findings.errors.first(where: { $0 is CommunicationError }) { throw failure }
    for part in [train, dev ?? nil, test ?? nil].compactMap({ $0 }) {
      _ = findings.attempt { try part.set.check(configuration) }
    }
    guard let trainable, let train, let dev, let test, findings.errors.isEmpty else {
      throw PreparationErrors(findings.errors)
    }
    files.keep(train: train.rows, dev: dev?.rows, test: test?.rows)
    let parts = [train, dev, test].compactMap { $0 }
    (self.trainable, self.train, self.dev, self.test) = (trainable, train.set, dev?.set, test?.set)
    definition.head.regularization.classWeights = try Self.classWeights(
      recipe.training.classWeights, labels: labels, examples: train.set)
    self.definition = definition
    batches = BatchPlan(
      count: train.set.sequences.count, batchSize: recipe.batch.size,
      dropsLast: recipe.batch.dropsLast,
      seed: recipe.seed)
    totalSteps = try Self.totalSteps(recipe, batches: batches, file: train.set.file)
    schedule = Schedule(
      recipe, totalSteps: totalSteps, stepsPerEpoch: batches.stepsPerEpoch)
    optimizer = OptimizerSettings(recipe)
    var report = try files.report(evaluation)
    for part in parts {
      report.add(part.set.truncationFindings(definition, part.rows.unit) + part.set.findings)
    }
    self.report = report
    notes = opened.notes + files.notes + Self.notes(of: parts.map(\.set))
  }

  /// What is wrong with the rows of the files that can be read where another one cannot, so that all is said at once.
  ///
  /// Each rank for itself. Without a model or labels rows cannot be checked, and what cannot be read has been said.
  private static func problemsOfReadableFiles(
    _ recipe: Recipe, _ opened: OpenedModel?, threads: Int
  ) -> [any Error] {
    func read(_ url: URL?) -> (any TaskRows)? {
      url.flatMap { try? recipe.layout.read($0, withLabel: true) }
    }
    let train = read(recipe.data.train)
    let evaluated = [read(recipe.data.dev), read(recipe.data.test)]
    let labels = recipe.data.labels ?? train.flatMap { try? $0.labels(recipe) }
    guard let opened, let labels else {
      // Of training rows without labels it has been said.
      return ([labels == nil ? nil : train] + evaluated).compactMap { $0?.unread?.errors }
    }
    var configuration = opened.configuration
    configuration.apply(recipe.model)
    let context = TaskContext(
      TaskDefinition(
        recipe, labels: labels, lowercase: opened.tokenizer.lowercase,
        configuration: configuration), tokenizer: opened.tokenizer, threads: threads, sharing: nil)
    var findings = Findings()
    for rows in ([train] + evaluated).compactMap({ $0 }) {
      _ = findings.attempt {
        try DataFiles.examples(rows, context, skippingUpTo: recipe.data.skipsBad)
      }
    }
    return findings.errors
  }

  /// Refuses `f1.TYPE` of a type that is not learnt or not in the dev rows, and so has no F1.
  private static func checkMetric(
    _ recipe: Recipe, labels: [String], dev: (any TaskRows)?
  ) throws {
    let metric = recipe.evaluation.metric
    guard recipe.task == .tagging, metric.hasPrefix("f1."), let rows = dev as? TaggedRows else {
      return
    }
    let learnt = Set(
      recipe.tagging.head == .globalPointer
        ? labels : labels.filter { $0 != "O" }.map { String($0.dropFirst(2)) })
    let types = rows.types.intersection(learnt)
    guard !types.contains(String(metric.dropFirst(3))) else { return }
    throw RunError(
      .usage,
      "evaluation.metric is \(metric), and no entity of that type is learnt and in the dev rows. The types are \(DataProblem.list(types.sorted()))."
    )
  }

  /// Makes sure that all ranks read the same; nil where there is nobody to share with.
  private static func sharing(
    _ group: RankGroup, _ recipe: Recipe, vocabulary: [UInt8], _ files: DataFiles
  ) throws -> SharedTokenization? {
    guard group.size > 1 else { return nil }
    group.collective.enter(phase: "reading rows", step: 0)
    // Key by key, so that the one that differs is named.
    let keys = Recipe.flattened(recipe.yaml).filter { !Recipe.freeKeys.contains($0.key) }.map {
      ("the recipe's \($0.key)", String($0.value.prefix(60)))
    }
    try group.agree(
      on: keys
        + [
          ("the recipe", recipe.resultDigest), ("the rows", files.fingerprint),
          ("the vocabulary", SHA256.hash(data: vocabulary).hex),
        ].map { ($0, String($1.prefix(16))) })
    return SharedTokenization(group.collective)
  }

  private static func totalSteps(
    _ recipe: Recipe, batches: BatchPlan, file: String
  ) throws -> Int {
    guard batches.stepsPerEpoch > 0 else {
      throw RunError(
        .data,
        "\(file): \(batches.count) rows make no step of batch.size \(batches.batchSize) while batch.dropLast is true. "
          + "Lower batch.size, or leave batch.dropLast out.")
    }
    switch recipe.length {
    case .steps(let steps): return steps
    case .epochs(let epochs): return epochs * batches.stepsPerEpoch
    }
  }

  /// The weight of each label; `balanced`: rows over labels times rows of the label.
  private static func classWeights(
    _ weights: Recipe.Training.ClassWeights?, labels: [String], examples: ExampleSet
  ) throws -> [Float]? {
    switch weights {
    case nil: return nil
    case .byLabel(let byName)?:
      if let unknown = byName.keys.sorted().first(where: { !labels.contains($0) }) {
        throw RunError(
          .usage,
          "training.classWeights names \"\(unknown)\". The labels are \(DataProblem.list(labels)).")
      }
      return labels.map { Float(byName[$0] ?? 1) }
    case .balanced?:
      var counts = [Int](repeating: 0, count: labels.count)
      for example in examples.sequences { counts[Int(example.target[0])] += 1 }
      return counts.map {
        $0 == 0 ? 1 : Float(Double(examples.sequences.count) / Double(labels.count * $0))
      }
    }
  }

  /// Which tensors are trained.
  private static func trainable(
    _ section: Recipe.ModelSection, table: ParameterTable, configuration: BertConfiguration
  ) throws -> [Bool] {
    guard section.frozenLayers <= configuration.layerCount else {
      throw RunError(
        .usage,
        "model.frozenLayers is \(section.frozenLayers), the model has \(configuration.layerCount) layers. "
          + "Give at most \(configuration.layerCount).")
    }
    var prefixes = (0..<section.frozenLayers).map { "bert.encoder.layer.\($0)." }
    if section.freezesEmbeddings { prefixes.append("bert.embeddings.") }
    for prefix in section.frozen {
      // Names are accepted with and without the prefix, as they are in model files.
      let matching = ["", "bert."].map { $0 + prefix }.first { full in
        table.parameters.contains { $0.name.hasPrefix(full) }
      }
      guard let matching else {
        throw RunError(
          .usage,
          "model.frozen: no tensor's name starts with \"\(prefix)\". Names look like "
            + "bert.encoder.layer.0.attention.self.query.weight; lockstep inspect lists them.")
      }
      prefixes.append(matching)
    }
    let flags = table.parameters.map { parameter in
      !prefixes.contains { parameter.name.hasPrefix($0) }
    }
    guard flags.contains(true) else {
      throw RunError(.usage, "Every tensor is frozen, so there is nothing to train. Freeze fewer.")
    }
    return flags
  }

  private static func notes(of sets: [ExampleSet]) -> [String] {
    sets.flatMap { set in
      set.notes + (set.truncation.cutRows > 0 ? ["\(set.file): \(set.truncation)"] : [])
    }
  }
}

/// Gathers the errors of steps that do not depend on one another.
struct Findings {
  var errors: [any Error] = []

  mutating func attempt<T>(_ body: () throws -> T) -> T? {
    do {
      return try body()
    } catch {
      errors.append(error)
      return nil
    }
  }
}

/// All that stops a run before its first step.
package struct PreparationErrors: Error, CustomStringConvertible {
  package let errors: [any Error]

  init(_ errors: [any Error]) { self.errors = errors }

  package var description: String { errors.map { "\($0)" }.joined(separator: "\n") }
}

/// The model that a recipe names, with its tokenizer.
private struct OpenedModel {
  let folder: ModelFolder?
  let configuration: BertConfiguration
  let vocabulary: [UInt8]
  let tokenizer: Tokenizer
  let notes: [String]

  init(_ recipe: Recipe) throws {
    let section = recipe.model
    let path: URL
    let lowercase: Bool?
    var notes: [String]
    switch section.initialize {
    case .pretrained:
      let model = try ModelFolder.open(section.path, dialect: section.dialect)
      (folder, path, configuration) = (model, model.folder, model.configuration)
      (lowercase, notes) = (model.lowercase, model.warnings)
    case .random:
      folder = nil
      path = section.path
      let names = ["config.json", "bert_config.json"].map { path.appending(path: $0) }
      guard let url = names.first(where: { FileManager.default.fileExists(atPath: $0.path) }) else {
        throw RunError(
          .data,
          "\(path.path): there is no config.json. Give the folder of a configuration and a vocab.txt."
        )
      }
      (configuration, _, notes) = try BertConfiguration.read(url, dialect: section.dialect)
      lowercase = nil
    }
    let url = path.appending(path: "vocab.txt")
    guard FileManager.default.fileExists(atPath: url.path) else {
      throw RunError(
        .data, "\(path.path): there is no vocab.txt. Put the one that belongs to the model there.")
    }
    vocabulary = try [UInt8](Data(contentsOf: url))
    let words = try Vocabulary(bytes: vocabulary, name: url.path)
    notes += words.warnings
    notes += try words.check(modelVocabularySize: configuration.vocabularySize)
    let stated = recipe.data.lowercase ?? lowercase
    if stated == nil { notes.append(words.caseNote) }
    guard recipe.data.maxLength <= configuration.maximumPositions else {
      throw RunError(
        .usage,
        "data.maxLength is \(recipe.data.maxLength), the model has \(configuration.maximumPositions) positions. "
          + "Give at most \(configuration.maximumPositions).")
    }
    tokenizer = Tokenizer(
      vocabulary: words, kind: recipe.data.tokenizer, lowercase: stated ?? !words.hasCapitals)
    self.notes = notes + tokenizer.warnings
  }
}

extension BertConfiguration {
  /// Applies what a recipe overrides.
  fileprivate mutating func apply(_ section: Recipe.ModelSection) {
    if let rate = section.hiddenDropout { hiddenDropout = Float(rate) }
    if let rate = section.attentionDropout { attentionDropout = Float(rate) }
    if let activation = section.activation { self.activation = activation }
    if let epsilon = section.layerNormEpsilon { layerNormEpsilon = Float(epsilon) }
  }
}

extension Schedule {
  /// The schedule of a recipe whose run has `totalSteps` steps.
  init(_ recipe: Recipe, totalSteps: Int, stepsPerEpoch: Int) {
    let section = recipe.schedule
    let peak = recipe.optimizer.learningRate
    // Google rounds down (`int`), Hugging Face up; a schedule of another framework rounds up as well.
    let share = (section.warmupFraction ?? 0) * Double(totalSteps)
    let rounded = section.name == .google ? share.rounded(.down) : share.rounded(.up)
    let warmup = section.warmupSteps ?? Int(rounded)
    switch section.name {
    case .constant:
      self = warmup > 0 ? .constantWithWarmup(peak: peak, warmup: warmup) : .constant(rate: peak)
    case .linear: self = .linear(peak: peak, warmup: warmup, total: totalSteps)
    case .cosine: self = .cosine(peak: peak, warmup: warmup, total: totalSteps)
    case .inverseSquareRoot: self = .inverseSquareRoot(peak: peak, warmup: warmup)
    case .adamWarmup:
      self = .adamWarmup(
        peak: peak, warmup: warmup, total: totalSteps, low: section.minimumRate ?? 0)
    case .google: self = .google(peak: peak, warmup: warmup, total: totalSteps)
    case .twoEpoch:
      self = .twoEpoch(stepsPerEpoch: stepsPerEpoch, peak: peak, low: section.minimumRate ?? 1e-5)
    case .piecewise:
      self = .piecewiseLinear(
        peak: peak, points: section.points.map { Point(step: $0.step, multiplier: $0.multiplier) })
    }
  }
}

extension OptimizerSettings {
  /// The settings of a recipe.
  init(_ recipe: Recipe) {
    let section = recipe.optimizer
    let clipping = section.clipNorm.map { norm in
      recipe.model.dialect == .huggingface ? Clipping.torch(norm) : .google(norm)
    }
    self.init(
      section.name.method, weightDecay: section.weightDecay, epsilon: section.epsilon,
      clipping: clipping)
    beta1 = section.beta1
    beta2 = section.beta2
  }
}
