import Foundation

/// Several safetensors files and the `model.safetensors.index.json` that says which holds what.
struct ShardedSafetensors: TensorSource {
  let location: String
  let tensors: [TensorDescription]
  private let shards: [Safetensors]
  private let shardOf: [String: Int]

  init(_ index: URL) throws {
    location = index.relativePath
    let json = try JSONValue(parsing: InputFile.contents(of: index), file: location)
    guard let map = json["weight_map"]?.members else {
      throw WeightsError.malformed(location, "holds no object weight_map")
    }
    let folder = index.deletingLastPathComponent()
    var numbers: [String: Int] = [:]
    var shards: [Safetensors] = [], shardOf: [String: Int] = [:], tensors: [TensorDescription] = []
    for member in map {
      // A shard lies beside its index: a name that leads elsewhere is not followed.
      guard let name = member.value.string, !name.isEmpty, !name.contains("/"), name != ".." else {
        throw WeightsError.malformed(
          location, "weight_map gives \(member.value.kind) for \"\(member.key)\"")
      }
      let number = numbers[name] ?? shards.count
      if number == shards.count {
        let shard = folder.appending(path: name)
        guard FileManager.default.fileExists(atPath: shard.path) else {
          throw WeightsError(
            .missing, location, "names the shard \(name), which is not there",
            "fetch it into the same folder")
        }
        shards.append(try Safetensors(shard))
        numbers[name] = number
      }
      guard let tensor = shards[number].tensor(member.key) else {
        throw WeightsError(
          .missing, shards[number].location,
          "does not hold \"\(member.key)\", which \(index.lastPathComponent) places there",
          WeightsError.fetchAgain)
      }
      shardOf[member.key] = number
      tensors.append(tensor)
    }
    for shard in shards {
      guard let stray = shard.tensors.first(where: { shardOf[$0.name] == nil }) else { continue }
      throw WeightsError(
        .format, shard.location,
        "holds \"\(stray.name)\", which \(index.lastPathComponent) does not list",
        WeightsError.fetchAgain)
    }
    self.shards = shards
    self.shardOf = shardOf
    self.tensors = tensors.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  func tensor(_ name: String) -> TensorDescription? {
    shardOf[name].flatMap { shards[$0].tensor(name) }
  }

  func stream(_ tensor: TensorDescription, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    guard let shard = shardOf[tensor.name] else {
      preconditionFailure("\(tensor.name) is not in \(location)")
    }
    try shards[shard].stream(tensor, body)
  }
}
