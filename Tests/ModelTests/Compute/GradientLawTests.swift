import Foundation
import Model
import TestSupport
import Testing

/// Laws of the gradient that hold for any weights: what it does not depend on, and what it is the slope of.
@Suite struct GradientLawTests {
  static let head = Head(outputs: 3, loss: .softmax, usesPooler: true, dropout: 0.1)

  /// Sequences of unequal lengths, one of them past a tile of attention.
  static func sequences(_ lengths: [Int], vocabulary: Int = 196) -> [SequenceInput] {
    let philox = Philox(seed: 7)
    return lengths.enumerated().map { i, length in
      SequenceInput(
        ids: (0..<length).map {
          Int32(philox.block(SIMD4(UInt32($0), UInt32(i), 0, 0))[0] % UInt32(vocabulary))
        }, segments: (0..<length).map { $0 < length / 2 ? 0 : 1 }, exampleID: UInt64(100 + i),
        target: [Float(i % 3)])
    }
  }

  /// A model with random weights, big enough for OpenBLAS's packed kernels when `hidden` is 256.
  static func model(
    hidden: Int, threads: Int, head: Head = head,
    adjust: (inout BertConfiguration) -> Void = { _ in }
  ) -> (Engine, Arena) {
    var c = BertConfiguration(
      vocabularySize: 196, hiddenSize: hidden, layerCount: 2, headCount: 4,
      intermediateSize: 4 * hidden, maximumPositions: 192)
    adjust(&c)
    let engine = Engine(configuration: c, head: head, pool: ThreadPool(threads: threads))
    let parameters = Arena(count: engine.table.count)
    let philox = Philox(seed: 3)
    for p in engine.table.parameters {
      let spread: Float = p.shape.count > 1 ? 2 / Float(hidden).squareRoot() : 0.1
      let center: Float = p.name.hasSuffix("LayerNorm.weight") ? 1 : 0
      for i in p.range {
        let word = philox.block(SIMD4(UInt32(i), 0, 0, 0))[0]
        parameters.base[i] = center + spread * (Philox.unit(word) - 0.5)
      }
    }
    return (engine, parameters)
  }

  static func deal(_ sequences: [SequenceInput], leaves: Int) -> PackedBatch {
    PackedBatch(
      leaves: (0..<leaves).map { leaf in
        sequences.enumerated().filter { $0.offset % leaves == leaf }.map(\.element)
      })
  }

  static func bits(_ arena: Arena) -> [UInt32] { arena.elements.map(\.bitPattern) }

  @Test(arguments: [32, 256])
  func `bits do not depend on threads or on leaves at once`(hidden: Int) {
    // Nine sequences on eight leaves; then five, which leaves three leaves empty.
    for lengths in [[5, 17, 130, 2, 64, 33, 90, 7, 41], [3, 150, 20, 2, 9]] {
      let batch = Self.deal(Self.sequences(lengths), leaves: 8)
      var reference: [UInt32]?
      var loss: Double?
      // With 5 and 9 threads weight gradients are cut into smaller blocks.
      for threads in hidden == 256 ? [1, 2, 5, 9] : [1, 2, 3] {
        let (engine, parameters) = Self.model(hidden: hidden, threads: threads)
        for atOnce in [8, 4, 2, 1] {
          let gradient = Arena(count: engine.table.count)
          let result = engine.gradient(
            of: batch, parameters: parameters, into: gradient,
            randomness: .init(seed: 11, step: 5), leavesAtOnce: atOnce)
          let bits = Self.bits(gradient)
          #expect(reference == nil || bits == reference, "\(threads) threads, \(atOnce) at once")
          #expect(loss == nil || result.numerator == loss)
          reference = bits
          loss = result.numerator
        }
      }
    }
  }

  @Test(arguments: [32, 256])
  func `the gradient of two halves of the leaves adds up to the whole's bits`(hidden: Int) {
    let (engine, parameters) = Self.model(hidden: hidden, threads: 2)
    let dealt = (0..<4).map { leaf in
      Self.sequences([5, 17, 130, 2, 64, 33, 90, 7]).enumerated().filter { $0.offset % 4 == leaf }
        .map(\.element)
    }
    func gradient(_ leaves: [[SequenceInput]]) -> Arena {
      let arena = Arena(count: engine.table.count)
      _ = engine.gradient(
        of: PackedBatch(leaves: leaves), parameters: parameters, into: arena,
        randomness: .init(seed: 2, step: 9))
      return arena
    }
    let whole = gradient(dealt), left = gradient(Array(dealt[..<2]))
    let right = gradient(Array(dealt[2...]))
    let sum = zip(left.elements, right.elements).map { ($0 + $1).bitPattern }
    #expect(sum == Self.bits(whole))
  }

