import Foundation
import Model
import TestSupport
import Testing

@Suite struct RewritingTests {
  @Test(arguments: [
    ("tiny_tf/bert_model.ckpt", 1), ("tiny_tf_sharded/bert_model.ckpt", 3),
    ("tf_extra/partitioned.ckpt", 1), ("tf_extra/dtypes.ckpt", 1),
  ])
  func `a checkpoint read and written again has the bytes TensorFlow wrote`(
    fixture: String, shards: Int
  ) throws {
    let folder = try TemporaryFolder()
    let copy = folder.url.appending(path: "copy")
    try TensorFlowCheckpoint(prefix: Fixtures.url(fixture)).write(to: copy)
    let suffixes = (0..<shards).map { ".data-0000\($0)-of-0000\(shards)" } + [".index"]
    for suffix in suffixes {
      let written = try Data(contentsOf: URL(filePath: copy.path + suffix))
      #expect(try written == Fixtures.data(fixture + suffix), "\(suffix)")
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted()
    #expect(names == suffixes.map { "copy" + $0 }.sorted())
  }

  @Test(arguments: ["tiny_hf", "tiny_hf_fp16", "tiny_hf_bf16"])
  func `a safetensors file read and written again has the bytes the library wrote`(
    fixture: String
  ) throws {
    let folder = try TemporaryFolder()
    let source = try Safetensors(Fixtures.url("\(fixture)/model.safetensors"))
    let copy = folder.url.appending(path: "model.safetensors")
    let tensors = try source.tensors.reversed().map { tensor in
      SafetensorsWriter.Tensor(
        name: tensor.name, elementType: try #require(tensor.elementType), shape: tensor.shape
      ) { sink in try source.stream(tensor, sink) }
    }
    var seen: [UInt8] = []
    let count = try SafetensorsWriter.write(tensors, to: copy, metadata: source.metadata) {
      seen += $0
    }
    let written = try Data(contentsOf: copy)
    #expect(try written == Fixtures.data("\(fixture)/model.safetensors"))
    #expect(Data(seen) == written)
    #expect(count == written.count)
  }
}
