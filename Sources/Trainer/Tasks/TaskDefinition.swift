import Foundation
import Model
import Text

/// What a trained model does, apart from its weights: kept beside them as `lockstep.json`, so that
/// prediction needs neither the recipe nor the training rows.
package struct TaskDefinition: Sendable, Equatable, Codable {
  /// The layout of this file.
  package static let currentVersion = 1
  package static let fileName = "lockstep.json"

  package var version = currentVersion
  package var task: Recipe.Task
  package var classification: Recipe.Classification
  /// In the order of the outputs, of two the second being the positive one; for tagging the tags, for relations the predicates;
  /// empty where outputs have no names.
  package var labels: [String]
  package var head: Head
  package var dialect: Dialect
  package var tokenizer: TokenizerKind
  package var lowercase: Bool
  /// In the spelling of a recipe.
  package var truncation: String
  package var maxLength: Int
  package var maxCharacters: Int?
  /// Tokens of an input that is evaluated or predicted; nil: `maxLength`.
  package var evaluationLength: Int?
  package var format: RowFormat?
  package var header: HeaderPolicy
  package var columns: Recipe.Columns
  // The task's own section; the others are absent.
  package var pair: Recipe.Pair?
  package var tagging: Recipe.Tagging?
  package var relation: Recipe.Relation?
  package var eventSubject: Recipe.EventSubject?
  package var reading: Recipe.Reading?
  package var masking: Recipe.Masking?
  /// Characters that an event's subject may contain beside letters, digits and ideographs: those of the training rows' entities.
  package var entityCharacters: String?
  /// Whether the training questions include some without an answer, so that "no answer" is one; nil where that is not known.
  package var hasUnanswerable: Bool?
  /// The types of the training rows' events, sorted, others having no answer; nil: all types are known.
  package var eventTypes: [String]?

  /// The definition that `recipe` and the labels of its rows make, for a model of `configuration`.
  package init(
    _ recipe: Recipe, labels: [String], lowercase: Bool, configuration: BertConfiguration
  ) {
    task = recipe.task
    classification = recipe.classification
    self.labels = labels
    self.lowercase = lowercase
    dialect = recipe.model.dialect
    tokenizer = recipe.data.tokenizer
    truncation = recipe.data.truncation.rawValue
    maxLength = recipe.data.maxLength
    maxCharacters = recipe.data.maxCharacters
    evaluationLength = recipe.data.evaluationLength.map {
      min($0, configuration.maximumPositions)
    }
    format = recipe.data.format
    header = recipe.data.header
    columns = recipe.data.columns
    switch recipe.task {
    case .classification: break
    case .pair, .regression: if recipe.data.columns.text2 != nil { pair = recipe.pair }
    case .tagging: tagging = recipe.tagging
    case .relation: relation = recipe.relation
    case .eventSubject: eventSubject = recipe.eventSubject
    case .reading: reading = recipe.reading
    case .maskedLM: masking = recipe.masking
    }
    head = Self.head(recipe, labels: labels, configuration)
    head.regularization.labelSmoothing = Float(recipe.training.labelSmoothing)
    head.regularization.rDrop = recipe.training.rDrop.map(Float.init)
    head.regularization.focal = recipe.training.focal.map(Float.init)
  }

  private static func head(
    _ recipe: Recipe, labels: [String], _ configuration: BertConfiguration
  ) -> Head {
    let dropout =
      recipe.head.dropout.map(Float.init) ?? configuration.classifierDropout
      ?? configuration.hiddenDropout
    switch recipe.task {
    case .classification, .pair, .regression:
      let isSiamese = recipe.pair.mode == .siamese
      return Head(
        isSiamese ? .siamese(recipe.pair.comparison) : .sentence,
        outputs: recipe.task == .regression || recipe.classification.kind == .binarySigmoid
          ? 1 : labels.count, loss: loss(recipe),
        usesPooler: !isSiamese && recipe.head.usesPooler, dropout: isSiamese ? 0 : dropout)
    case .tagging:
      let kind: Head.Kind =
        switch recipe.tagging.head {
        case .softmax: .tokens
        case .crf: .chain(multiplier: Float(recipe.tagging.storedMultiplier))
        case .globalPointer: .globalPointer
        }
      return Head(kind, outputs: labels.count, loss: .softmax, dropout: dropout)
    case .relation:
      let r = recipe.relation
      if r.method == .gplinker {
        return Head(.gplinker, outputs: labels.count, loss: .softmax, dropout: 0)
      }
      let thresholds = Head.Thresholds(
        start: Float(r.startThreshold), end: Float(r.endThreshold))
      return Head(
        .relation(
          Head.Relation(
            conditioning: r.conditioning, subject: thresholds, object: thresholds,
            subjectPower: r.subjectPower, objectPower: r.objectPower)),
        outputs: labels.count,
        loss: recipe.classification.isClipped ? .sigmoidClipped : .sigmoid, dropout: 0)
    case .eventSubject: return Head(.subjectPointer, outputs: 2, loss: .softmax, dropout: dropout)
    case .reading: return Head(.span, outputs: 2, loss: .softmax, dropout: dropout)
    case .maskedLM:
      return Head(
        .maskedLanguageModel, outputs: configuration.vocabularySize, loss: .softmax, dropout: 0)
    }
  }

  private static func loss(_ recipe: Recipe) -> Head.Loss {
    if recipe.task == .regression { return .squaredError }
    switch recipe.classification.kind {
    case .softmax: return .softmax
    case .binarySigmoid, .multiLabel:
      return recipe.classification.isClipped ? .sigmoidClipped : .sigmoid
    }
  }

  /// Whether outputs are named by `labels` one by one.
  private var namesOutputs: Bool {
    switch task {
    case .classification, .pair: classification.kind != .binarySigmoid
    case .tagging, .relation: true
    case .regression, .eventSubject, .reading, .maskedLM: false
    }
  }
}

