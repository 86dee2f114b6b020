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

  /// Copies rank 0's `arena` to every rank, then makes sure of it.
  ///
  /// Only the elements of `chunks` are kept on the others; nil keeps all.
  func broadcast(
    _ arena: Arena, what: String, keeping chunks: [Int]? = nil, pool: ThreadPool
  ) throws(CommunicationError) {
    guard size > 1 else { return }
    if chunks == nil {
      let bytes = UnsafeMutableRawBufferPointer(
        start: arena.base, count: arena.count * MemoryLayout<Float>.stride)
      try collective.broadcast(bytes).wait()
      let digest = ParameterDigest.of(
        arena, chunks: 0..<(arena.count + Optimizer.chunkSize - 1) / Optimizer.chunkSize, pool: pool
      )
      try collective.agree(on: [.init(what, ParameterDigest.text(digest))])
      return
    }
    // What is not kept passes through a window.
    let kept = Set(chunks ?? [])
    let size = Optimizer.chunkSize * 16
    let window = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 * size, alignment: 64)
    for start in stride(from: 0, to: arena.count, by: size) {
      let count = min(size, arena.count - start)
      let bytes = UnsafeMutableRawBufferPointer(rebasing: window[..<(4 * count)])
      if isRoot { bytes.copyMemory(from: UnsafeRawBufferPointer(arena[start..<start + count])) }
      // On failure the window stays: the network may still read it.
      try collective.broadcast(bytes).wait()
      guard !isRoot else { continue }
      for first in stride(from: 0, to: count, by: Optimizer.chunkSize)
      where kept.contains((start + first) / Optimizer.chunkSize) {
        let length = min(Optimizer.chunkSize, count - first)
        UnsafeMutableRawBufferPointer(arena[start + first..<start + first + length]).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: bytes[4 * first..<4 * (first + length)]))
      }
    }
    window.deallocate()
  }

  /// Collects at rank 0 the chunks of `arena` that the others own.
  ///
  /// A window of the arena at a time, so that what is in flight stays small.
  func gatherChunks(of arena: Arena, ownedChunks: [[Int]]) throws(CommunicationError) {
    guard size > 1 else { return }
    let chunks = (arena.count + Optimizer.chunkSize - 1) / Optimizer.chunkSize
    func range(_ chunk: Int) -> Range<Int> {
      chunk * Optimizer.chunkSize..<min((chunk + 1) * Optimizer.chunkSize, arena.count)
    }
    for first in stride(from: 0, to: chunks, by: 16) {
      let numbers = first..<min(first + 16, chunks)
      var own: [UInt8] = []
      if !isRoot {
        for chunk in ownedChunks[rank] where numbers.contains(chunk) {
          own += UnsafeRawBufferPointer(arena[range(chunk)])
        }
      }
      let blobs = try collective.gather(own).wait()
      guard isRoot else { continue }
      for rank in 1..<size {
        let expected = ownedChunks[rank].filter(numbers.contains).map(range)
        let bytes = expected.reduce(0) { $0 + 4 * $1.count }
        guard blobs[rank].count == bytes else {
          throw .disagreement(
            item: "the optimizer's state",
            values: [
              "\(blobs[rank].count) bytes where \(bytes) belong on \(collective.name(of: rank))"
            ])
        }
        var next = 0
        blobs[rank].withUnsafeBytes { blob in
          for range in expected {
            UnsafeMutableRawBufferPointer(arena[range]).copyMemory(
              from: UnsafeRawBufferPointer(rebasing: blob[next..<next + 4 * range.count]))
            next += 4 * range.count
          }
        }
      }
    }
  }

  /// The outputs `[B][C]` of all `sequences`, each computed by one rank and known to all.
  ///
  /// A sequence's outputs do not depend on its neighbours, so nor on the ranks.
  func outputs(
    of sequences: [SequenceInput], engine: Engine, parameters: Arena
  ) throws -> [[Float]] {
    guard size > 1 else { return engine.outputs(of: sequences, parameters: parameters) }
    // The longest first, one to each rank in turn: shares cost about the same.
    let order = sequences.indices.sorted {
      (-sequences[$0].ids.count, $0) < (-sequences[$1].ids.count, $1)
    }
    let (rank, size) = (rank, size)
    func share(of rank: Int) -> [Int] {
      stride(from: rank, to: order.count, by: size).map { order[$0] }
    }
    let own = engine.outputs(of: share(of: rank).map { sequences[$0] }, parameters: parameters)
    let blobs = try collective.allGather(
      own.flatMap { $0 }.withUnsafeBytes { Array($0) }
    ).wait()
    let width = engine.head?.outputs ?? 0
    var results = [[Float]](repeating: [], count: sequences.count)
    for (rank, blob) in blobs.enumerated() {
      let share = share(of: rank)
      guard blob.count == 4 * share.count * width else {
        throw CommunicationError.disagreement(
          item: "the outputs of an evaluation",
          values: [
            "\(blob.count) bytes where \(4 * share.count * width) belong on \(collective.name(of: rank))"
          ])
      }
      blob.withUnsafeBytes { memory in
        for (place, sequence) in share.enumerated() {
          results[sequence] = (0..<width).map {
            memory.loadUnaligned(fromByteOffset: 4 * (place * width + $0), as: Float.self)
          }
        }
      }
    }
    return results
  }
}
