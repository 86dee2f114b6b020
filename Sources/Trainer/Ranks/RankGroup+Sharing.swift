import Collective
import Foundation
import Model

/// What ranks give one another beside gradients. All ranks call these, in the same order.
extension RankGroup {
  /// Names the ranks for messages, and makes sure that all hold the same `items`.
  ///
  /// - Throws: `CommunicationError` naming the first item that differs and who holds what.
  package func agree(on items: [(name: String, value: String)]) throws(CommunicationError) {
    try collective.introduce()
    try collective.agree(on: items.map { .init($0.name, $0.value) })
  }

  /// The value that rank 0 holds; the others' is not looked at.
  func shared<Value: Codable>(_ value: Value?, as what: String) throws -> Value {
    let own = isRoot ? [UInt8](try JSONEncoder().encode(value)) : []
    let blobs = try collective.allGather(own).wait()
    do {
      return try JSONDecoder().decode(Value.self, from: Data(blobs[0]))
    } catch {
      throw CommunicationError.disagreement(
        item: what, values: ["\(blobs[0].count) bytes that are none on \(collective.name(of: 0))"])
    }
  }

  /// Copies rank 0's `arena` to every rank, then compares digests of it.
  ///
  /// Only the elements of `chunks`, which are all ranks' together those of the arena, are kept; nil keeps all.
  func broadcast(
    _ arena: Arena, what: String, keeping chunks: [Int]? = nil, pool: ThreadPool
  ) throws(CommunicationError) {
    guard size > 1 else { return }
    if chunks == nil {
      let bytes = UnsafeMutableRawBufferPointer(
        start: arena.base, count: arena.count * MemoryLayout<Float>.stride)
      try collective.broadcast(bytes, keeping: arena).wait()
      let digest = ParameterDigest.of(
        arena, chunks: 0..<(arena.count + Optimizer.chunkSize - 1) / Optimizer.chunkSize, pool: pool
      )
      try collective.agree(on: [.init(what, ParameterDigest.text(digest))])
      return
    }
    // What is not kept passes through a window.
    let kept = Set(chunks ?? [])
    let size = Optimizer.chunkSize * 16
    let window = Window(byteCount: 4 * size)
    for start in stride(from: 0, to: arena.count, by: size) {
      let count = min(size, arena.count - start)
      let bytes = UnsafeMutableRawBufferPointer(rebasing: window.bytes[..<(4 * count)])
      if isRoot { bytes.copyMemory(from: UnsafeRawBufferPointer(arena[start..<start + count])) }
      try collective.broadcast(bytes, keeping: window).wait()
      guard !isRoot else { continue }
      for first in stride(from: 0, to: count, by: Optimizer.chunkSize)
      where kept.contains((start + first) / Optimizer.chunkSize) {
        let length = min(Optimizer.chunkSize, count - first)
        UnsafeMutableRawBufferPointer(arena[start + first..<start + first + length]).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: bytes[4 * first..<4 * (first + length)]))
      }
    }
    try compareParts(of: arena, chunks: kept.sorted(), what: what, pool: pool)
  }

  /// Makes sure that the chunks which ranks keep of `arena` are together what rank 0 has.
  private func compareParts(
    of arena: Arena, chunks: [Int], what: String, pool: ThreadPool
  ) throws(CommunicationError) {
    var digests = [ParameterDigest.of(arena, chunks: chunks, pool: pool)]
    if isRoot {
      let all = 0..<(arena.count + Optimizer.chunkSize - 1) / Optimizer.chunkSize
      digests.append(ParameterDigest.of(arena, chunks: all, pool: pool))
    }
    let own = digests.withUnsafeBytes { [UInt8]($0) }
    let parts = try collective.allGather(own).wait().map { blob in
      blob.withUnsafeBytes { bytes in
        stride(from: 0, to: bytes.count - 7, by: 8).map {
          bytes.loadUnaligned(fromByteOffset: $0, as: UInt64.self)
        }
      }
    }
    let sum = parts.reduce(0) { $0 &+ ($1.first ?? 0) }
    guard let whole = parts[0].last, whole == sum else {
      throw .disagreement(
        item: what,
        values: [
          "\(ParameterDigest.text(parts[0].last ?? 0)) on rank 0",
          "\(ParameterDigest.text(sum)) in the parts of all ranks",
        ])
    }
  }

  /// Memory through which an arena passes.
  private final class Window {
    let bytes: UnsafeMutableRawBufferPointer
    init(byteCount: Int) { bytes = .allocate(byteCount: byteCount, alignment: 64) }
    deinit { bytes.deallocate() }
  }

  /// Gives back the memory of the chunks of `arena` that other ranks own.
  func discardOthers(of arena: Arena) {
    for start in stride(from: 0, to: arena.count, by: Optimizer.chunkSize)
    where SlicePlan.owner(ofChunk: start / Optimizer.chunkSize, ranks: size) != rank {
      arena.discard(start..<min(start + Optimizer.chunkSize, arena.count))
    }
  }

  /// Starts to send the elements of `pieces` to rank 0, each from the rank that owns its chunk.
  ///
  /// Collective. The arenas' owner is `owner`; on the other ranks the elements must not change before the stream was waited for, at
  /// rank 0 not before it was read.
  func stream(_ pieces: [(arena: Arena, range: Range<Int>)], keeping owner: AnyObject) -> PartStream
  {
    collective.stream(
      pieces.flatMap { arena, range in
        Self.chunks(of: range).map { chunk in
          PartStream.Part(
            owner: SlicePlan.owner(ofChunk: chunk.lowerBound / Optimizer.chunkSize, ranks: size),
            bytes: UnsafeRawBufferPointer(arena[chunk]))
        }
      }, keeping: owner)
  }

  /// `range` of an arena, cut where its chunks begin.
  private static func chunks(of range: Range<Int>) -> [Range<Int>] {
    guard !range.isEmpty else { return [] }
    let size = Optimizer.chunkSize
    return (range.lowerBound / size...(range.upperBound - 1) / size).map {
      ($0 * size..<($0 + 1) * size).clamped(to: range)
    }
  }

  /// Starts to send the optimizer's state to rank 0; returns it as tensors for a file, which rank 0 can write once, in order.
  ///
  /// Collective, with sharded state.
  func stream(
    stateOf optimizer: Optimizer
  ) -> (stream: PartStream, tensors: [SafetensorsWriter.Tensor]) {
    let state = optimizer.stateTensors
    let stream = stream(state.map { ($0.arena, $0.range) }, keeping: optimizer)
    let tensors = state.map { tensor in
      SafetensorsWriter.Tensor(name: tensor.name, elementType: .float32, shape: tensor.shape) {
        sink in for _ in Self.chunks(of: tensor.range) { try stream.next(sink) }
      }
    }
    return (stream, tensors)
  }

  /// Collects at rank 0 the chunks of `arena` that the others own.
  func gatherChunks(of arena: Arena) throws {
    let stream = stream([(arena, 0..<arena.count)], keeping: arena)
    if isRoot {
      var place = UnsafeMutableRawPointer(arena.base)
      while !stream.isRead {
        try stream.next { bytes in
          if let source = bytes.baseAddress, source != UnsafeRawPointer(place) {
            place.copyMemory(from: source, byteCount: bytes.count)
          }
          place += bytes.count
        }
        collective.noteProgress()
      }
    }
    try stream.wait()
  }

  /// The outputs of all `examples`, each computed by one rank and known to all.
  ///
  /// An example's outputs do not depend on its neighbours, so nor on the ranks.
  func outputs(
    of examples: [SequenceInput], engine: Engine, parameters: Arena
  ) throws -> [HeadOutput] {
    guard size > 1 else { return engine.outputs(of: examples, parameters: parameters) }
    let own = engine.outputs(
      of: share(of: examples), parameters: parameters, progress: collective.noteProgress)
    let blobs = try collective.allGather(HeadOutput.encode(own)).wait()
    let shares = shares(of: examples)
    var results = [HeadOutput?](repeating: nil, count: examples.count)
    for (rank, (blob, share)) in zip(blobs, shares).enumerated() {
      guard let outputs = HeadOutput.decode(blob, count: share.count) else {
        throw CommunicationError.disagreement(
          item: "the outputs of an evaluation",
          values: [
            "\(blob.count) bytes that are not \(share.count) outputs on \(collective.name(of: rank))"
          ])
      }
      for (output, example) in zip(outputs, share) { results[example] = output }
    }
    return results.compactMap { $0 }
  }

  /// The examples of which this rank computes the outputs.
  func share(of examples: [SequenceInput]) -> [SequenceInput] {
    shares(of: examples)[rank].map { examples[$0] }
  }

  /// By rank the numbers of its examples: the longest first, one to each rank in turn, so that shares cost about the same.
  private func shares(of examples: [SequenceInput]) -> [[Int]] {
    let order = examples.indices.sorted {
      (-examples[$0].tokenCount, $0) < (-examples[$1].tokenCount, $1)
    }
    return (0..<size).map { rank in
      stride(from: rank, to: order.count, by: size).map { order[$0] }
    }
  }
}

