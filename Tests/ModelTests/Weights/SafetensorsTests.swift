import Foundation
import Model
import TestSupport
import Testing

@Suite struct SafetensorsTests {
  static let four = bytes([1, 2, 3, 4])
  static let good =
    #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}}"#

  @Test func `tensors, shapes and metadata are those of the header`() throws {
    let folder = try TemporaryFolder()
    let header =
      #"{"__metadata__":{"format":"pt","é":"\u00e9\ud83d\ude00"},"# + Self.good.dropFirst()
    try folder.write(safetensors(header: header, data: Self.four), to: "m.safetensors")
    let file = try Safetensors(folder.path("m.safetensors"))
    #expect(file.metadata == ["format": "pt", "é": "é😀"])
    #expect(file.tensors.map(\.name) == ["a", "b"])
    #expect(file.tensor("b")?.shape == [1, 2])
    #expect(file.tensor("c") == nil)
    var values = [Float](repeating: 0, count: 2)
    try values.withUnsafeMutableBufferPointer { try file.read("b", into: $0) }
    #expect(values == [3, 4])
  }

  /// A header, and the sentence that says what is wrong with it.
  static let wrong: [(String, String)] = [
    ("", "the header does not begin with '{'; fetch or copy the file again."),
    ("[]", "the header does not begin with '{'; fetch or copy the file again."),
    (
      good.dropLast() + ",}",
      " (header): is not JSON at line 1, column 111: a key in quotes is expected, found '}'; correct the file there."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#,
      " (header): is not JSON at line 1, column 55: the key \"a\" again; correct the file there."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
      "the tensor \"b\" starts at byte 4 of the data where the one before ends at 8; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#,
      "the tensor \"b\" starts at byte 8 of the data where the one before ends at 4; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
      "the header describes 8 bytes of data where the file holds 16; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}"#,
      "the tensor \"a\" has the data_offsets [0,24] where the file holds 16 bytes of data; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
      "the tensor \"a\" has the data_offsets [8,0] where the file holds 16 bytes of data; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}}"#,
      "the tensor \"a\" of shape [3] and type F32 lies in 16 bytes; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,16]}}"#,
      "the tensor \"a\" of shape [4294967296, 4294967296, 4294967296] and type F32 lies in 16 bytes; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}"#,
      "the tensor \"a\" has the number -4 as a dimension; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}}"#,
      "the tensor \"a\" has the number 4.0 as a dimension; fetch or copy the file again."
    ),
    (
      #"{"a":{"dtype":"F8_E4M3","shape":[16],"data_offsets":[0,16]}}"#,
      "the tensor \"a\" is of the unknown type \"F8_E4M3\"; store it as one of F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL."
    ),
    (
      #"{"a":{"dtype":"F32","shape":[4],"offsets":[0,16]}}"#,
      "the tensor \"a\" is not described by dtype, shape and data_offsets; fetch or copy the file again."
    ),
    (
      #"{"__metadata__":{"format":1},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
      "__metadata__ is an object with values that are not strings; fetch or copy the file again."
    ),
  ]

