import Foundation

/// Writes safetensors files whose bytes depend on nothing but the tensors: those that the safetensors library writes.
package enum SafetensorsWriter {
  package struct Tensor {
    package let name: String
    package let elementType: ElementType
    /// Row-major.
    package let shape: [Int]
    /// Hands the little-endian bytes to the sink, in order and in pieces of any size.
    package let stream: (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void

    package init(
      name: String, elementType: ElementType, shape: [Int],
      stream: @escaping (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) {
      self.name = name
      self.elementType = elementType
      self.shape = shape
      self.stream = stream
    }

    /// The float32 elements of `range`.
    package init(name: String, shape: [Int], arena: Arena, range: Range<Int>) {
      self.init(name: name, elementType: .float32, shape: shape) { sink in
        try sink(UnsafeRawBufferPointer(arena[range]))
      }
    }

    var byteCount: Int { shape.reduce(elementType.byteCount, *) }
  }

  /// The tensors of `table`, whose elements lie in `arena`.
  package static func tensors(_ table: ParameterTable, of arena: Arena) -> [Tensor] {
    table.parameters.map {
      Tensor(name: $0.name, shape: $0.shape, arena: arena, range: $0.range)
    }
  }

  /// Writes `tensors` and returns the bytes of the file.
  ///
  /// The order in the file is the library's: widest
  /// type first, then by name. `observe` sees all bytes in order, for a hash; `progress` is called after every piece.
  @discardableResult
  package static func write(
    _ tensors: [Tensor], to url: URL, metadata: [String: String] = ["format": "pt"],
    operations: DurableOperations = DurableOperations(),
    observe: ((UnsafeRawBufferPointer) -> Void)? = nil, progress: () -> Void = {}
  ) throws -> Int {
    let file = try DurableFile(url, operations: operations, observe: observe)
    try stream(tensors, metadata: metadata) {
      try file.write($0)
      progress()
    }
    try file.commit(progress: progress)
    return file.byteCount
  }

  /// Hands the bytes of the file that `write` makes to `sink`, in order.
  package static func stream(
    _ tensors: [Tensor], metadata: [String: String] = ["format": "pt"],
    to sink: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let tensors = tensors.sorted {
      $0.elementType == $1.elementType
        ? $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
        : $0.elementType.safetensorsRank < $1.elementType.safetensorsRank
    }
    let header = header(tensors, metadata: metadata)
    var start: [UInt8] = []
    start.append(littleEndian: UInt64(header.count))
    try (start + header).withUnsafeBytes(sink)
    for tensor in tensors {
      var count = 0
      try tensor.stream { bytes in
        try sink(bytes)
        count += bytes.count
      }
      precondition(
        count == tensor.byteCount, "\(tensor.name) of shape \(tensor.shape) gave \(count) bytes")
    }
  }

  private static func header(_ tensors: [Tensor], metadata: [String: String]) -> [UInt8] {
    var members: [JSONValue.Member] = []
    if !metadata.isEmpty {
      let entries = metadata.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
      members.append(
        .init("__metadata__", .object(entries.map { .init($0.key, .string($0.value)) })))
    }
    var offset = 0
    var names: Set<String> = ["__metadata__"]
    for tensor in tensors {
      precondition(names.insert(tensor.name).inserted, "two tensors named \(tensor.name)")
      let end = offset + tensor.byteCount
      members.append(
        .init(
          tensor.name,
          .object([
            .init("dtype", .string(tensor.elementType.rawValue)),
            .init("shape", .array(tensor.shape.map { JSONValue($0) })),
            .init("data_offsets", .array([JSONValue(offset), JSONValue(end)])),
          ])))
      offset = end
    }
    var bytes = Array(JSONValue.object(members).compact().utf8)
    // The data starts at a multiple of eight.
    while bytes.count % 8 != 0 { bytes.append(UInt8(ascii: " ")) }
    return bytes
  }
}
