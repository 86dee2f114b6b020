/// The exchange of touched rows.
extension CollectiveEngine {
  /// A union of touched rows under way.
  package struct RowsOperation {
    private let blobs: BlobOperation
    private let engine: CollectiveEngine
    private let tableRows: Int

    init(blobs: BlobOperation, engine: CollectiveEngine, tableRows: Int) {
      self.blobs = blobs
      self.engine = engine
      self.tableRows = tableRows
    }

    /// The rows that any rank touched, ascending; the same on every rank.
    package func wait() throws(CommunicationError) -> [Int32] {
      let lists = try blobs.wait()
      var isTouched = [Bool](repeating: false, count: tableRows)
      for (rank, bytes) in lists.enumerated() {
        do throws(RowListProblem) {
          for row in try RowList.decode(bytes, tableRows: tableRows) { isTouched[Int(row)] = true }
        } catch {
          // Every rank has the same list and comes to the same end.
          throw .badRows(peer: engine.name(of: rank), reason: error.reason)
        }
      }
      return isTouched.indices.filter { isTouched[$0] }.map(Int32.init)
    }
  }

  /// Starts to find which of the `tableRows` rows of a table any rank touched.
  ///
  /// `rows` ascend. They are known as soon as the batch is, so this can travel during the forward pass.
  /// `P − 1` messages of 4 bytes a row.
  package func uniteRows(_ rows: [Int32], tableRows: Int) -> RowsOperation {
    precondition(
      zip(rows, rows.dropFirst()).allSatisfy { $0 < $1 } && rows.first ?? 0 >= 0
        && rows.last ?? 0 < tableRows || rows.isEmpty,
      "touched rows do not ascend within \(tableRows)")
    let blob = rows.withUnsafeBytes { Array($0) }
    return RowsOperation(blobs: allGather(blob), engine: self, tableRows: tableRows)
  }
}

/// What is wrong with a list of rows that a peer sent.
struct RowListProblem: Error { let reason: String }

enum RowList {
  /// The rows in `bytes`: 4 bytes each, ascending, all of the table.
  static func decode(_ bytes: [UInt8], tableRows: Int) throws(RowListProblem) -> [Int32] {
    guard bytes.count % 4 == 0 else {
      throw RowListProblem(reason: "\(bytes.count) bytes are no list of 4-byte numbers")
    }
    var rows: [Int32] = []
    rows.reserveCapacity(bytes.count / 4)
    for start in stride(from: 0, to: bytes.count, by: 4) {
      let row = Int32(
        bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << (8 * $1) })
      guard row >= 0, row < tableRows else {
        throw RowListProblem(reason: "row \(row) is outside of the table's \(tableRows)")
      }
      if let last = rows.last, last >= row {
        throw RowListProblem(reason: "row \(row) follows row \(last)")
      }
      rows.append(row)
    }
    return rows
  }
}