extension HeadOutput {
  /// For each output the loss, whether there is one, and the number of values as doubles, then the values.
  static func encode(_ outputs: [HeadOutput]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(outputs.reduce(0) { $0 + 24 + 4 * $1.values.count })
    for output in outputs {
      let head = [output.loss ?? 0, output.loss == nil ? 0 : 1, Double(output.values.count)]
      head.withUnsafeBytes { bytes += $0 }
      output.values.withUnsafeBytes { bytes += $0 }
    }
    return bytes
  }

  /// `count` outputs; nil where `bytes` are something else.
  static func decode(_ bytes: [UInt8], count: Int) -> [HeadOutput]? {
    bytes.withUnsafeBytes { memory in
      var outputs: [HeadOutput] = []
      outputs.reserveCapacity(count)
      var next = 0
      for _ in 0..<count {
        guard next + 24 <= memory.count else { return nil }
        let loss = memory.loadUnaligned(fromByteOffset: next, as: Double.self)
        let hasLoss = memory.loadUnaligned(fromByteOffset: next + 8, as: Double.self) == 1
        let length = memory.loadUnaligned(fromByteOffset: next + 16, as: Double.self)
        next += 24
        guard let values = Int(exactly: length), values >= 0, values <= (memory.count - next) / 4
        else { return nil }
        outputs.append(
          HeadOutput(
            values: (0..<values).map {
              memory.loadUnaligned(fromByteOffset: next + 4 * $0, as: Float.self)
            }, loss: hasLoss ? loss : nil))
        next += 4 * values
      }
      return next == memory.count ? outputs : nil
    }
  }
}
