/// An entity of a tagged sentence.
package struct TaggedEntity: Sendable, Hashable {
  package let type: String
  /// Tokens, both ends included.
  package let first: Int
  package let last: Int

  package init(type: String, first: Int, last: Int) {
    self.type = type
    self.first = first
    self.last = last
  }

  /// The entities of BIO tags as CoNLL's scorer and seqeval read them: an `I-` that continues nothing starts an entity.
  package static func entities(of tags: [String]) -> [TaggedEntity] {
    var entities: [TaggedEntity] = []
    var open: (type: Substring, first: Int)?
    func close(before token: Int) {
      if let entity = open {
        entities.append(
          TaggedEntity(type: String(entity.type), first: entity.first, last: token - 1))
      }
      open = nil
    }
    for (token, tag) in tags.enumerated() {
      guard tag != "O" else {
        close(before: token)
        continue
      }
      let type = tag.dropFirst(2)
      if tag.hasPrefix("B-") || open?.type != type {
        close(before: token)
        open = (type, token)
      }
    }
    close(before: tags.count)
    return entities
  }
}

/// What was found, what is true, and what is both; its scores are undefined where nothing was predicted or is true.
package struct MatchCounts: Sendable, Equatable {
  package var correct = 0
  package var predicted = 0
  package var gold = 0

  package init(correct: Int = 0, predicted: Int = 0, gold: Int = 0) {
    self.correct = correct
    self.predicted = predicted
    self.gold = gold
  }

  /// nil without predictions: a model that says nothing is not precise.
  package var precision: Double? { predicted == 0 ? nil : Double(correct) / Double(predicted) }
  /// nil where there is nothing to find.
  package var recall: Double? { gold == 0 ? nil : Double(correct) / Double(gold) }
  /// `2·correct / (predicted + gold)`; nil where both are 0.
  package var f1: Double? {
    predicted + gold == 0 ? nil : 2 * Double(correct) / Double(predicted + gold)
  }

  package static func += (sum: inout MatchCounts, counts: MatchCounts) {
    sum.correct += counts.correct
    sum.predicted += counts.predicted
    sum.gold += counts.gold
  }

  /// Precision, recall and F1 by name, those that are defined.
  package var scores: [String: Double] {
    ["precision": precision, "recall": recall, "f1": f1].compactMapValues { $0 }
  }

  /// A sentence where nothing was predicted although there is something to find; `what` in the plural.
  package func warning(_ what: String) -> String? {
    predicted == 0 && gold > 0
      ? "no predictions: none of the \(gold) \(what) is found, and no precision is defined" : nil
  }
}

/// Entity scores over sentences, as seqeval computes them (default mode).
package struct EntityMetrics: Sendable, Equatable {
  package let total: MatchCounts
  /// By type, of all types that occur in either.
  package let byType: [String: MatchCounts]

  /// The tags of each sentence, gold and predicted.
  package init(gold: [[String]], predicted: [[String]]) {
    self.init(
      gold: gold.map(TaggedEntity.entities), predicted: predicted.map(TaggedEntity.entities))
  }

  /// The entities of each sentence, gold and predicted.
  package init(gold: [[TaggedEntity]], predicted: [[TaggedEntity]]) {
    precondition(gold.count == predicted.count, "\(predicted.count) of \(gold.count) sentences")
    var byType: [String: MatchCounts] = [:]
    for (gold, predicted) in zip(gold, predicted) {
      let truth = Set(gold), found = Set(predicted)
      for entity in truth { byType[entity.type, default: MatchCounts()].gold += 1 }
      for entity in found {
        byType[entity.type, default: MatchCounts()].predicted += 1
        if truth.contains(entity) { byType[entity.type, default: MatchCounts()].correct += 1 }
      }
    }
    self.byType = byType
    total = byType.values.reduce(into: MatchCounts()) { $0 += $1 }
  }

  /// The mean over types, undefined scores counting 0; nil without types.
  package var macroF1: Double? {
    byType.isEmpty
      ? nil : byType.values.reduce(0) { $0 + ($1.f1 ?? 0) } / Double(byType.count)
  }
}