extension TaskDefinition {
  /// The definition's file: the same definition gives the same bytes.
  package func encoded() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(self) + Data("\n".utf8)
  }

  /// Reads the definition beside the weights in `folder`.
  package init(folder: URL) throws {
    let url = folder.appending(path: Self.fileName)
    guard let data = try? Data(contentsOf: url) else {
      throw RunError.notAModelOfARun(folder.path)
    }
    do {
      self = try JSONDecoder().decode(Self.self, from: data)
    } catch {
      throw RunError.damaged(url.path, "it is not a task definition")
    }
    guard version <= Self.currentVersion else {
      throw RunError.damaged(
        url.path, "its version is \(version), this program knows \(Self.currentVersion)")
    }
    guard Truncation(rawValue: truncation) != nil, head.outputs > 0,
      !namesOutputs || head.outputs == labels.count
    else {
      throw RunError.damaged(url.path, "its head and its \(labels.count) labels do not fit")
    }
  }
}

extension TaskDefinition {
  /// What a head's outputs say of one input.
  package enum Prediction: Sendable, Equatable {
    /// The label's number and the probability of every label.
    case label(Int, probabilities: [Double])
    /// The numbers of the labels from the threshold on, and the probability of every label.
    case labels([Int], probabilities: [Double])
    case value(Double)
  }

  /// Decodes one row of outputs `[C]`.
  package func prediction(_ outputs: [Float]) -> Prediction {
    precondition(outputs.count == head.outputs, "\(outputs.count) of \(head.outputs) outputs")
    if task == .regression { return .value(Double(outputs[0])) }
    switch classification.kind {
    case .softmax:
      let probabilities = Self.softmax(outputs)
      // The first of equals, so that the result is one.
      let best = probabilities.indices.max {
        (probabilities[$0], $1) < (probabilities[$1], $0)
      }
      return .label(best ?? 0, probabilities: probabilities)
    case .binarySigmoid:
      let positive = Self.sigmoid(outputs[0])
      return .label(
        positive >= classification.threshold ? 1 : 0, probabilities: [1 - positive, positive])
    case .multiLabel:
      let probabilities = outputs.map(Self.sigmoid)
      return .labels(
        probabilities.indices.filter { probabilities[$0] >= classification.threshold },
        probabilities: probabilities)
    }
  }

  static func sigmoid(_ logit: Float) -> Double {
    let x = Double(logit)
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x))
  }

  static func softmax(_ logits: [Float]) -> [Double] {
    let top = Double(logits.max() ?? 0)
    let powers = logits.map { exp(Double($0) - top) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
  }
}
