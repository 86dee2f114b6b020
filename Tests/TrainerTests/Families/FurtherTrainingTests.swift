import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// What a masked-LM training leaves behind is a model to begin with.
@Suite struct FurtherTrainingTests {
  private static func layers(_ folder: URL) throws -> [String: [Float]] {
    let source = try Safetensors(folder.appending(path: "model.safetensors"))
    var values: [String: [Float]] = [:]
    for tensor in source.tensors {
      // Encoders without a head of transformers are saved without the prefix.
      guard let range = tensor.name.firstRange(of: "encoder.layer.") else { continue }
      let arena = Arena(count: tensor.shape.reduce(1, *))
      try source.read(tensor.name, into: arena.elements)
      values[String(tensor.name[range.lowerBound...])] = Array(arena.elements)
    }
    return values
  }

  @Test func `every task begins with the layers that masked words were learnt with`() throws {
    let (folder, recipe) = try MadeUpFamily.named("masked-lm").written(
      dropout: 0, more: "steps: 3")
    defer { withExtendedLifetime(folder) {} }
    let run = folder.url.appending(path: "run"), model = run.appending(path: "best")
    _ = try onRanks(1) { try FamilyTests.train(recipe, into: run, [], on: $0) }
    let learnt = try Self.layers(model)
    #expect(learnt.count == 32)
    #expect(try learnt != Self.layers(Fixtures.url("tiny_hf")))
    for family in MadeUpFamily.all {
      let (folder, recipe) = try family.written(dropout: 0, more: "steps: 2")
      defer { withExtendedLifetime(folder) {} }
      let run = folder.url.appending(path: "run")
      // Frozen, they are still there at the end; the head has learnt.
      let overrides = ["model.path=\(model.path)", "model.frozenLayers=2"]
      _ = try onRanks(1) { try FamilyTests.train(recipe, into: run, overrides, on: $0) }
      #expect(try Self.layers(run.appending(path: "best")) == learnt, "\(family)")
    }
  }
}
