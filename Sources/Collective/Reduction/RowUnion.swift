/// The rows of a table that any rank touched in a step, and where their elements lie on the wire.
///
/// Few rows of a word table have a gradient in one step, and the others are exactly +0.0 in every
/// leaf. So the sum over the union of touched rows is the whole sum, bit for bit: an absent row counts as
/// +0.0 (and is added, which turns a sum of −0.0 into +0.0 as the dense exchange does). The elements
/// of the union are copied, owner by owner, into one short vector that is exchanged like any other.
package struct RowUnion: Sendable, Equatable {
  /// A run of elements of one owner: in the table, and in the short vector.
  struct Piece: Sendable, Equatable {
    /// The place of the row in `rows`.
    let row: Int
    /// The first element within the row.
    let column: Int
    let count: Int
    let place: Int
  }

  /// The touched rows, ascending.
  package let rows: [Int32]
  /// Elements of a row.
  package let width: Int
  /// How the short vector is cut.
  package let plan: SlicePlan
  let pieces: [Piece]

  /// Elements of the short vector.
  package var count: Int { rows.count * width }

  /// For sums that every rank needs: slices are equal.
  package static func balanced(
    rows: [Int32], width: Int, ranks: Int, segmentBytes: Int = SlicePlan.defaultSegmentBytes
  ) throws(CommunicationError) -> RowUnion {
    let plan = try SlicePlan.balanced(
      count: rows.count * width, ranks: ranks, segmentBytes: segmentBytes)
    let pieces = rows.indices.map { Piece(row: $0, column: 0, count: width, place: $0 * width) }
    return RowUnion(rows: rows, width: width, plan: plan, pieces: pieces)
  }

  /// For state that is sharded by chunks of a flat array in which the table begins at element `offset`.
  ///
  /// Each rank ends up with the elements of its own chunks; see `SlicePlan.chunks(of:covering:ranks:)`.
  package static func chunks(
    of chunk: Int, rows: [Int32], width: Int, tableOffset offset: Int, ranks: Int,
    segmentBytes: Int = SlicePlan.defaultSegmentBytes
  ) throws(CommunicationError) -> RowUnion {
    precondition(chunk >= 1, "chunks of \(chunk) elements")
    var pieces: [Piece] = []
    var borders: [Int] = []
    var place = 0
    var segment: [[Piece]] = .init(repeating: [], count: ranks)
    var segmentElements = 0
    /// Puts the pieces of a segment one owner's after the other's.
    func flush() {
      guard segmentElements > 0 else { return }
      borders.append(place)
      for slice in segment.indices {
        for piece in segment[slice] {
          pieces.append(
            Piece(row: piece.row, column: piece.column, count: piece.count, place: place))
          place += piece.count
        }
        borders.append(place)
        segment[slice] = []
      }
      segmentElements = 0
    }
    for (index, row) in rows.enumerated() {
      // A row may lie across the border of two chunks, or of many.
      var column = 0
      while column < width {
        let element = offset + Int(row) * width + column
        let number = element / chunk
        let count = min((number + 1) * chunk - element, width - column)
        segment[number % ranks].append(Piece(row: index, column: column, count: count, place: 0))
        column += count
        segmentElements += count
      }
      if 4 * segmentElements >= segmentBytes { flush() }
    }
    flush()
    let plan = try SlicePlan(count: place, ranks: ranks, borders: borders)
    return RowUnion(rows: rows, width: width, plan: plan, pieces: pieces)
  }

  /// Fills the short vector from the sums of one subtree: rows that it did not touch become +0.0.
  package func gather(_ sums: RowSums, into short: UnsafeMutablePointer<Float>) {
    precondition(sums.width == width, "rows of \(sums.width) elements for \(width)")
    let places = sums.places(of: rows)
    for piece in pieces {
      let target = short + piece.place
      if let source = places[piece.row] {
        target.update(from: sums.values + source + piece.column, count: piece.count)
      } else {
        target.update(repeating: 0, count: piece.count)
      }
    }
  }

  /// Writes the short vector back into the rows of `table`; with `rank`, only the elements that it owns.
  package func scatter(
    _ short: UnsafePointer<Float>, into table: UnsafeMutablePointer<Float>, ownedBy rank: Int? = nil
  ) {
    guard let rank else {
      for piece in pieces {
        (table + Int(rows[piece.row]) * width + piece.column).update(
          from: short + piece.place, count: piece.count)
      }
      return
    }
    forEachOwned(by: rank) { element, place, count in
      (table + element).update(from: short + place, count: count)
    }
  }

  /// Fills the elements of the short vector that `rank` owns from the rows of `table`.
  package func pack(
    _ table: UnsafePointer<Float>, into short: UnsafeMutablePointer<Float>, ownedBy rank: Int
  ) {
    forEachOwned(by: rank) { element, place, count in
      (short + place).update(from: table + element, count: count)
    }
  }

  /// Calls `body` with the runs of elements that `rank` owns: first element in the table, place in the short vector, count.
  private func forEachOwned(by rank: Int, _ body: (Int, Int, Int) -> Void) {
    let owned = plan.ownedRanges(of: rank)
    var next = 0
    for piece in pieces {
      // Pieces and ranges both ascend; a piece of balanced slices may overlap several ranges.
      let end = piece.place + piece.count
      while next < owned.count && owned[next].upperBound <= piece.place { next += 1 }
      var range = next
      while range < owned.count && owned[range].lowerBound < end {
        let start = max(owned[range].lowerBound, piece.place)
        let stop = min(owned[range].upperBound, end)
        body(
          Int(rows[piece.row]) * width + piece.column + start - piece.place, start, stop - start)
        range += 1
      }
    }
  }
}

/// The sums of one subtree over the rows it touched.
package struct RowSums {
  /// Ascending, without repeats.
  let rows: [Int32]
  let width: Int
  let values: UnsafePointer<Float>
  private let isTable: Bool

  /// Row `rows[i]`'s sums are elements `i·width..<(i+1)·width` of `values`.
  package init(rows: [Int32], width: Int, compact values: UnsafePointer<Float>) {
    self.init(rows: rows, width: width, values: values, isTable: false)
  }

  /// Row `r`'s sums are elements `r·width..<(r+1)·width` of `table`, a whole table of which only `rows` count.
  package init(rows: [Int32], width: Int, table: UnsafePointer<Float>) {
    self.init(rows: rows, width: width, values: table, isTable: true)
  }

  private init(rows: [Int32], width: Int, values: UnsafePointer<Float>, isTable: Bool) {
    precondition(zip(rows, rows.dropFirst()).allSatisfy { $0 < $1 }, "rows are not ascending")
    precondition(width >= 1, "rows of \(width) elements")
    self.rows = rows
    self.width = width
    self.values = values
    self.isTable = isTable
  }

  /// Where each row of `union` begins in `values`, or nil where this subtree did not touch it.
  func places(of union: [Int32]) -> [Int?] {
    var result = [Int?](repeating: nil, count: union.count)
    var next = 0
    for (index, row) in union.enumerated() where next < rows.count && rows[next] == row {
      result[index] = (isTable ? Int(row) : next) * width
      next += 1
    }
    precondition(next == rows.count, "\(rows.count - next) touched rows are not in the union")
    return result
  }
}
