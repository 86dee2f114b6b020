import Collective
import Foundation
import Testing

/// The small parts: tags, cuts, bf16, transports.
@Suite struct PieceTests {
  @Test(arguments: [0, 1, 255, 256, 1023, 1024, 99_999], [TagLayout.wide, .narrow])
  func `a tag gives back what it was made of`(sequence: Int, layout: TagLayout) {
    for segment in [0, 1, layout.segmentLimit - 1] {
      for round in 0..<1 << layout.roundBits {
        let tag = Tag(sequence: sequence, segment: segment, round: round, layout: layout)
        #expect(tag.sequence == sequence % (1 << layout.sequenceBits))
        #expect(tag.segment == segment && tag.round == round)
        #expect(tag.rawValue >= 0 && Int(tag.rawValue) <= layout.maximum)
        #expect(Tag(rawValue: tag.rawValue, layout: layout) == tag)
      }
    }
  }

  @Test func `the layout of tags is the roomiest that the library carries`() {
    #expect(TagLayout(limit: Int(Int32.max)) == .wide)
    // Open MPI's ucx.
    #expect(TagLayout(limit: 8_388_607) == .narrow && TagLayout(limit: 1 << 30) == .narrow)
    #expect(TagLayout(limit: 8_388_606) == nil && TagLayout(limit: -1) == nil)
  }