  @Test(arguments: [32, 256])
  func `a packed batch gives each sequence the numbers it has alone`(hidden: Int) {
    let (engine, parameters) = Self.model(hidden: hidden, threads: 2)
    let sequences = Self.sequences([5, 1, 17, 130, 2, 64, 128, 129, 65])
    let together = engine.hiddenStates(of: sequences, parameters: parameters)
    let outputs = engine.outputs(of: sequences, parameters: parameters)
    for (i, sequence) in sequences.enumerated() {
      #expect(
        engine.hiddenStates(of: [sequence], parameters: parameters)[0].map(\.bitPattern)
          == together[i].map(\.bitPattern))
      #expect(engine.outputs(of: [sequence], parameters: parameters)[0] == outputs[i])
    }
  }

  @Test func `the losses of inference add up to the loss that is trained on`() {
    let (engine, parameters) = Self.model(hidden: 32, threads: 2)
    let sequences = Self.sequences([5, 17, 130, 2, 64])
    let loss = engine.gradient(
      of: Self.deal(sequences, leaves: 2), parameters: parameters,
      into: Arena(count: engine.table.count), randomness: nil)
    let outputs = engine.outputs(of: sequences, parameters: parameters)
    let sum = outputs.reduce(0) { $0 + ($1.loss ?? .nan) }
    #expect(abs(sum / loss.numerator - 1) < 1e-6)
    var unlabelled = sequences[0]
    unlabelled.target = []
    #expect(engine.outputs(of: [unlabelled], parameters: parameters)[0].loss == nil)
  }

  @Test func `dropout changes with the step, the example and the seed, and with nothing else`() {
    let (engine, parameters) = Self.model(hidden: 32, threads: 2)
    func loss(seed: UInt64 = 1, step: Int = 0, example: UInt64 = 4, other: Int = 9) -> Double {
      var sequence = Self.sequences([20])[0]
      sequence.exampleID = example
      let neighbours = Self.sequences([other, 30])
      let alone = engine.gradient(
        of: PackedBatch(leaves: [neighbours, [sequence]]), parameters: parameters,
        into: Arena(count: engine.table.count), randomness: .init(seed: seed, step: step))
      let without = engine.gradient(
        of: PackedBatch(leaves: [neighbours, []]), parameters: parameters,
        into: Arena(count: engine.table.count), randomness: .init(seed: seed, step: step))
      return alone.numerator - without.numerator
    }
    let base = loss()
    #expect(abs(loss(other: 44) - base) < 1e-12)
    #expect(abs(loss(step: 1) - base) > 1e-6)
    #expect(abs(loss(seed: 2) - base) > 1e-6)
    #expect(abs(loss(example: 5) - base) > 1e-6)
  }

  @Test(
    arguments: [
      Head(outputs: 3, loss: .softmax, usesPooler: true, dropout: 0.1),
      Head(outputs: 2, loss: .sigmoid, usesPooler: false, dropout: 0.1),
      Head(outputs: 1, loss: .squaredError, usesPooler: true, dropout: 0),
    ], [BertConfiguration.Activation.geluErf, .geluTanh])
  func `the gradient is the slope of the loss, dropout included`(
    head: Head, activation: BertConfiguration.Activation
  ) {
    let (engine, parameters) = Self.model(hidden: 32, threads: 2, head: head) {
      $0.activation = activation
      $0.embeddingDropoutBeforeNorm = activation == .geluTanh
    }
    let sequences = Self.sequences([6, 70, 3]).map { sequence in
      var sequence = sequence
      sequence.target =
        head.loss == .softmax
        ? sequence.target : (0..<head.outputs).map { Float(($0 + sequence.ids.count) % 2) }
      return sequence
    }
    let batch = Self.deal(sequences, leaves: 2)
    let gradient = Arena(count: engine.table.count), scratch = Arena(count: engine.table.count)
    let randomness = Engine.Randomness(seed: 5, step: 3)
    _ = engine.gradient(
      of: batch, parameters: parameters, into: gradient, randomness: randomness)
    Self.checkSlopes(engine, parameters, gradient, step: 1 / 128, tolerance: 0.02, least: 0.05) {
      engine.gradient(
        of: batch, parameters: parameters, into: scratch, randomness: randomness
      ).numerator
    }
  }

  /// Compares `gradient` with differences of `loss` along a random direction in each tensor, so that one difference tests every
  /// element of it; returns how many tensors have a slope to speak of.
  ///
  /// float32 losses of order 1 carry about 1e-6; a step of 1/128 makes that 1e-4 of the slope.
  @discardableResult
  static func checkSlopes(
    _ engine: Engine, _ parameters: Arena, _ gradient: Arena, step: Float, tolerance: Double,
    least: Double, loss: () -> Double
  ) -> Int {
    var moved = 0
    for p in engine.table.parameters {
      let philox = Philox(seed: UInt64(p.range.lowerBound))
      let direction = p.range.map { Philox.unit(philox.block(SIMD4(UInt32($0), 1, 0, 0))[0]) - 0.5 }
      let slope = zip(p.range, direction).reduce(0.0) {
        $0 + Double(gradient.base[$1.0]) * Double($1.1)
      }
      func shifted(_ t: Float) -> Double {
        for (i, d) in zip(p.range, direction) { parameters.base[i] += t * d }
        defer { for (i, d) in zip(p.range, direction) { parameters.base[i] -= t * d } }
        return loss()
      }
      let difference = (shifted(step) - shifted(-step)) / Double(2 * step)
      let size = max(abs(slope), abs(difference), least)
      #expect(abs(slope - difference) / size < tolerance, "\(p.name): \(slope) and \(difference)")
      if abs(slope) > 1e-3 { moved += 1 }
    }
    return moved
  }

  @Test func `frozen tensors are left alone and the others' bits do not change`() {
    let (engine, parameters) = Self.model(hidden: 32, threads: 2)
    let batch = Self.deal(Self.sequences([5, 17, 40]), leaves: 2)
    func gradient(_ trainable: [Bool]?) -> Arena {
      let arena = Arena(count: engine.table.count)
      _ = engine.gradient(
        of: batch, parameters: parameters, into: arena, randomness: nil, trainable: trainable)
      return arena
    }
    let all = gradient(nil)
    let trainable = engine.table.parameters.map {
      !$0.name.contains("embeddings") && !$0.name.contains("layer.0")
        && !$0.name.hasSuffix("key.weight")
    }
    let some = gradient(trainable)
    for (parameter, isTrained) in zip(engine.table.parameters, trainable) {
      for i in parameter.range {
        #expect(some.base[i].bitPattern == (isTrained ? all.base[i].bitPattern : 0))
      }
    }
  }

  @Test(arguments: [8, 4, 2, 1])
  func `closed offsets descend to zero and what is closed is final`(atOnce: Int) {
    let (engine, parameters) = Self.model(hidden: 32, threads: 2)
    let batch = Self.deal(Self.sequences([5, 17, 40, 3, 9, 60, 2, 31, 8]), leaves: 8)
    let gradient = Arena(count: engine.table.count)
    var seen: [(offset: Int, bits: [UInt32])] = []
    _ = engine.gradient(
      of: batch, parameters: parameters, into: gradient, randomness: nil, leavesAtOnce: atOnce,
      closed: { offset in
        seen.append((offset, gradient[offset..<gradient.count].map(\.bitPattern)))
      })
    #expect(seen.map(\.offset) == seen.map(\.offset).sorted(by: >))
    #expect(seen.count == 4 && seen.last?.offset == 0)
    for (offset, bits) in seen {
      #expect(gradient[offset..<gradient.count].map(\.bitPattern) == bits)
    }
  }
}

extension GradientLawTests {
  @Test(arguments: [8, 1])
  func `a gradient arena that is used again holds no row of the step before`(atOnce: Int) {
    let (engine, parameters) = Self.model(hidden: 32, threads: 2)
    let used = Arena(count: engine.table.count), fresh = Arena(count: engine.table.count)
    let before = Self.deal(Self.sequences([50, 60, 9]), leaves: 8)
    let batch = Self.deal(Self.sequences([3, 4]), leaves: 8)
    for (b, arena) in [(before, used), (batch, used), (batch, fresh)] {
      _ = engine.gradient(
        of: b, parameters: parameters, into: arena, randomness: nil, leavesAtOnce: atOnce)
    }
    #expect(Self.bits(used) == Self.bits(fresh))
    #expect(used.touchedRows == Set(batch.sequences.flatMap(\.ids)).sorted())
    let rows = used[0..<196 * 32]
    for row in 0..<196 where used.touchedRows?.contains(Int32(row)) == false {
      #expect(rows[row * 32..<row * 32 + 32].allSatisfy { $0 == 0 })
    }
  }
}
