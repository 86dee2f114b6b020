/// The type of a tensor's elements in a file.
package enum ElementType: String, Sendable, Codable, CaseIterable {
  case float64 = "F64"
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case int64 = "I64"
  case int32 = "I32"
  case int16 = "I16"
  case int8 = "I8"
  case uint64 = "U64"
  case uint32 = "U32"
  case uint16 = "U16"
  case uint8 = "U8"
  case bool = "BOOL"

  /// Bytes of an element.
  package var byteCount: Int {
    switch self {
    case .float64, .int64, .uint64: 8
    case .float32, .int32, .uint32: 4
    case .float16, .bfloat16, .int16, .uint16: 2
    case .int8, .uint8, .bool: 1
    }
  }

  package var isFloatingPoint: Bool {
    switch self {
    case .float64, .float32, .float16, .bfloat16: true
    default: false
    }
  }

  /// TensorFlow's number of the type (types.proto).
  package var tensorFlowCode: Int {
    switch self {
    case .float32: 1
    case .float64: 2
    case .int32: 3
    case .uint8: 4
    case .int16: 5
    case .int8: 6
    case .int64: 9
    case .bool: 10
    case .bfloat16: 14
    case .uint16: 17
    case .float16: 19
    case .uint32: 22
    case .uint64: 23
    }
  }

  package init?(tensorFlowCode code: Int) {
    guard let type = Self.allCases.first(where: { $0.tensorFlowCode == code }) else { return nil }
    self = type
  }

  /// The order in which the safetensors library lays tensors out: widest and latest type first.
  var safetensorsRank: Int {
    let order: [ElementType] = [
      .uint64, .int64, .float64, .float32, .uint32, .int32, .bfloat16, .float16, .uint16, .int16,
      .int8, .uint8, .bool,
    ]
    return order.firstIndex(of: self) ?? order.count
  }

  /// Widens or rounds the floating-point elements in `bytes` to `floats`, one for one.
  func convert(_ bytes: UnsafeRawBufferPointer, to floats: UnsafeMutableBufferPointer<Float>) {
    precondition(
      bytes.count == floats.count * byteCount,
      "\(bytes.count) bytes of \(rawValue) for \(floats.count) elements")
    switch self {
    case .float32: UnsafeMutableRawBufferPointer(floats).copyMemory(from: bytes)
    case .float64:
      for i in floats.indices {
        floats[i] = Float(
          Double(bitPattern: bytes.loadUnaligned(fromByteOffset: i * 8, as: UInt64.self)))
      }
    case .float16:
      for i in floats.indices {
        floats[i] = Float(
          Float16(bitPattern: bytes.loadUnaligned(fromByteOffset: i * 2, as: UInt16.self)))
      }
    case .bfloat16:
      for i in floats.indices {
        floats[i] = Float(
          bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: i * 2, as: UInt16.self)) << 16)
      }
    default: preconditionFailure("\(rawValue) is not a floating-point type")
    }
  }
}
