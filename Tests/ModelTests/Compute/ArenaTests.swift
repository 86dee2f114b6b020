import Foundation
import Model
import Testing

/// Where the memory of arenas comes from.
@Suite struct ArenaTests {
  private struct NoMapping: Error { var bytes: Int }

  /// The kernel's flags of the mapping that holds `address`, as `proc(5)` says of `smaps`.
  private func flags(of address: UnsafeMutablePointer<Float>) throws -> [Substring] {
    // Read piece by piece: a file of this kind has no size, and comes a page at a time.
    let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
    var bytes = Data()
    while let part = try file.read(upToCount: 1 << 16), !part.isEmpty { bytes += part }
    let place = UInt(bitPattern: address)
    var isInside = false
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      let bounds = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
      if bounds.count == 2 {
        isInside = bounds[0] <= place && place < bounds[1]
      } else if isInside, words[0] == "VmFlags:" {
        return Array(words.dropFirst())
      }
    }
    throw NoMapping(bytes: bytes.count)
  }

  /// How many pages of `arena` are in memory.
  private func residentPages(of arena: Arena) throws -> Int {
    let page = Int(getpagesize()), bytes = arena.count * MemoryLayout<Float>.stride
    var pages = [UInt8](repeating: 0, count: (bytes + page - 1) / page)
    try #require(mincore(arena.base, bytes, &pages) == 0)
    return pages.count { $0 & 1 == 1 }
  }

  private static var hasHugePages: Bool {
    FileManager.default.fileExists(atPath: "/sys/kernel/mm/transparent_hugepage/enabled")
  }

  @Test(.enabled(if: hasHugePages)) func `an arena that is used as a whole asks for huge pages`()
    throws
  {
    let arena = Arena(count: 1 << 20)
    arena.base[0] = 1
    #expect(try flags(of: arena.base).contains("hg"))
    #expect(arena.base[0] == 1)
  }

  @Test(.enabled(if: hasHugePages))
  func `rows of a gradient's word table that are not touched take no memory`()
    throws
  {
    let (engine, _) = GradientLawTests.model(hidden: 256, threads: 1) {
      $0.vocabularySize = 20_000
    }
    let words = try #require(engine.table["bert.embeddings.word_embeddings.weight"]).range
    let arena = Arena(gradientOf: engine.table)
    for row in [3, 7_000, 19_000] { arena.base[words.lowerBound + row * 256] = 1 }
    // Refused, and not only not asked for: some systems give them to all.
    #expect(try flags(of: arena.base).contains("nh"))
    #expect(try residentPages(of: arena) == 3)
    let behind = arena.base + words.upperBound + 1024
    behind[0] = 1
    #expect(try flags(of: behind).contains("hg"))
  }

  @Test func `of a partial arena there is only what is used`() throws {
    // Two of its pages, 2 MiB apart: sharded state is dealt out in pieces that are smaller than a huge page.
    let arena = Arena(count: 1 << 20, partial: 1 << 20)
    for number in [100, 100 + (1 << 19)] { arena.base[number] = 1 }
    #expect(try residentPages(of: arena) == 2)
    #expect(arena.elements.reduce(0, +) == 2)
  }

  /// Whether the system knows `MADV_POPULATE_WRITE`: it refuses what it does not know even of no bytes.
  private static var preparesMemory: Bool {
    var page: UnsafeMutableRawPointer?
    guard posix_memalign(&page, Int(getpagesize()), 1) == 0 else { return false }
    defer { free(page) }
    return madvise(page, 0, 23) == 0
  }

  @Test(.enabled(if: preparesMemory))
  func `what is prepared for writing is there, with what it holds, and nothing beside it`()
    throws
  {
    let arena = Arena(count: 1 << 20, partial: 1 << 20), chunk = 1 << 16
    arena.base[chunk + 5] = 3
    arena.prepareForWriting(chunk..<2 * chunk)
    #expect(try residentPages(of: arena) == chunk * 4 / Int(getpagesize()))
    // Of a page that is needed in part there is all.
    arena.prepareForWriting(5 * chunk + 1..<5 * chunk + 2)
    #expect(try residentPages(of: arena) == chunk * 4 / Int(getpagesize()) + 1)
    #expect(arena.elements.reduce(0, +) == 3)
    Arena(count: 16).prepareForWriting(3..<9)
  }

  @Test func `what is discarded is given back, and its neighbours stay`() throws {
    let arena = Arena(count: 1 << 20, partial: 1 << 20), chunk = 1 << 16
    for number in 0..<arena.count { arena.base[number] = 1 }
    let before = try residentPages(of: arena)
    arena.discard(chunk..<2 * chunk)
    #expect(try residentPages(of: arena) == before - chunk * 4 / Int(getpagesize()))
    #expect(arena.elements.reduce(0, +) == Float(arena.count - chunk))
  }
}
