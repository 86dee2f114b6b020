import Foundation
import Model
import Synchronization
import TestSupport
import Testing

@Suite struct KernelTests {
  struct PhiloxFile: Decodable {
    struct Vector: Decodable {
      let counter: [String], key: [String], output: [String]
    }

    struct Sequence: Decodable {
      struct Block: Decodable {
        let counter0: UInt32, output: [String], float32_24bit: [Float]
      }

      let key: [String], counter_words_1_to_3: [String], blocks: [Block]
    }

    struct Increments: Decodable {
      struct Case: Decodable {
        let counter: [String], incremented: [String], output_of_incremented: [String]
      }

      let key: [String], cases: [Case]
    }

    let published: [Vector], random: [Vector], sequence: Sequence, counter_increment: Increments
  }

  static func words(_ hex: [String]) -> [UInt32] { hex.map { UInt32($0, radix: 16) ?? 0 } }

  static func four(_ hex: [String]) -> SIMD4<UInt32> { SIMD4(words(hex)) }

  static func key(_ hex: [String]) -> SIMD2<UInt32> { SIMD2(words(hex)) }

  @Test func `Philox gives the published words`() throws {
    let file = try Fixtures.json("philox.json", as: PhiloxFile.self)
    for v in file.published + file.random {
      #expect(Philox(key: Self.key(v.key)).block(Self.four(v.counter)) == Self.four(v.output))
    }
    let tail = Self.words(file.sequence.counter_words_1_to_3)
    for block in file.sequence.blocks {
      let words = Philox(key: Self.key(file.sequence.key)).block(
        SIMD4(block.counter0, tail[0], tail[1], tail[2]))
      #expect(words == Self.four(block.output))
      #expect((0..<4).map { Philox.unit(words[$0]) } == block.float32_24bit)
    }
    for c in file.counter_increment.cases {
      let next = Philox.incremented(Self.four(c.counter))
      #expect(next == Self.four(c.incremented))
      #expect(
        Philox(key: Self.key(file.counter_increment.key)).block(next)
          == Self.four(c.output_of_incremented))
    }
  }

  @Test func `a dropout group is sixteen Philox blocks, sixteen bits an element`() throws {
    let dropout = try #require(Dropout(rate: 0.3, seed: 0xDEAD_BEEF_1234, step: 77))
    let room = Dropout.room(for: 300)
    #expect(room == 384)
    let values = Arena(count: room)
    dropout.fill(values.base, count: 300, base: 5 << 12, example: 9, purpose: 3 << 16 | 2)
    let threshold = UInt32((0.3 * 65536.0).rounded())
    for element in 0..<room {
      let group = element / 128, place = element % 128
      let lane = UInt32(place % 16)
      let block = Philox(seed: 0xDEAD_BEEF_1234).block(
        SIMD4(5 << 12 + UInt32(group * 16) + lane, 9, 77, 3 << 16 | 2))
      let word = block[place / 32]
      let half = place % 32 < 16 ? word & 0xFFFF : word >> 16
      #expect(values.base[element] == (half >= threshold ? dropout.scale : 0))
    }
    #expect(Dropout(rate: 0, seed: 1, step: 1) == nil)
  }

  @Test func `dropout keeps the expected share and scales it to mean one`() throws {
    let dropout = try #require(Dropout(rate: 0.1, seed: 3, step: 1))
    let values = Arena(count: 1 << 20)
    dropout.fill(values.base, count: values.count, base: 0, example: 1, purpose: 1)
    let kept = values.elements.count { $0 != 0 }
    // Five standard deviations of a binomial with p = 0.9.
    #expect(abs(Double(kept) / 1_048_576 - 0.9) < 5 * (0.09 / 1_048_576).squareRoot())
    #expect(abs(Double(dropout.scale) * (1 - 6554.0 / 65536) - 1) < 1e-7)
  }

  @Test(arguments: [1, 2, 3, 5])
  func `every tile is run once`(threads: Int) {
    let pool = ThreadPool(threads: threads)
    for count in [0, 1, 2, 7, 1000] {
      for _ in 0..<50 {
        let runs = Mutex([Int](repeating: 0, count: count))
        pool.run(count) { tile, thread in
          precondition(thread < threads)
          runs.withLock { $0[tile] += 1 }
        }
        #expect(runs.withLock { $0.allSatisfy { $0 == 1 } })
      }
    }
    pool.stop()
  }

  @Test func `this machine's BLAS contract is stated`() {
    let contract = BLASContract(hidden: 384, intermediate: 1536)
    // AVX-512 kernels are known to keep rows independent; others may not, and then leaves are computed alone.
    if BLAS.coreName == "SkylakeX" {
      #expect(contract.rowsAreIndependent && contract.blocksAreIndependent)
    }
    #expect([0, 128, 256, 384].contains(contract.foldedRows))
  }
}
