import Collective
import Testing

/// Sums over the touched rows equal the dense canonical sum, in which an absent row is +0.0.
@Suite(.serialized) struct RowTests {
  static let leafCount = 8

  /// For each leaf the rows it touched and a table that is +0.0 elsewhere.
  private func leaves(tableRows: Int, width: Int, seed: Int, touched: Int) -> [(Set<Int>, [Float])]
  {
    (0..<Self.leafCount).map { leaf in
      var numbers = Numbers(seed: seed * 100 + leaf)
      var table = [Float](repeating: 0, count: tableRows * width)
      // Some leaves touch nothing.
      let count = leaf % 3 == 2 ? 0 : touched
      let rows = Set((0..<count).map { _ in Int(numbers.next() % UInt64(tableRows)) })
      for row in rows {
        for column in 0..<width { table[row * width + column] = numbers.float() }
        // A sum of nothing but −0.0: it becomes +0.0 where another leaf is absent.
        table[row * width] = -0.0
      }
      return (rows, table)
    }
  }

  @Test(arguments: [1, 2, 3, 4, 5, 7, 8], [false, true])
  func `a union of touched rows sums to the bits of the whole table`(
    ranks: Int, isSharded: Bool
  )
    throws
  {
    let ownership = try LeafOwnership(ranks: ranks, leaves: Self.leafCount)
    // Widths that chunks of 64 elements do not divide, one wider than a chunk; tables at odd offsets.
    for (tableRows, width, offset, touched) in [(97, 24, 1000, 9), (40, 150, 7, 5), (13, 1, 0, 13)]
    {
      let leaves = leaves(tableRows: tableRows, width: width, seed: width, touched: touched)
      let expected = canonicalSum(leaves.map(\.1)[...])
      let chunk = 64
      let results = try onRanks(ranks, longestDelay: 100e-6) { engine in
        let subtrees = ownership.subtrees(of: engine.rank)
        let touched = subtrees.map { subtree in
          leaves[subtree.leaves].reduce(into: Set<Int>()) { $0.formUnion($1.0) }.sorted()
            .map(Int32.init)
        }
        let own = Set(touched.flatMap { $0 }).sorted()
        let rows = try engine.uniteRows(own, tableRows: tableRows).wait()
        let union =
          isSharded
          ? try RowUnion.chunks(
            of: chunk, rows: rows, width: width, tableOffset: offset, ranks: ranks,
            segmentBytes: 1_000)
          : try RowUnion.balanced(rows: rows, width: width, ranks: ranks, segmentBytes: 1_000)
        let shorts = zip(subtrees, touched).enumerated().map { place, pair in
          let table = Buffer(canonicalSum(leaves.map(\.1)[pair.0.leaves]))
          let short = Buffer(.init(repeating: .nan, count: union.count))
          if place % 2 == 0 {
            union.gather(.init(rows: pair.1, width: width, table: table.start), into: short.start)
          } else {
            let rows = Buffer(
              pair.1.flatMap { table.values[Int($0) * width..<(Int($0) + 1) * width] })
            union.gather(.init(rows: pair.1, width: width, compact: rows.start), into: short.start)
          }
          return short
        }
        let reduce = isSharded ? engine.reduceScatter : engine.allReduce
        try reduce(shorts.map(\.start), union.plan, ownership, .automatic, .float32, nil).wait()
        let result = Buffer(.init(repeating: 0, count: tableRows * width))
        union.scatter(
          shorts[0].start, into: result.start, ownedBy: isSharded ? engine.rank : nil)
        return (rows, result.values)
      }
      let touchedRows = leaves.reduce(into: Set<Int>()) { $0.formUnion($1.0) }.sorted()
      for (rank, (rows, table)) in results.enumerated() {
        #expect(rows == touchedRows.map(Int32.init))
        var wanted = expected
        if isSharded {
          for i in wanted.indices
          where SlicePlan.owner(ofChunk: (offset + i) / chunk, ranks: ranks) != rank {
            wanted[i] = 0
          }
        }
        #expect(bits(table) == bits(wanted), "rank \(rank) of \(ranks), width \(width)")
      }
    }
  }

  @Test(arguments: [1, 2, 3, 8])
  func `balanced slices scatter to every owner exactly what it owns`(ranks: Int) throws {
    let rows: [Int32] = [0, 3, 4, 9]
    let union = try RowUnion.balanced(rows: rows, width: 5, ranks: ranks, segmentBytes: 28)
    let short = Buffer((0..<20).map { Float($0 + 1) })
    var whole = [Float](repeating: 0, count: 50)
    for rank in 0..<ranks {
      let part = Buffer(.init(repeating: 0, count: 50))
      union.scatter(short.start, into: part.start, ownedBy: rank)
      #expect(part.values.count { $0 != 0 } == union.plan.ownedCount(of: rank))
      for (i, value) in part.values.enumerated() { whole[i] += value }
    }
    for (place, row) in rows.enumerated() {
      for column in 0..<5 { #expect(whole[Int(row) * 5 + column] == Float(place * 5 + column + 1)) }
    }
    #expect(whole.count { $0 != 0 } == 20)
  }

  @Test func `touched rows cost their bytes and their number, not the table's`() throws {
    let (ranks, tableRows, width) = (4, 10_000, 32)
    let ownership = try LeafOwnership(ranks: ranks, leaves: 4)
    let counters = try onRanks(ranks) { engine in
      let own = (0..<64).map { Int32(100 * $0 + engine.rank) }
      let rows = try engine.uniteRows(own, tableRows: tableRows).wait()
      let union = try RowUnion.balanced(rows: rows, width: width, ranks: ranks)
      let values = Buffer(.init(repeating: 1, count: own.count * width))
      let short = Buffer(.init(repeating: 0, count: union.count))
      union.gather(.init(rows: own, width: width, compact: values.start), into: short.start)
      try engine.allReduce([short.start], plan: union.plan, ownership: ownership).wait()
      return engine.traffic
    }
    let unionElements = 4 * 64 * width
    let cost =
      CommunicationCost.allGather(blobBytes: .init(repeating: 4 * 64, count: ranks), rank: 0)
      + CommunicationCost.treeAllReduce(elements: unionElements, ranks: ranks)
    for counters in counters {
      #expect(counters.sentBytes == cost.sentBytes && counters.sentMessages == cost.sentMessages)
    }
  }

  @Test(arguments: [
    ([1, 0, 0], "3 bytes are no list of 4-byte numbers"),
    ([5, 0, 0, 0, 5, 0, 0, 0], "row 5 follows row 5"),
    ([5, 0, 0, 0, 4, 0, 0, 0], "row 4 follows row 5"),
    ([10, 0, 0, 0], "row 10 is outside of the table's 10"),
    ([255, 255, 255, 255], "row -1 is outside of the table's 10"),
  ])
  func `a peer's list of rows is checked before it is used`(bytes: [UInt8], reason: String) throws {
    let errors = try onRanks(2) { engine in
      // Rank 1 sends bytes where rank 0 expects a list of rows.
      guard engine.rank == 0 else {
        _ = try engine.allGather(bytes).wait()
        return ""
      }
      do {
        _ = try engine.uniteRows([1, 2], tableRows: 10).wait()
        return ""
      } catch { return "\(error)" }
    }
    #expect(
      errors[0] == "The touched rows of rank 1 cannot be used: \(reason). "
        + "Every rank must run the same program with the same recipe and data.")
  }
}
