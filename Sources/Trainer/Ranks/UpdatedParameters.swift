import Collective
import Model

/// Gives the parameters that each rank updated to all the others, from the first to the last.
///
/// Of the word table only the rows travel that may have moments: every other row has its weight decay alone, which each
/// rank computes by itself (`Optimizer.decayRows`).
final class UpdatedParameters {
  private let group: RankGroup
  private let parameters: Arena
  private let exchange: Exchange
  /// Pieces that travel whole: those of the word table, and all others, ascending.
  private let tablePieces: [Piece]
  private let pieces: [Piece]
  private let wordTable: GradientBuckets.WordTable?
  private let short: ShortVector

  private struct Piece {
    let start: Int
    let plan: SlicePlan
  }

  /// Rows of the word table, copied side by side; what was never written takes no memory.
  private final class ShortVector {
    let base: UnsafeMutablePointer<Float>
    init(count: Int) { base = .allocate(capacity: max(count, 1)) }
    deinit { base.deallocate() }
  }

  /// Of a table with more rows than this share to be sent, all rows are sent: copying them costs more than it saves.
  static let rowsShare = 0.75

  /// Elements of a piece: the forward pass begins while later ones are on their way.
  private static let pieceElements = 1 << 22

  /// - Throws: `CommunicationError` if a piece has too many segments.
  init(
    _ group: RankGroup, parameters: Arena, buckets: GradientBuckets, exchange: Exchange
  ) throws(CommunicationError) {
    self.group = group
    self.parameters = parameters
    self.exchange = exchange
    wordTable = buckets.wordTable
    let table = buckets.wordTable?.range ?? 0..<0
    short = ShortVector(count: Int(Self.rowsShare * Double(table.count)))
    tablePieces = try Self.pieces(of: [table], ranks: group.size)
    pieces = try Self.pieces(
      of: buckets.trainedRuns.flatMap { run in
        run.overlaps(table)
          ? [run.lowerBound..<table.lowerBound, table.upperBound..<run.upperBound] : [run]
      }, ranks: group.size)
  }

  private static func pieces(
    of runs: [Range<Int>], ranks: Int
  ) throws(CommunicationError) -> [Piece] {
    // Borders that all ranks' chunks share, so that a piece has work for each of them.
    let size = max(1, pieceElements / Optimizer.chunkSize / ranks) * ranks * Optimizer.chunkSize
    var pieces: [Piece] = []
    for run in runs where !run.isEmpty {
      for number in run.lowerBound / size...(run.upperBound - 1) / size {
        let range = (number * size..<(number + 1) * size).clamped(to: run)
        pieces.append(
          Piece(
            start: range.lowerBound,
            plan: try SlicePlan.chunks(of: Optimizer.chunkSize, covering: range, ranks: ranks)))
      }
    }
    return pieces
  }

  /// Starts to make the parameters whole on every rank; what is on its way is added to `arrival`.
  ///
  /// Collective. `rows`: the rows of the word table that travel, ascending and the same on all ranks; nil: all of them.
  func send(rows: [Int32]?, into arrival: ParameterArrival) throws(CommunicationError) {
    let table = wordTable?.range ?? 0..<0
    let before = pieces.prefix { $0.start < table.lowerBound }
    for piece in before { try send(piece, into: arrival) }
    if let wordTable, let rows, Double(rows.count) <= Self.rowsShare * Double(wordTable.rows) {
      try send(rows, of: wordTable, into: arrival)
    } else {
      for piece in tablePieces { try send(piece, into: arrival) }
    }
    for piece in pieces.dropFirst(before.count) { try send(piece, into: arrival) }
  }

  private func send(
    _ piece: Piece, into arrival: ParameterArrival
  ) throws(CommunicationError) {
    arrival.add(
      try group.collective.allGather(
        parameters.base + piece.start, plan: piece.plan, exchange: exchange, keeping: parameters),
      from: piece.start)
  }

  private func send(
    _ rows: [Int32], of table: GradientBuckets.WordTable, into arrival: ParameterArrival
  ) throws(CommunicationError) {
    let union = try RowUnion.chunks(
      of: Optimizer.chunkSize, rows: rows, width: table.width,
      tableOffset: table.range.lowerBound, ranks: group.size)
    let (short, values) = (short, parameters.base + table.range.lowerBound)
    union.pack(values, into: short.base, ownedBy: group.rank)
    let operation = try group.collective.allGather(
      short.base, plan: union.plan, exchange: exchange, keeping: short)
    arrival.add(operation, from: table.range.lowerBound) {
      union.scatter(short.base, into: values)
    }
  }
}
