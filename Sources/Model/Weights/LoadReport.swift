/// How the tensors of a file and those of a model fit together.
package struct LoadReport: Sendable, Equatable {
  package struct Item: Sendable, Equatable {
    /// The canonical name, or the file's own for tensors that are no part of a BERT.
    package let name: String
    /// The name in the file, if it is there.
    package let fileName: String?
    package let typeName: String?
    /// The model's shape, if the model has the tensor.
    package let expected: [Int]?
    /// The canonical shape of what the file holds.
    package let found: [Int]?
    /// Why the tensor is missing or left over, as far as it can be told.
    package let cause: String?

    init(
      _ name: String, _ place: TensorIndex.Place?, expected: [Int]? = nil, cause: String? = nil
    ) {
      self.name = name
      fileName = place?.tensor.name
      typeName = place?.tensor.typeName
      self.expected = expected
      found = place?.shape
      self.cause = cause
    }
  }

  /// The model's tensors that the file holds in the right shape.
  package private(set) var found: [Item] = []
  /// The model's tensors that the file does not hold, or holds in another shape.
  package private(set) var missing: [Item] = []
  /// What else the file holds.
  package private(set) var extra: [Item] = []

  /// The missing tensors without which the encoder cannot run: all but the pooler's and the head's.
  package var missingFromEncoder: [Item] {
    missing.filter { $0.name.hasPrefix("bert.") && !$0.name.hasPrefix("bert.pooler.") }
  }

  init(_ index: TensorIndex, table: ParameterTable, configuration: BertConfiguration?) {
    let layers = index.layerCount
    for parameter in table.parameters {
      let place = index.model[parameter.name]
      if let place, place.shape == parameter.shape {
        found.append(Item(parameter.name, place, expected: parameter.shape))
      } else {
        let cause = Self.missingCause(parameter.name, found: place != nil, layers: layers)
        missing.append(Item(parameter.name, place, expected: parameter.shape, cause: cause))
      }
    }
    for name in index.order where table[name] == nil {
      let cause = Self.extraCause(name, layers: configuration?.layerCount)
      extra.append(Item(name, index.model[name], cause: cause))
    }
    func add(_ tensors: [TensorDescription], _ cause: String) {
      for tensor in tensors {
        extra.append(
          Item(tensor.name, TensorIndex.Place(tensor: tensor, transposed: false), cause: cause))
      }
    }
    add(index.derived, "follows from other tensors")
    add(index.optimizerState, "optimizer slots")
    add(index.unknown, "no part of a BERT")
  }

  private static func missingCause(_ name: String, found: Bool, layers: Int) -> String {
    let isHead = !name.hasPrefix("bert.")
    if found {
      switch name {
      case ParameterTable.wordTable: return "a vocabulary of another size"
      case "bert.embeddings.position_embeddings.weight": return "another number of positions"
      case "bert.embeddings.token_type_embeddings.weight": return "another number of segments"
      default: return isHead ? "the task head of another model" : "a model of another width"
      }
    }
    if isHead { return "a new task head" }
    if name.hasPrefix("bert.pooler.") { return "the file holds no pooler" }
    if let layer = TensorNames.layer(of: name, after: "bert.encoder.layer.", separator: "."),
      layer.number >= layers
    {
      return "the file holds \(layers) layers"
    }
    return "not in the file"
  }

  private static func extraCause(_ name: String, layers: Int?) -> String {
    if name.hasPrefix("cls.") { return "a head of pretraining" }
    if name.hasPrefix("bert.pooler.") { return "the pooler, which this model does not read" }
    if let layer = TensorNames.layer(of: name, after: "bert.encoder.layer.", separator: "."),
      let layers, layer.number >= layers
    {
      return "a layer past the configuration's \(layers)"
    }
    return name.hasPrefix("bert.") ? "not read by this model" : "the task head of another model"
  }
}

extension LoadReport: CustomStringConvertible {
  /// One line of counts, then one line a cause of what is missing or left over.
  package var description: String {
    var lines = [
      "\(found.count) tensors loaded, \(missing.count) missing, \(extra.count) not used"
    ]
    for (title, items) in [("missing", missing), ("not used", extra)] {
      var causes: [String] = [], counts: [String: [Item]] = [:]
      for item in items {
        let cause = item.cause ?? ""
        if counts[cause] == nil { causes.append(cause) }
        counts[cause, default: []].append(item)
      }
      for cause in causes {
        let items = counts[cause] ?? []
        let names = items.prefix(2).map(\.name).joined(separator: ", ")
        lines.append(
          "\(title): \(names)\(items.count > 2 ? " and \(items.count - 2) more" : "") (\(cause))")
      }
    }
    return lines.joined(separator: "\n")
  }
}
