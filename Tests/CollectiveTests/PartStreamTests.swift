import Collective
import Foundation
import Synchronization
import Testing

/// Parts that come to the root one after another while other operations go on.
@Suite(.serialized) struct PartStreamTests {
  /// The parts of a made-up array: by part its owner and its bytes.
  private static func parts(_ ranks: Int, count: Int) -> [(owner: Int, values: [Float])] {
    var numbers = Numbers(seed: 11)
    return (0..<count).map { number in
      let owner = Int(numbers.next() % UInt64(ranks))
      return (owner, numbers.floats(1 + Int(numbers.next() % 700) * (number % 3)))
    }
  }

  /// This rank's view of them: what others own is not its to read.
  private static func held(
    _ parts: [(owner: Int, values: [Float])], by rank: Int
  ) -> [PartStream.Part] {
    parts.map { owner, values in
      let buffer = Buffer(
        owner == rank ? values : .init(repeating: .nan, count: values.count), offset: 1)
      return .init(owner: owner, bytes: UnsafeRawBufferPointer(buffer.bytes))
    }
  }

  private static func read(_ stream: PartStream) throws -> [UInt32] {
    var found: [UInt32] = []
    while !stream.isRead {
      try stream.next { bytes in
        found += (0..<bytes.count / 4).map {
          bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)
        }
      }
    }
    return found
  }

  @Test(arguments: 1...9)
  func `the root reads every part in order, for what is stated`(ranks: Int) throws {
    for (root, count, operationParts) in [(0, 100, 32), (ranks - 1, 41, 1), (ranks / 2, 0, 8)] {
      let parts = Self.parts(ranks, count: count)
      let found = try onRanks(
        ranks, longestDelay: 100e-6, settings: { $0 % 2 == 0 ? .threaded() : .cooperative() }
      ) { engine in
        let stream = engine.stream(
          Self.held(parts, by: engine.rank), to: root, operationParts: operationParts)
        let found = engine.rank == root ? try Self.read(stream) : []
        try stream.wait()
        return (found, engine.traffic)
      }
      #expect(found[root].0 == bits(parts.flatMap(\.values)))
      for (rank, (_, counters)) in found.enumerated() {
        let cost = CommunicationCost.stream(
          partBytes: parts.map { ($0.owner, 4 * $0.values.count) }, rank: rank, root: root)
        #expect(counters.sentMessages == cost.sentMessages)
        #expect(counters.sentBytes == cost.sentBytes)
        #expect(counters.receivedBytes == cost.receivedBytes)
      }
    }
  }

  @Test(arguments: [2, 3, 4])
  func `a reader that does not read holds up no other operation, nor fills memory`(
    ranks: Int
  ) throws {
    let parts = Self.parts(ranks, count: 120)
    let others = parts.count { $0.owner != 0 }
    #expect(others > 40)
    let found = try onRanks(ranks) { engine in
      let stream = engine.stream(Self.held(parts, by: engine.rank))
      // Many more than segments may be under way at once.
      for round in 0..<50 {
        let blobs = try engine.allGather([UInt8](repeating: UInt8(round), count: 9_000)).wait()
        #expect(blobs.allSatisfy { $0.count == 9_000 && $0[8_999] == UInt8(round) })
      }
      // Of these 50 from each of the others, and of the parts what the window holds.
      let received = engine.traffic.receivedMessages - 50 * (ranks - 1)
      let found = engine.isRoot ? try Self.read(stream) : []
      try stream.wait()
      return (found, received)
    }
    #expect(found[0].0 == bits(parts.flatMap(\.values)))
    #expect(found[0].1 > 0 && found[0].1 <= 16, "\(found[0].1) of \(others) parts were received")
  }

  @Test(arguments: [false, true])
  func `a rank that fails ends the reader with its sentence`(isThreaded: Bool) throws {
    struct Over: Error {}
    let sentence = Mutex("")
    let parts = Self.parts(3, count: 60)
    #expect(throws: Over.self) {
      try onRanks(3, settings: { _ in isThreaded ? .threaded() : .cooperative() }) { engine in
        if engine.rank == 1 {
          engine.fail("rank 1 has had enough.", exitCode: 70)
          throw Over()
        }
        let stream = engine.stream(Self.held(parts, by: engine.rank))
        do {
          if engine.isRoot { _ = try Self.read(stream) }
          try stream.wait()
        } catch let error as CommunicationError {
          if engine.isRoot { sentence.withLock { $0 = "\(error)" } }
        }
        throw Over()
      }
    }
    #expect(sentence.withLock { $0.contains("rank 1 has had enough.") })
  }

  @Test func `ranks that do not mean the same parts are told so`() throws {
    let parts = Self.parts(2, count: 9)
    let sentences = Mutex<[String]>([])
    _ = try onRanks(2) { engine in
      let own = Array(parts.prefix(engine.rank == 0 ? 9 : 8))
      do {
        let stream = engine.stream(Self.held(own, by: engine.rank))
        if engine.isRoot { _ = try Self.read(stream) }
        try stream.wait()
      } catch {
        sentences.withLock { $0.append("\(error)") }
      }
    }
    let all = sentences.withLock { $0 }
    #expect(all.count == 2)
    #expect(all.allSatisfy { $0.contains("operation 0 (stream of parts") }, "\(all)")
  }
}
