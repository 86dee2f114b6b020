import Crypto
import Foundation
import Model

/// The digest that a run's result is named by, computed from weights in memory.
///
/// A run takes it from the file that it writes; this is what tests compare that with.
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

  /// The moments as a checkpoint names them: `<name>.m` and `<name>.v` of the trained tensors, and `<name>.ema`, the moving average
  /// as it is summed, where one is kept.
  package var momentTensors: [SafetensorsWriter.Tensor] {
    momentTensors { arena, range, sink in try sink(UnsafeRawBufferPointer(arena[range])) }
  }

  /// The same, with the bytes of `range` of an arena handed to `sink` by `read`.
  func momentTensors(
    read:
      @escaping (Arena, Range<Int>, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws ->
      Void
  ) -> [SafetensorsWriter.Tensor] {
    trainedParameters.flatMap { parameter in
      stateArenas.map { suffix, arena in
        SafetensorsWriter.Tensor(
          name: "\(parameter.name).\(suffix)", elementType: .float32, shape: parameter.shape
        ) { sink in try read(arena, parameter.range, sink) }
      }
    }
  }
}
