import Collective
import Foundation
import TestSupport
import Testing
import Trainer

/// Every trick by itself: the same bits on ranks, and other ones than without it.
@Suite struct TrickTests {
  struct Trick: Sendable, CustomTestStringConvertible {
    var name: String
    var keys: [String]
    /// Keys that are set without the trick as well.
    var also: [String] = []
    /// What it changes.
    var changes = Change.weights
    /// The task that it belongs to; nil: classification.
    var family: String?
    var testDescription: String { name }

    enum Change { case weights, bestModel, nothing }
  }

  static let tricks = [
    Trick(name: "FGM", keys: ["training.adversarial=0.5"]),
    Trick(
      name: "PGD",
      keys: [
        "training.adversarial=0.5", "training.adversarialSteps=3", "training.adversarialAlpha=0.3",
      ]),
    Trick(name: "focal loss", keys: ["training.focal=2"]),
    Trick(
      name: "FGM with dropout", keys: ["training.adversarialDropout=true"],
      also: ["training.adversarial=0.5"]),
    Trick(name: "R-Drop", keys: ["training.rDrop=2"]),
    // An average changes what is evaluated and saved as the best model, and nothing else.
    Trick(name: "moving average", keys: ["training.ema=0.9"], changes: .bestModel),
    Trick(name: "label smoothing", keys: ["training.labelSmoothing=0.1"]),
    Trick(name: "class weights", keys: ["training.classWeights={neg: 1, pos: 3}"]),
    Trick(name: "balanced class weights", keys: ["training.classWeights=balanced"]),
    Trick(name: "rates by depth", keys: ["optimizer.layerDecay=0.8"]),
    Trick(
      name: "rates by parts of names",
      keys: ["optimizer.multipliers={classifier: 10, LayerNorm: 0.5}"]),
    Trick(
      name: "rates by beginnings of names",
      keys: ["optimizer.prefixMultipliers={bert.encoder: 0.5, bert.encoder.layer.1: 2}"]),
    Trick(
      name: "piecewise schedule",
      keys: ["schedule.name=piecewise", "schedule.points={2: 1, 4: 0.1}"]),
    Trick(name: "frozen layers", keys: ["model.frozenLayers=1"]),
    Trick(name: "frozen embeddings", keys: ["model.freezeEmbeddings=true"]),
    Trick(name: "frozen by name", keys: ["model.frozen=[bert.pooler, encoder.layer.1.output]"]),
    Trick(name: "LAMB", keys: ["optimizer.name=lamb"]),
    Trick(name: "layers computed again", keys: ["batch.recompute=true"], changes: .nothing),
    Trick(name: "leaf by leaf", keys: ["batch.leavesAtOnce=1"], changes: .nothing),
    Trick(
      name: "rate of the transitions", keys: ["tagging.crfMultiplier=10"],
      also: ["steps=5"], family: "tagging crf"),
    Trick(
      name: "stored transitions", keys: ["tagging.crfMultiplier=10"],
      also: ["steps=5", "model.dialect=bert4keras"], family: "tagging crf"),
    Trick(
      name: "FGM of GPLinker", keys: ["training.adversarial=0.5"], also: ["steps=5"],
      family: "relation gplinker"),
    Trick(
      name: "moving average of GPLinker", keys: ["training.ema=0.9"], also: ["steps=5"],
      changes: .bestModel, family: "relation gplinker"),
    Trick(
      name: "rate of GPLinker's head", keys: ["optimizer.multipliers={gplinker: 10}"],
      also: ["steps=5"], family: "relation gplinker"),
    Trick(
      name: "GPLinker with layers computed again", keys: ["batch.recompute=true"],
      also: ["steps=5"], changes: .nothing, family: "relation gplinker"),
    Trick(
      name: "GPLinker leaf by leaf", keys: ["batch.leavesAtOnce=1"], also: ["steps=5"],
      changes: .nothing, family: "relation gplinker"),
  ]

  @Test(arguments: tricks)
  func `a trick's weights are the same on any number of ranks, and not those without it`(
    trick: Trick
  ) throws {
    let task = try MadeUpTask()
    let made = try trick.family.map { try MadeUpFamily.named($0).written(dropout: 0.1) }
    defer { withExtendedLifetime((task, made?.folder)) {} }
    let folder = made?.folder.url ?? task.url, recipe = made?.recipe ?? task.recipe
    let also = trick.also + (made == nil ? ["epochs=null", "steps=5"] : [])
    let with = try FamilyTests.compare(recipe, folder, also + trick.keys)
    let plain = folder.appending(path: "plain")
    let without = try onRanks(1) { try FamilyTests.train(recipe, into: plain, also, on: $0) }[0]
    #expect((with == without) == (trick.changes != .weights))
    let best = try [plain, folder.appending(path: "ranks1")].map {
      try Data(contentsOf: $0.appending(path: "best/model.safetensors"))
    }
    #expect((best[0] == best[1]) == (trick.changes == .nothing))
  }
}
