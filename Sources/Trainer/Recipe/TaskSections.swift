import Model
import Text

/// The sections of a recipe that belong to one task each.
extension Recipe {
  /// How tokens are labelled: the section `tagging`.
  package struct Tagging: Sendable, Equatable, Codable {
    package enum Head: String, Sendable, Codable, CaseIterable {
      /// Each token by itself.
      case softmax
      /// A linear-chain conditional random field.
      case crf
      /// A score for every span and type, so that entities may nest (Su and others, 2022).
      case globalPointer = "global-pointer"
    }

    /// What a token of a file is, which decides how a bare text is cut for prediction.
    package enum Unit: String, Sendable, Codable, CaseIterable {
      /// One character.
      case characters
      /// A word or a punctuation mark.
      case words
    }

    /// Which pieces of a token are labelled.
    package enum Pieces: String, Sendable, Codable, CaseIterable {
      /// The first one, as Hugging Face's examples do.
      case first
      /// All, the later ones as the inside of an entity, and [CLS] and [SEP] as outside: bert4keras.
      case all
    }

    package var head: Head
    package var unit: Unit
    package var pieces: Pieces
    /// The learning-rate multiplier of the transitions (bert4keras).
    package var crfMultiplier: Double
    /// Whether the transitions are stored divided by it, as bert4keras does; else it multiplies their learning rate, which
    /// leaves the gradient's norm alone.
    package var storesMultiplied: Bool
    /// What the stored transitions are multiplied with.
    var storedMultiplier: Double { storesMultiplied ? crfMultiplier : 1 }
    package var continuation: BIOFile.Continuation
    /// Entity types that are learnt, the others being read as O; nil: all.
    package var types: [String]?
  }

  /// How a subject or an entity is found in its text.
  package enum Matching: String, Sendable, Codable, CaseIterable {
    /// By its characters: the tokens that cover its first occurrence.
    case text
    /// By its tokens: the first occurrence of the same ids, as the recipes of 2019 do, where [UNK] equals [UNK].
    case tokens
  }

  /// How relations are read and found: the section `relation`.
  package struct Relation: Sendable, Equatable, Codable {
    package enum Method: String, Sendable, Codable, CaseIterable {
      /// First subjects, then for each its objects with their predicates.
      case cascade
      /// Subjects, objects and their pairs at once (Su, "GPLinker", 2022; bert4keras).
      case gplinker
    }

    /// nil: the cascade, which is named nowhere, so that its recipes and models are the bytes that they were without a second method.
    package var method: Method?
    /// The cascade's, as the thresholds are.
    package var conditioning: Head.Conditioning
    /// Probabilities from which a token is a start, and an end.
    package var startThreshold: Double
    package var endThreshold: Double
    /// The powers of the sigmoids that are the probabilities of subjects and of objects; nil: 1, which is named nowhere.
    package var subjectPower: Int?
    package var objectPower: Int?
    package var matching: Matching
    /// Predicates that hold in both directions, each with its mirror image.
    package var symmetric: [String: String]
    /// By predicate another one, of which a triple's subject must not be an object alone; nil: no rule.
    ///
    /// A triple is dropped if its subject is an object of the other predicate and the subject of none of its triples.
    package var excludedSubjects: [String: String]?
    /// Whether subjects inside a title 《…》 are taken for the title, as the recipe of 2019 repairs its rows.
    package var repairsTitles: Bool
  }

  /// How the subjects of events are read: the section `eventSubject`.
  package struct EventSubject: Sendable, Equatable, Codable {
    package var matching: Matching
    /// Event types whose rows are left out.
    package var dropped: [String]
  }

  /// How texts are read for answers: the section `reading`.
  package struct Reading: Sendable, Equatable, Codable {
    /// Tokens of a question that are kept.
    package var maxQuestion: Int
    /// Tokens that two neighbouring windows have in common; in the dialect `google` tokens from one to the next, at least 1.
    package var stride: Int
    /// Tokens of an answer.
    package var maxAnswer: Int
    /// Answers that a prediction lists.
    package var best: Int
    /// How much better than any answer "no answer" must score to be given.
    package var nullThreshold: Double
    package var metric: AnswerMetrics.Kind
  }

  /// What is hidden from a masked language model: the section `masking`.
  package struct Masking: Sendable, Equatable, Codable {
    /// The share of a text's tokens that are asked for.
    package var share: Double
    /// Whether the pieces of a word are masked together.
    package var wholeWords: Bool
  }

  /// How two texts meet: the section `pair`.
  package struct Pair: Sendable, Equatable, Codable {
    package enum Mode: String, Sendable, Codable, CaseIterable {
      /// One input `[CLS] A [SEP] B [SEP]`.
      case joined
      /// Two inputs, whose [CLS] vectors are compared.
      case siamese
    }

    package var mode: Mode
    package var comparison: Head.Comparison
  }
}
