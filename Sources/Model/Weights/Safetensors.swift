import Foundation

/// A safetensors file: a JSON header and the bytes of tensors without holes.
///
/// Read by the letter of the format's specification (huggingface/safetensors, README "Format"): eight bytes
/// of header length, the header, the data; every tensor's range must meet the next one's.
package struct Safetensors: TensorSource {
  package var location: String { file.path }
  /// In the order of their data.
  package let tensors: [TensorDescription]
  /// The header's `__metadata__`.
  package let metadata: [String: String]
  private let file: InputFile
  /// The position of the data in the file.
  private let dataStart: Int
  private let places: [String: (index: Int, offset: Int)]
  /// The specification's limit of the header.
  private static let longestHeader = 100_000_000

  package init(_ url: URL) throws {
    file = try InputFile(url)
    guard file.byteCount >= 8 else {
      throw WeightsError(
        .truncated, file.path, "holds \(file.byteCount) bytes where a safetensors header needs 8",
        WeightsError.fetchAgain)
    }
    let length = try file.bytes(at: 0, count: 8).reversed().reduce(UInt64(0)) {
      $0 << 8 | UInt64($1)
    }
    guard length <= UInt64(Self.longestHeader) else {
      throw WeightsError(
        .format, file.path,
        "declares a header of \(length) bytes where at most \(Self.longestHeader) are allowed",
        "check that it is a safetensors file and not a page about one")
    }
    guard Int(length) <= file.byteCount - 8 else {
      throw WeightsError.truncated(
        file.path, "the header", needed: Int(length), available: file.byteCount - 8)
    }
    dataStart = 8 + Int(length)
    let header = try file.bytes(at: 8, count: Int(length))
    guard header.first == UInt8(ascii: "{") else {
      throw WeightsError.malformed(file.path, "the header does not begin with '{'")
    }
    let json = try JSONValue(parsing: header, file: "\(file.path) (header)")
    (tensors, places, metadata) = try Self.decode(
      json, file: file.path, dataCount: file.byteCount - dataStart)
  }

  package func tensor(_ name: String) -> TensorDescription? {
    places[name].map { tensors[$0.index] }
  }

  package func stream(
    _ tensor: TensorDescription, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    guard let place = places[tensor.name] else {
      preconditionFailure("\(tensor.name) is not in \(location)")
    }
    try file.stream(at: dataStart + place.offset, count: tensor.byteCount, body)
  }

  private typealias Decoded = (
    tensors: [TensorDescription], places: [String: (index: Int, offset: Int)],
    metadata: [String: String]
  )

  private static func decode(_ json: JSONValue, file: String, dataCount: Int) throws -> Decoded {
    var found: [(tensor: TensorDescription, offset: Int)] = []
    var metadata: [String: String] = [:]
    for member in json.members ?? [] {
      if member.key == "__metadata__" {
        for entry in member.value.members ?? [] { metadata[entry.key] = entry.value.string }
        guard metadata.count == member.value.members?.count else {
          throw WeightsError.malformed(
            file, "__metadata__ is \(member.value.kind) with values that are not strings")
        }
      } else {
        found.append(try decode(member, file: file, dataCount: dataCount))
      }
    }
    // Offsets first; an empty tensor lies before the one that starts where it does.
    found.sort { ($0.offset, $0.tensor.byteCount) < ($1.offset, $1.tensor.byteCount) }
    var end = 0
    for (tensor, offset) in found {
      guard offset == end else {
        throw WeightsError.malformed(
          file,
          "the tensor \"\(tensor.name)\" starts at byte \(offset) of the data where the one before ends at \(end)"
        )
      }
      end += tensor.byteCount
    }
    guard end == dataCount else {
      let rule: WeightsError.Rule = end > dataCount ? .truncated : .format
      throw WeightsError(
        rule, file, "the header describes \(end) bytes of data where the file holds \(dataCount)",
        WeightsError.fetchAgain)
    }
    let places = found.enumerated().map { ($1.tensor.name, (index: $0, offset: $1.offset)) }
    return (found.map(\.tensor), Dictionary(uniqueKeysWithValues: places), metadata)
  }

  private static func decode(
    _ member: JSONValue.Member, file: String, dataCount: Int
  ) throws -> (TensorDescription, Int) {
    let name = member.key
    let keys: Set = ["dtype", "shape", "data_offsets"]
    guard let members = member.value.members, Set(members.map(\.key)) == keys,
      let typeName = member.value["dtype"]?.string,
      let dimensions = member.value["shape"]?.array,
      let offsets = member.value["data_offsets"]?.array
    else {
      throw WeightsError.malformed(
        file, "the tensor \"\(name)\" is not described by dtype, shape and data_offsets")
    }
    guard let type = ElementType(rawValue: typeName) else {
      throw WeightsError(
        .elementType, file, "the tensor \"\(name)\" is of the unknown type \"\(typeName)\"",
        "store it as one of \(ElementType.allCases.map(\.rawValue).joined(separator: " "))")
    }
    let shape = try dimensions.map { dimension in
      guard let size = dimension.literalInt, size >= 0 else {
        throw WeightsError.malformed(
          file, "the tensor \"\(name)\" has \(dimension.kind) as a dimension")
      }
      return size
    }
    guard offsets.count == 2, let begin = offsets[0].literalInt, let end = offsets[1].literalInt,
      begin >= 0,
      begin <= end, end <= dataCount
    else {
      let text = JSONValue.array(offsets).compact()
      throw WeightsError(
        .truncated, file,
        "the tensor \"\(name)\" has the data_offsets \(text) where the file holds \(dataCount) bytes of data",
        WeightsError.fetchAgain)
    }
    guard let byteCount = CheckedShape.byteCount(shape, elementBytes: type.byteCount),
      byteCount == end - begin
    else {
      throw WeightsError.malformed(
        file,
        "the tensor \"\(name)\" of shape \(shape) and type \(typeName) lies in \(end - begin) bytes"
      )
    }
    let tensor = TensorDescription(
      name: name, elementType: type, typeName: typeName, shape: shape, byteCount: byteCount)
    return (tensor, begin)
  }
}

enum CheckedShape {
  /// The bytes of a tensor, or nil when a dimension is negative or the product does not fit an `Int`.
  static func byteCount(_ shape: [Int], elementBytes: Int) -> Int? {
    var product = elementBytes
    // A zero makes the product zero however large the others are; they must still not overflow.
    for dimension in shape where dimension != 0 {
      guard dimension > 0 else { return nil }
      let (value, overflow) = product.multipliedReportingOverflow(by: dimension)
      guard !overflow else { return nil }
      product = value
    }
    return shape.contains(0) ? 0 : product
  }
}
