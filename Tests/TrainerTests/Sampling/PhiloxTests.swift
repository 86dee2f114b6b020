import Model
import TestSupport
import Testing

/// `Tests/Fixtures/philox.json`: published vectors of Philox4x32-10, and others by an independent program.
private struct PhiloxFixture: Decodable, Sendable {
  struct Vector: Decodable, Sendable { let counter, key, output: [String] }
  struct Sequence: Decodable, Sendable {
    struct Block: Decodable, Sendable {
      let counter0: UInt32
      let output: [String]
      let float32_24bit: [Float]
    }
    let key, counter_words_1_to_3: [String]
    let blocks: [Block]
  }
  struct Increments: Decodable, Sendable {
    struct Case: Decodable, Sendable { let counter, incremented, output_of_incremented: [String] }
    let key: [String]
    let cases: [Case]
  }
  let published, random: [Vector]
  let sequence: Sequence
  let counter_increment: Increments
}

private func words(_ texts: [String]) throws -> [UInt32] {
  try texts.map { try #require(UInt32($0, radix: 16)) }
}

private func counter(_ texts: [String]) throws -> SIMD4<UInt32> { SIMD4(try words(texts)) }

private func philox(_ key: [String]) throws -> Philox { Philox(key: SIMD2(try words(key))) }

@Suite struct PhiloxTests {
  @Test func `blocks are those of the published and the computed vectors`() throws {
    let fixture = try Fixtures.json("philox.json", as: PhiloxFixture.self)
    #expect(fixture.published.count == 3)
    for vector in fixture.published + fixture.random {
      let block = try philox(vector.key).block(counter(vector.counter))
      #expect(block == (try counter(vector.output)))
    }
  }

  @Test func `unit numbers have the upper 24 bits of a word`() throws {
    let sequence = try Fixtures.json("philox.json", as: PhiloxFixture.self).sequence
    let high = try words(sequence.counter_words_1_to_3)
    for expected in sequence.blocks {
      let block = try philox(sequence.key)
        .block(SIMD4(expected.counter0, high[0], high[1], high[2]))
      #expect(block == (try counter(expected.output)))
      for word in 0..<4 { #expect(Philox.unit(block[word]) == expected.float32_24bit[word]) }
    }
  }

  @Test func `a counter's increment carries over all words`() throws {
    let increments = try Fixtures.json("philox.json", as: PhiloxFixture.self).counter_increment
    for expected in increments.cases {
      let next = Philox.incremented(try counter(expected.counter))
      #expect(next == (try counter(expected.incremented)))
      #expect(
        try philox(increments.key).block(next) == (try counter(expected.output_of_incremented)))
    }
  }

  @Test func `a seed's low word is key word 0`() {
    #expect(Philox(seed: 0x1234_5678_9ABC_DEF0).key == SIMD2(0x9ABC_DEF0, 0x1234_5678))
  }
}