  @Test(arguments: wrong)
  func `a header that breaks a rule is refused with the rule`(
    header: String, sentence: String
  ) throws {
    let folder = try TemporaryFolder()
    try folder.write(safetensors(header: header, data: Self.four), to: "m.safetensors")
    let path = folder.path("m.safetensors").path
    let separator = sentence.hasPrefix(" ") ? "" : ": "
    #expect(
      message { _ = try Safetensors(folder.path("m.safetensors")) } == path + separator + sentence)
  }

  @Test func `a header length past the file or the limit is refused`() throws {
    let folder = try TemporaryFolder()
    let url = folder.path("m.safetensors")
    for (length, sentence) in [
      (
        UInt64.max,
        "declares a header of 18446744073709551615 bytes where at most 100000000 are allowed"
      ),
      (100_000_001, "declares a header of 100000001 bytes where at most 100000000 are allowed"),
      (100_000_000, "the header needs 100000000 bytes where 2 are left"),
    ] as [(UInt64, String)] {
      try folder.write(safetensors(header: "{}", data: [], length: length), to: "m.safetensors")
      #expect(message { _ = try Safetensors(url) }.hasPrefix("\(url.path): \(sentence);"))
    }
    try folder.write([1, 2, 3], to: "m.safetensors")
    #expect(
      message { _ = try Safetensors(url) }
        == "\(url.path): holds 3 bytes where a safetensors header needs 8; fetch or copy the file again."
    )
  }

  @Test func `bits of a header changed never crash, and a file cut short is an error`() throws {
    let folder = try TemporaryFolder()
    let url = folder.path("m.safetensors")
    let file = safetensors(header: Self.good, data: Self.four)
    for bit in (0..<8 * (file.count - 16)) where [0, 1, 5, 7].contains(bit % 8) {
      var damaged = file
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      try folder.write(damaged, to: "m.safetensors")
      guard let file = try? Safetensors(url) else { continue }
      for tensor in file.tensors { try file.stream(tensor) { _ in } }
    }
    for count in file.indices {
      try folder.write(file[..<count], to: "m.safetensors")
      #expect(throws: WeightsError.self, "\(count) bytes") { try Safetensors(url) }
    }
  }

  @Test(arguments: [(0, Float.nan, "nan"), (5000, .infinity, "inf"), (8191, -.infinity, "-inf")])
  func `a value that is not finite is named with its index`(
    place: Int, value: Float, text: String
  ) throws {
    let folder = try TemporaryFolder()
    let url = folder.path("m.safetensors")
    var values = [Float](repeating: 1, count: 8192)
    values[place] = value
    let header = #"{"w":{"dtype":"F32","shape":[8192],"data_offsets":[0,32768]}}"#
    try folder.write(safetensors(header: header, data: bytes(values)), to: "m.safetensors")
    #expect(
      message {
        try values.withUnsafeMutableBufferPointer { try Safetensors(url).read("w", into: $0) }
      }
        == "\(url.path): the tensor \"w\" holds \(text) at flat index \(place); use weights from before training diverged."
    )
  }

  @Test func `integers are not weights`() throws {
    let folder = try TemporaryFolder()
    let url = folder.path("m.safetensors")
    let header = #"{"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#
    try folder.write(
      safetensors(header: header, data: [UInt8](repeating: 0, count: 8)), to: "m.safetensors")
    var values: [Float] = [0]
    #expect(
      message {
        try values.withUnsafeMutableBufferPointer { try Safetensors(url).read("w", into: $0) }
      }
        == "\(url.path): the tensor \"w\" is of type I64 where floating-point numbers are expected; "
        + "name a file whose weights are F64, F32, F16 or BF16.")
  }

  @Test func `a named pipe is refused and not waited for`() throws {
    let folder = try TemporaryFolder()
    let url = folder.path("pipe.safetensors")
    #expect(mkfifo(url.path, 0o600) == 0)
    #expect(
      message { _ = try Safetensors(url) }
        == "\(url.path): is not a regular file; name a file of weights.")
  }

  @Test func `an output that cannot be written leaves nothing behind`() throws {
    let folder = try TemporaryFolder()
    let url = folder.path("absent/m.safetensors")
    #expect(
      message { _ = try SafetensorsWriter.write([], to: url) }
        == "\(url.path): cannot be created: No such file or directory; check the path."
    )
    // A tensor whose bytes fail to come.
    struct Stop: Error {}
    let tensor = SafetensorsWriter.Tensor(name: "a", elementType: .float32, shape: [1]) { _ in
      throw Stop()
    }
    #expect(throws: Stop.self) {
      try SafetensorsWriter.write([tensor], to: folder.path("m.safetensors"))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path).isEmpty)
  }
}
