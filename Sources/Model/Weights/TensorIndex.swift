/// The tensors of a source by what they mean to a BERT.
struct TensorIndex: Sendable {
  struct Place: Sendable {
    let tensor: TensorDescription
    /// Whether the file holds the transpose of the canonical matrix.
    let transposed: Bool

    /// The canonical shape.
    var shape: [Int] { transposed ? tensor.shape.reversed() : tensor.shape }
  }

  /// By canonical name.
  private(set) var model: [String: Place] = [:]
  /// Canonical names in the order of the file.
  private(set) var order: [String] = []
  private(set) var optimizerState: [TensorDescription] = []
  private(set) var derived: [TensorDescription] = []
  private(set) var unknown: [TensorDescription] = []

  init(_ source: any TensorSource, format: ModelFolder.Format) throws {
    let names = Set(source.tensors.map(\.name))
    for tensor in source.tensors {
      let meaning =
        format == .tensorFlow
        ? TensorNames.meaning(tensorFlow: tensor.name)
        : TensorNames.meaning(huggingFace: tensor.name)
      switch meaning {
      case .optimizerState: optimizerState.append(tensor)
      // Some writers keep the bias of masked-language predictions under the decoder's name alone.
      case .derived
      where tensor.name == "cls.predictions.decoder.bias" && !names.contains("cls.predictions.bias"):
        model["cls.predictions.bias"] = Place(tensor: tensor, transposed: false)
        order.append("cls.predictions.bias")
      case .derived: derived.append(tensor)
      case .unknown: unknown.append(tensor)
      case .model(let name, let transposed):
        if let other = model[name] {
          throw WeightsError(
            .format, source.location,
            "holds \(name) twice, as \"\(other.tensor.name)\" and \"\(tensor.name)\"",
            "remove one of them")
        }
        // A matrix that is not one keeps its shape, so that the report can show it.
        model[name] = Place(
          tensor: tensor, transposed: transposed && tensor.shape.count == 2)
        order.append(name)
      }
    }
  }

  /// The number of encoder layers of which the file holds anything.
  var layerCount: Int {
    let numbers = model.keys.compactMap {
      TensorNames.layer(of: $0, after: "bert.encoder.layer.", separator: ".")?.number
    }
    return Set(numbers).count
  }
}
