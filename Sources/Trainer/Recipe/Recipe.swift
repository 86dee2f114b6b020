import Foundation
import Model
import Text

/// All that a run is made from, resolved: every default of the dialect and the task is filled in.
///
/// `Documentation/Recipes.md` describes each key.
package struct Recipe: Sendable, Equatable {
  package enum Task: String, Sendable, Codable, CaseIterable {
    /// One text, one or several labels.
    case classification
    /// Two texts joined into one input, one or several labels.
    case pair
    /// One or two texts, one number.
    case regression
    /// Entities in a text, by a label for each token.
    case tagging
    /// Triples of subject, predicate and object in a text.
    case relation
    /// The subject of an event of a given type in a text.
    case eventSubject = "event-subject"
    /// The answer to a question in a text.
    case reading
    /// Words that are hidden from a text.
    case maskedLM = "masked-lm"
  }

  package enum ClassificationKind: String, Sendable, Codable, CaseIterable {
    /// One class of `C ≥ 2`.
    case softmax
    /// One of two classes, by a single output.
    case binarySigmoid = "binary-sigmoid"
    /// Any number of `C` labels, one output each.
    case multiLabel = "multi-label"
  }

  package struct Classification: Sendable, Equatable, Codable {
    package var kind: ClassificationKind
    /// Whether the probability is clipped as Keras does.
    package var isClipped: Bool
    /// What stands between the labels of a multi-label cell.
    package var separator: String
    /// The probability from which a label counts as predicted (sigmoid heads).
    package var threshold: Double
  }

  package enum HeadInitialization: String, Sendable, Codable, CaseIterable {
    /// Hugging Face: normal(0, range).
    case normal
    /// Google, bert4keras: the same, drawn again beyond two deviations.
    case truncatedNormal = "truncated-normal"
    /// Keras' Dense: uniform within ±√(6 / (in + out)).
    case glorotUniform = "glorot-uniform"
  }

  package struct HeadSection: Sendable, Equatable {
    package var usesPooler: Bool
    /// Dropout of the vector that the classifier reads; nil: the model's hidden dropout.
    package var dropout: Double?
    package var initialization: HeadInitialization
  }

  package enum Initialization: String, Sendable, Codable, CaseIterable {
    /// Weights are read from the model folder.
    case pretrained
    /// Weights are drawn; the folder gives configuration and vocabulary only.
    case random
  }

  package struct ModelSection: Sendable, Equatable {
    package var path: URL
    package var dialect: Dialect
    package var initialize: Initialization
    /// Overrides of the model folder's configuration.
    package var hiddenDropout: Double?
    package var attentionDropout: Double?
    package var activation: BertConfiguration.Activation?
    package var layerNormEpsilon: Double?
    /// Prefixes of the names of tensors that are not trained.
    package var frozen: [String]
    /// Whether the embeddings are not trained.
    package var freezesEmbeddings: Bool
    /// How many of the first layers are not trained.
    package var frozenLayers: Int
  }

  package struct Columns: Sendable, Equatable, Codable {
    package var text: String
    package var text2: String?
    package var label: String
    /// The type of an event.
    package var type: String?
    /// The name of a row, which its prediction repeats.
    package var id: String?
  }

  package struct DataSection: Sendable, Equatable {
    package var train: URL
    package var dev: URL?
    package var test: URL?
    /// The shares of the training file that become rows to evaluate on, where no file is given for them.
    package var splitDev: Double?
    package var splitTest: Double?
    /// What that split is drawn from: not the run's seed, so that runs of several seeds have the same rows.
    package var splitSeed: UInt64
    /// Whether training rows that repeat an earlier one's text are left out.
    package var dropsDuplicates: Bool
    /// Whether training rows whose text stands in the dev or test rows are left out.
    package var dropsLeaked: Bool
    /// Rows that are wrong and may be left out of each file; more are an error.
    package var skipsBad: Int
    /// How many of the first training rows are used; nil: all.
    package var limit: Int?
    /// nil: by the file's ending.
    package var format: RowFormat?
    package var header: HeaderPolicy
    package var columns: Columns
    /// nil: the labels of the training file, sorted.
    package var labels: [String]?
    /// Tokens of an input, special tokens included.
    package var maxLength: Int
    /// Unicode scalars of a text that are kept, before tokenization (the 2019 recipes).
    package var maxCharacters: Int?
    /// Tokens of an input that is evaluated or predicted, the model's positions at most; nil: `maxLength`.
    package var evaluationLength: Int?
    package var truncation: Truncation
    package var tokenizer: TokenizerKind
    /// nil: as the model folder says.
    package var lowercase: Bool?
  }

  package enum OptimizerName: String, Sendable, Codable, CaseIterable {
    /// Keras 2.2.4's Adam.
    case adamKeras = "adam-keras"
    /// Hugging Face's and PyTorch's AdamW.
    case adamW = "adamw"
    /// Google's AdamWeightDecay, without bias correction.
    case google
    /// bert4keras' Adam under tf.keras.
    case adamBert4keras = "adam-bert4keras"
    /// keras-bert's AdamWarmup, whose decay is folded into the corrected rate.
    case adamWarmup = "adam-warmup"
    /// LAMB in its first version.
    case lamb
  }

  package struct OptimizerSection: Sendable, Equatable {
    package var name: OptimizerName
    package var learningRate: Double
    package var beta1: Double
    package var beta2: Double
    package var epsilon: Double
    package var weightDecay: Double
    /// nil: no clipping.
    package var clipNorm: Double?
    /// Factors of the learning rate by a part of a tensor's name, which multiply (bert4keras).
    package var multipliers: [String: Double]
    /// The same by the beginning of a name, of which the longest counts (keras-lr-multiplier).
    package var prefixMultipliers: [String: Double]
    /// The factor from each layer to the one below it, embeddings lowest; nil: 1.
    package var layerDecay: Double?
  }

  package enum ScheduleName: String, Sendable, Codable, CaseIterable {
    /// The same rate after warm-up, if any.
    case constant
    /// Hugging Face's linear decay after warm-up.
    case linear
    /// Hugging Face's cosine decay after warm-up.
    case cosine
    /// Hugging Face's inverse square root of the step after warm-up.
    case inverseSquareRoot = "inverse-square-root"
    /// keras-bert's: steps counted from 1, down to `minimumRate`.
    case adamWarmup = "adam-warmup"
    /// Google's: decay counted from step 0.
    case google
    /// The 2019 recipes': up over the first epoch, down to `minimumRate` over the second.
    case twoEpoch = "two-epoch"
    /// Straight lines between `points`.
    case piecewise
  }

  package struct Point: Sendable, Equatable {
    package var step: Int
    package var multiplier: Double
  }

  package struct ScheduleSection: Sendable, Equatable {
    package var name: ScheduleName
    /// Warm-up as a share of all steps, or in steps; at most one is given.
    package var warmupFraction: Double?
    package var warmupSteps: Int?
    /// The rate that the two-epoch and adam-warmup schedules end with.
    package var minimumRate: Double?
    package var points: [Point]
  }

  package struct Batch: Sendable, Equatable {
    /// Sequences of a step `G`.
    package var size: Int
    /// Leaves of a step `M`.
    package var leaves: Int
    /// Leaves computed together, which never changes the result; nil: as many as memory allows.
    package var leavesAtOnce: Int?
    /// Whether layers are computed again in backward, which never changes the result; nil: if memory asks for it.
    package var recomputes: Bool?
    /// Whether the short last step of an epoch is left out.
    package var dropsLast: Bool
  }

  package enum Length: Sendable, Equatable {
    case epochs(Int)
    case steps(Int)
  }

  package struct Evaluation: Sendable, Equatable {
    /// Steps between evaluations; nil: at the end of each epoch.
    package var everySteps: Int?
    /// The metric that chooses the best model.
    package var metric: String
    /// Evaluations without a better result after which training ends; nil: never.
    package var patience: Int?
  }

  package struct Checkpoints: Sendable, Equatable {
    package var everySteps: Int?
    package var everyMinutes: Double?
    /// How many of the last checkpoints are kept.
    package var keep: Int
  }

  package var task: Task
  package var classification: Classification
  package var head: HeadSection
  package var pair: Pair
  package var tagging: Tagging
  package var relation: Relation
  package var eventSubject: EventSubject
  package var reading: Reading
  package var masking: Masking
  package var training: Training
  package var model: ModelSection
  package var data: DataSection
  package var optimizer: OptimizerSection
  package var schedule: ScheduleSection
  package var batch: Batch
  package var length: Length
  package var seed: UInt64
  package var evaluation: Evaluation
  package var checkpoint: Checkpoints
  /// Of a rank; nil: the CPUs that the process may use, and no more than its share of the host's.
  package var threads: Int?
  /// Bytes that a rank may take in all; nil: what the machine has free, divided by the ranks of the host.
  package var memoryLimit: Int?
}
