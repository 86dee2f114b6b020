import Crypto
import Foundation
import Model

/// The bytes of a safetensors file of float32 tensors, as the safetensors library lays them out: the
/// same tensors give the same bytes.
///
/// Names in the order of their bytes, `__metadata__` first, the header padded with spaces to eight bytes.
struct TensorFile {
  typealias Tensor = (name: String, shape: [Int], elements: UnsafeBufferPointer<Float>)

  private let tensors: [Tensor]
  private let header: [UInt8]

  init(_ tensors: [Tensor], metadata: [(key: String, value: String)]) {
    self.tensors = tensors.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.map { "\(Self.quoted($0.key)):\(Self.quoted($0.value))" }
      members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for tensor in self.tensors {
      let end = offset + 4 * tensor.elements.count
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(Self.quoted(tensor.name)):{\"dtype\":\"F32\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var json = Array("{\(members.joined(separator: ","))}".utf8)
    json += Array(repeating: UInt8(ascii: " "), count: (8 - json.count % 8) % 8)
    header = withUnsafeBytes(of: UInt64(json.count).littleEndian, Array.init) + json
  }

  /// Calls `append` with all bytes in order.
  func write(_ append: (UnsafeRawBufferPointer) throws -> Void) rethrows {
    try header.withUnsafeBytes(append)
    for tensor in tensors { try append(UnsafeRawBufferPointer(tensor.elements)) }
  }

  private static func quoted(_ text: String) -> String {
    precondition(
      text.unicodeScalars.allSatisfy { $0.value >= 32 && $0 != "\"" && $0 != "\\" },
      "\(text.debugDescription) as a name in a safetensors header")
    return "\"\(text)\""
  }
}

extension TensorFile {
  /// The model of `table`; the metadata is what transformers asks for.
  init(weights: Arena, table: ParameterTable) {
    self.init(
      table.parameters.map { ($0.name, $0.shape, UnsafeBufferPointer(weights[$0.range])) },
      metadata: [("format", "pt")])
  }

  /// The moments `<name>.m` and `<name>.v` of the trainable tensors.
  init(moments optimizer: Optimizer) {
    let trainable = zip(optimizer.table.parameters, optimizer.trainable).filter(\.1).map(\.0)
    self.init(
      trainable.flatMap { parameter in
        [("m", optimizer.firstMoment), ("v", optimizer.secondMoment)].map { suffix, arena in
          (
            "\(parameter.name).\(suffix)", parameter.shape,
            UnsafeBufferPointer(arena[parameter.range])
          )
        }
      }, metadata: [])
  }
}

/// The digest that names a run's result.
package enum WeightsDigest {
  /// SHA-256, in hexadecimal digits, of the `model.safetensors` that a checkpoint of `parameters` holds.
  package static func hex(of parameters: Arena, table: ParameterTable) -> String {
    var hash = SHA256()
    TensorFile(weights: parameters, table: table).write { hash.update(bufferPointer: $0) }
    return hash.finalize().hex
  }
}