  @Test(arguments: [2, 3, 4])
  func `with tags of 23 bits more operations and more segments than they name go through`(
    ranks: Int
  ) throws {
    let count = 2_048
    let results = try onRanks(ranks, longestDelay: 20e-6, tagLayout: .narrow) { engine in
      let ownership = try LeafOwnership(ranks: ranks, leaves: 4)
      let subtrees = ownership.subtrees(of: engine.rank).count
      // As many segments as there are numbers for them.
      let plan = try SlicePlan.balanced(count: count, ranks: ranks, segmentBytes: 8)
      let sums = (0..<subtrees).map { _ in Buffer((0..<count).map { Float($0 % 7) }) }
      try engine.allReduce(sums.map(\.start), plan: plan, ownership: ownership).wait()
      // More operations than numbers, none waited for before the last.
      let blobs = (0..<600).map { engine.allGather([UInt8($0 % 251), UInt8(engine.rank)]) }
      let found = try blobs.map { try $0.wait() }
      for (number, blobs) in found.enumerated() {
        #expect(blobs == (0..<ranks).map { [UInt8(number % 251), UInt8($0)] })
      }
      let copied = Buffer((0..<count).map { engine.isRoot ? Float($0) : -1 })
      let bytes = UnsafeMutableRawBufferPointer(start: copied.start, count: 4 * count)
      try engine.broadcast(bytes, segmentBytes: 4).wait()
      #expect(copied.values == (0..<count).map(Float.init))
      let fine = try SlicePlan.balanced(count: count + 2, ranks: ranks, segmentBytes: 8)
      let error = #expect(throws: CommunicationError.self) {
        try engine.allReduce(sums.map(\.start), plan: fine, ownership: ownership)
      }
      #expect(error?.exitCode == 64 && "\(error.map { "\($0)" } ?? "")".contains("--bucket-bytes"))
      return sums[0].values
    }
    let total = (0..<ranks).reduce(0) {
      $0 + (try! LeafOwnership(ranks: ranks, leaves: 4)).subtrees(of: $1).count
    }
    for values in results {
      #expect(values == (0..<count).map { Float(total * ($0 % 7)) })
    }
  }

  @Test(arguments: [1, 2, 3, 4, 7, 8, 16], [0, 1, 5, 6, 7, 100, 4097])
  func `every element has one owner, in balanced cuts and in chunks`(ranks: Int, count: Int) throws
  {
    let plans = [
      try SlicePlan.balanced(count: count, ranks: ranks, segmentBytes: 1_000),
      try SlicePlan.chunks(of: 6, covering: 11..<11 + count, ranks: ranks),
      try SlicePlan.chunks(of: 64, covering: 0..<count, ranks: ranks),
    ]
    for plan in plans {
      var owners = [Int](repeating: 0, count: count)
      for rank in 0..<ranks {
        for range in plan.ownedRanges(of: rank) { for i in range { owners[i] += 1 } }
        #expect(plan.owner(ofSlice: plan.slice(ownedBy: rank)) == rank)
      }
      #expect(owners.allSatisfy { $0 == 1 })
    }
    // Slices of balanced cuts differ by one element for each segment at most.
    let shares = (0..<ranks).map { plans[0].ownedCount(of: $0) }
    #expect((shares.max() ?? 0) - (shares.min() ?? 0) <= plans[0].segments)
  }

  @Test func `more segments than a tag can number are refused with the way out`() {
    let error = #expect(throws: CommunicationError.self) {
      try SlicePlan.balanced(count: 40_000, ranks: 2, segmentBytes: 4)
    }
    #expect(
      error?.description
        == "The exchange would have 40000 segments and 32768 is the limit. Use smaller buckets (--bucket-bytes)."
    )
  }

  @Test func `bf16 rounds to nearest, ties to even, and keeps what is not finite`() {
    // Against every float whose lower half is a tie, just below, or just above.
    for upper in stride(from: UInt32(0), to: 0x1_0000, by: 1) {
      for lower in [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF] as [UInt32] {
        let value = Float(bitPattern: upper << 16 | lower)
        let rounded = BFloat16.widen(BFloat16.round(value))
        if value.isNaN {
          #expect(rounded.isNaN)
          continue
        }
        let up = lower > 0x8000 || (lower == 0x8000 && upper & 1 == 1)
        #expect(rounded.bitPattern == (upper + (up ? 1 : 0)) << 16)
      }
    }
  }

  @Test func `ranks in memory keep the order of messages and the memory of large ones`() throws {
    let network = InMemoryNetwork(size: 2, longestDelay: 200e-6, seed: 3, eagerBytes: 8)
    let (a, b) = (network.communicator(rank: 0), network.communicator(rank: 1))
    let values = (0..<50).map { Buffer([Float($0), 1, 2]) }
    let sends = try values.enumerated().map { number, buffer in
      try a.send(
        UnsafeBufferPointer(start: buffer.start, count: 3), to: 1,
        tag: Tag(sequence: number, segment: 0, round: 0, layout: .wide))
    }
    #expect(try !a.test(sends[49]))
    let result = Buffer([0, 0, 0])
    for number in 0..<50 {
      var incoming = try b.probe()
      while incoming == nil { incoming = try b.probe() }
      let message = try incoming.unwrapped()
      #expect(message.source == 0 && message.tag.sequence == number && message.byteCount == 12)
      try b.wait(
        b.receive(message, into: UnsafeMutableBufferPointer(start: result.start, count: 3)))
      #expect(result.values == [Float(number), 1, 2])
      try a.wait(sends[number])
    }
  }

  @Test func `every error is one sentence or more, ends in a period, and has an exit code`() {
    let tag = Tag(sequence: 5, segment: 1, round: 2, layout: .wide)
    let errors: [(CommunicationError, Int32)] = [
      (.call(name: "MPI_Isend", peer: 3, tag: tag, reason: "MPI_ERR_OTHER: unknown"), 69),
      (.threadLevel(provided: 1), 69), (.tagLimit(32767), 69),
      (.messageTooLarge(bytes: 1 << 31), 70),
      (.vendorUnavailable, 64), (.ranksExceedLeaves(ranks: 9, leaves: 8), 64),
      (.treeNeedsFloats, 64), (.disagreement(item: "data", values: ["a on rank 0"]), 77),
    ]
    for (error, code) in errors {
      #expect(error.exitCode == code)
      #expect(error.description.hasSuffix("."))
    }
    #expect(
      errors[0].0.description
        == "MPI_Isend with rank 3, tag \(tag.rawValue) (operation …5, segment 1, round 2) failed: "
        + "MPI_ERR_OTHER: unknown. Check that every host reaches every other on the network that MPI uses "
        + "(mpirun --mca btl_tcp_if_include NETWORK), and that `lockstep doctor` prints the same MPI on all of them."
    )
  }
}
