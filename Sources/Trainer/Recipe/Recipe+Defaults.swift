import Model
import Text

/// What a dialect's framework does where a recipe says nothing.
///
/// Sources: keras-bert of June 2019 with Keras 2.2.4 and the recipes written for it, keras-bert 0.89,
/// bert4keras 0.11.5, google-research/bert (run_classifier.py, optimization.py), Hugging Face
/// transformers (BertForSequenceClassification, Trainer).
struct RecipeDefaults {
  var kind = Recipe.ClassificationKind.softmax
  var isClipped = false
  var usesPooler: Bool
  /// nil: the model's `classifier_dropout`, else its hidden dropout.
  var headDropout: Double?
  var initialization: Recipe.HeadInitialization
  var tokenizer: TokenizerKind
  var truncation = Truncation.huggingface
  var maxLength = 128
  var maxCharacters: Int?
  /// nil: `maxLength`.
  var evaluationLength: Int?
  var optimizer = Recipe.OptimizerName.adamW
  var learningRate = 5e-5
  var schedule = Recipe.ScheduleName.linear
  var warmupFraction = 0.0
  var clipNorm: Double? = 1
  var epochs = 3

  init(dialect: Dialect, task: Recipe.Task) {
    initialization = Recipe.HeadInitialization(dialect.headInitialization)
    usesPooler = dialect.usesPooler
    tokenizer = dialect.tokenizer
    switch dialect {
    case .huggingface: break
    case .google:
      truncation = .google
      headDropout = 0.1
      (optimizer, schedule, warmupFraction) = (.google, .google, 0.1)
    case .bert4keras:
      truncation = .bert4keras
      // Its pair example asks for the pooler and drops 0.1 of it; its other examples have neither.
      usesPooler = task == .pair
      headDropout = task == .pair ? 0.1 : 0
      setKerasOptimizer(learningRate: 2e-5)
      epochs = 10
    case .kerasBert:
      truncation = .google
      headDropout = 0
      setKerasOptimizer(learningRate: 1e-5)
      epochs = 5
    case .seed2019:
      truncation = .google
      headDropout = 0
      (kind, isClipped) = (.binarySigmoid, true)
      // The recipe cuts characters; two special tokens come on top.
      (maxCharacters, maxLength) = (100, 102)
      setKerasOptimizer(learningRate: 1e-5)
      epochs = 5
    }
    adjust(to: task, dialect)
  }

  /// What the tasks' own recipes do otherwise than the dialect's classification.
  private mutating func adjust(to task: Recipe.Task, _ dialect: Dialect) {
    let isSeed = dialect == .seed2019
    switch task {
    case .classification, .pair, .regression: return
    case .tagging:
      if dialect == .bert4keras { maxLength = 256 }
    case .relation:
      if isSeed {
        // Training rows are cut; what is evaluated is read as far as BERT goes.
        (maxCharacters, maxLength, evaluationLength) = (160, 162, 512)
        setRecipeOf2019(epochs: 30)
      } else if dialect == .bert4keras {
        (learningRate, epochs) = (1e-5, 20)
      }
    case .eventSubject:
      // The type comes on top of the text's characters.
      (maxCharacters, maxLength) = isSeed ? (128, 510) : (nil, 256)
      if isSeed {
        // Its `[:510]` characters, [CLS] and [SEP].
        evaluationLength = 512
        setRecipeOf2019(epochs: 10)
      }
    case .reading:
      (maxLength, epochs) = (384, 2)
      maxCharacters = nil
    case .maskedLM:
      maxCharacters = nil
      epochs = 1
    }
    // The recipes of 2019, run_squad.py and transformers' question answering drop nothing before these heads.
    if task != .tagging { headDropout = 0 }
    usesPooler = false
  }

  /// Up to 5e-5 over the first epoch, down to 1e-5 over the second.
  private mutating func setRecipeOf2019(epochs: Int) {
    (learningRate, schedule, self.epochs) = (5e-5, .twoEpoch, epochs)
  }

  private mutating func setKerasOptimizer(learningRate: Double) {
    (optimizer, schedule, clipNorm) = (.adamKeras, .constant, nil)
    self.learningRate = learningRate
  }
}

extension Recipe.OptimizerName {
  /// The update rule of this name.
  var method: OptimizerSettings.Method {
    switch self {
    case .adamKeras: .adam
    case .adamW: .adamW
    case .google: .adamWeightDecay
    case .adamBert4keras: .bert4kerasAdam
    case .adamWarmup: .adamWarmup
    case .lamb: .lamb
    }
  }

  /// Whether the rule has weight decay.
  var decays: Bool { self != .adamKeras && self != .adamBert4keras }
}

extension Recipe.ScheduleName {
  /// Whether the schedule has a warm-up of a number of steps.
  var warmsUp: Bool { self != .twoEpoch && self != .piecewise }

  /// The rate that the framework ends with.
  var defaultMinimumRate: Double? {
    switch self {
    case .twoEpoch: 1e-5
    case .adamWarmup: 0
    default: nil
    }
  }
}

extension Recipe.Task {
  /// The metrics of this task, the one that chooses the best model first.
  package func metrics(kind: Recipe.ClassificationKind) -> [String] {
    switch (self, kind) {
    case (.regression, _): ["spearman", "pearson", "loss"]
    case (.tagging, _): ["f1", "precision", "recall", "f1Macro", "accuracy", "loss"]
    case (.relation, _): ["f1", "precision", "recall", "loss"]
    case (.eventSubject, _): ["accuracy", "loss"]
    case (.reading, _): ["f1", "exact", "loss"]
    case (.maskedLM, _): ["accuracy", "perplexity", "loss"]
    case (_, .multiLabel): ["f1Micro", "f1Macro", "accuracy", "loss"]
    case (_, .binarySigmoid): ["accuracy", "f1", "mcc", "auc", "f1Macro", "loss"]
    // With more than two classes f1 and auc are left out: they name one class of two.
    case (_, .softmax): ["accuracy", "f1", "f1Macro", "mcc", "auc", "loss"]
    }
  }
}

extension Recipe.HeadInitialization {
  /// The dialect's choice.
  init(_ choice: Dialect.HeadInitialization) {
    switch choice {
    case .normal: self = .normal
    case .truncatedNormal: self = .truncatedNormal
    case .glorotUniform: self = .glorotUniform
    }
  }
}

extension Dialect {
  /// Whose rules cut a text into tokens where nothing is said.
  package var tokenizer: TokenizerKind {
    switch self {
    case .huggingface: .huggingface
    case .google, .bert4keras, .kerasBert: .google
    case .seed2019: .character
    }
  }
}
