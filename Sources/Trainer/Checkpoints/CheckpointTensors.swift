import Crypto
import Foundation
import Model

/// The digest that a run's result is named by, computed from weights in memory.
///
/// A run takes it from the file that it writes; this is what `verify` and tests compare that with.
package enum WeightsDigest {
  /// SHA-256, in hexadecimal digits, of the `model.safetensors` that holds `parameters`.
  package static func hex(of parameters: Arena, table: ParameterTable) throws -> String {
    var hash = SHA256()
    try SafetensorsWriter.stream(SafetensorsWriter.tensors(table, of: parameters)) {
      hash.update(bufferPointer: $0)
    }
    return hash.finalize().hex
  }
}

extension Optimizer {
  /// The parameters that have moments.
  var trainedParameters: [Parameter] { zip(table.parameters, trainable).filter(\.1).map(\.0) }

  /// One tensor of the optimizer's state, as a checkpoint names it.
  struct StateTensor {
    let name: String
    let shape: [Int]
    let arena: Arena
    let range: Range<Int>
  }

  /// The state as a checkpoint's file holds it, by rising names: `<name>.m` and `<name>.v` of the trained tensors, and `<name>.ema`, the
  /// moving average as it is summed, where one is kept.
  var stateTensors: [StateTensor] {
    trainedParameters.flatMap { parameter in
      stateArenas.map { suffix, arena in
        StateTensor(
          name: "\(parameter.name).\(suffix)", shape: parameter.shape, arena: arena,
          range: parameter.range)
      }
    }.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  /// The same for a file, from this process' memory.
  package var momentTensors: [SafetensorsWriter.Tensor] {
    stateTensors.map { .init(name: $0.name, shape: $0.shape, arena: $0.arena, range: $0.range) }
  }
}
