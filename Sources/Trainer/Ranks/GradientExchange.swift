import Collective
import Model

/// Computes a rank's share of a step's gradient and sums it with everyone else's, in the canonical order.
///
/// Each of the rank's subtrees has an arena of its own; the sum is in the first. Buckets are handed to the network
/// as soon as backward of the last subtree has finished them.
final class GradientExchange {
  let group: RankGroup
  let engine: Engine
  let trainable: [Bool]
  private let settings: ExchangeSettings
  private let isSharded: Bool
  let buckets: GradientBuckets
  /// One for each subtree; the first holds the sum afterwards.
  let arenas: [Arena]
  /// Touched rows of each subtree, side by side, and the number of floats they have room for.
  private var shorts: [UnsafeMutablePointer<Float>] = []
  private var room = 0

  /// Where the time of a step went, in seconds.
  struct Times: Equatable {
    var compute = 0.0
    /// Waiting for the exchange after backward.
    var wait = 0.0
    var trace = ExchangeTrace()
  }

  /// One rank's part of a step.
  struct Result {
    /// Loss sums of the rank's subtrees, in leaf order.
    var losses: [Double]
    /// Losses of the rank's leaves, in order.
    var leafLosses: [Double]
    var times: Times
  }

  init(
    _ group: RankGroup, engine: Engine, gradient: Arena, trainable: [Bool], isSharded: Bool,
    settings: ExchangeSettings
  ) throws(CommunicationError) {
    try settings.check()
    self.group = group
    self.engine = engine
    self.trainable = trainable
    self.settings = settings
    self.isSharded = isSharded
    buckets = try GradientBuckets(
      table: engine.table, trainable: trainable, ranks: group.size, bytes: settings.bucketBytes,
      isSharded: isSharded,
      sendsTouchedRows: settings.sendsTouchedRows && engine.head?.readsWordTable != true)
    arenas =
      [gradient] + group.subtrees.dropFirst().map { _ in Arena(gradientOf: engine.table) }
  }

  /// How examples are named to a person.
  var places: ExamplePlaces?

  deinit { for short in shorts { short.deallocate() } }

  /// Writes the sum over all `leaves` of all ranks into the first arena: all of it, or, where the optimizer is
  /// sharded, the chunks of this rank.
  ///
  /// `leaves` are the step's, `[M]`, of which only the rank's own are read. Collective. `reading` is called with an offset before
  /// parameters in front of it are read.
  /// - Throws: `RankError`, or `StepNotFinite` in a group of one, for a loss or gradient that is not finite, naming tensor and examples;
  ///   `CommunicationError`.
  func sum(
    leaves: [[SequenceInput]], parameters: Arena, randomness: Engine.Randomness?,
    leavesAtOnce: Int?, step: Int, reading: (Int) -> Void = { _ in }
  ) throws -> Result {
    let input = StepInput(
      leaves: leaves, parameters: parameters, randomness: randomness, step: step)
    precondition(
      leaves.count == group.ownership.leaves,
      "\(leaves.count) leaves for a group of \(group.ownership.leaves)")
    let clock = ContinuousClock()
    let begun = clock.now, blockedBefore = group.collective.blockedSeconds
    let batches = group.subtrees.map { subtree in
      PackedBatch(
        leaves: subtree.leaves.map { leaves[$0] }, copies: engine.head?.copies ?? 1)
    }
    let union = buckets.wordTable.map { table in
      let rows = Set(batches.flatMap { $0.sequences.flatMap(\.ids) }).sorted()
      return group.collective.uniteRows(rows, tableRows: table.rows)
    }
    var travel = Travel()
    var losses: [Double] = [], leafLosses: [Double] = []
    for (number, batch) in batches.enumerated() {
      let isLast = number == batches.count - 1
      let loss = engine.gradient(
        of: batch, parameters: parameters, into: arenas[number], randomness: randomness,
        trainable: trainable, leavesAtOnce: leavesAtOnce,
        reading: { offset in
          group.collective.noteProgress()
          reading(offset)
        }
      ) { offset in
        group.collective.noteProgress()
        guard isLast, settings.overlaps else { return }
        submit(from: offset, &travel)
        if offset > 0 { travel.early = travel.operations.count }
      }
      losses.append(loss.numerator)
      leafLosses += loss.leaves
    }
    // Backward ends early above frozen layers, without a word.
    submit(from: 0, &travel)
    let computed = clock.now, backwardEnd = group.collective.seconds
    let blocked = group.collective.blockedSeconds - blockedBefore
    if let problem = travel.problem {
      throw (problem as? GradientNotFinite).map { fault(of: $0, input) } ?? problem
    }
    if let subtree = losses.firstIndex(where: { !$0.isFinite }) {
      throw fault(ofLoss: losses[subtree], subtree: subtree, input)
    }
    if let table = buckets.wordTable, let union {
      do {
        try exchange(try union.wait(), of: table, &travel)
      } catch let found as GradientNotFinite {
        throw fault(of: found, input)
      }
    }
    for operation in travel.operations { try operation.wait() }
    if let rows = travel.rows, let table = buckets.wordTable {
      rows.scatter(
        shorts[0], into: arenas[0].base + table.range.lowerBound,
        ownedBy: isSharded ? group.rank : nil)
      arenas[0].touchedRows = rows.rows
    } else if group.size > 1 {
      // The sum has rows that others touched.
      arenas[0].touchedRows = nil
    }
    return Result(
      losses: losses, leafLosses: leafLosses,
      times: Times(
        compute: (computed - begun).inSeconds - blocked,
        wait: (clock.now - computed).inSeconds + blocked,
        trace: trace(travel, backwardEnd: backwardEnd)))
  }

  /// What the flight recorder knows of the operations of `travel`.
  private func trace(_ travel: Travel, backwardEnd: Double) -> ExchangeTrace {
    guard let first = travel.firstOperation, group.size > 1 else { return ExchangeTrace() }
    let records = group.collective.recorder.records.filter { $0.sequence >= first }
    let spans = records.compactMap { record in
      record.started.flatMap { start in record.ended.map { (start: start, end: $0) } }
    }
    var trace = ExchangeTrace(
      spans: spans, first: records.first?.submitted ?? backwardEnd, backwardEnd: backwardEnd)
    trace.early = travel.early
    return trace
  }

  /// What is on its way.
  private struct Travel {
    var operations: [CollectiveOperation] = []
    /// The number of the next bucket.
    var next = 0
    var rows: RowUnion?
    /// The number of the first bucket's operation.
    var firstOperation: Int?
    /// How many buckets were handed over while backward ran.
    var early = 0
    /// What ended the exchange.
    var problem: (any Error)?
  }

  /// Hands over every bucket that lies at or behind `offset`.
  private func submit(from offset: Int, _ travel: inout Travel) {
    while travel.problem == nil, travel.next < buckets.buckets.count,
      buckets.buckets[travel.next].range.lowerBound >= offset
    {
      let bucket = buckets.buckets[travel.next]
      travel.next += 1
      do {
        for (subtree, arena) in arenas.enumerated() {
          try check(arena.base, bucket.range, subtree: subtree)
        }
        travel.firstOperation = travel.firstOperation ?? group.collective.nextOperation
        travel.operations.append(
          try start(arenas.map { $0.base + bucket.range.lowerBound }, bucket.plan))
      } catch {
        travel.problem = error
      }
    }
  }

  private func start(
    _ contributions: [UnsafeMutablePointer<Float>], _ plan: SlicePlan
  ) throws(CommunicationError) -> CollectiveOperation {
    // One rank has nobody to send to, and rounds nothing.
    let wire = group.size > 1 ? settings.wire : .float32
    return isSharded
      ? try group.collective.reduceScatter(
        contributions, plan: plan, ownership: group.ownership, exchange: settings.exchange,
        wire: wire,
        keeping: self)
      : try group.collective.allReduce(
        contributions, plan: plan, ownership: group.ownership, exchange: settings.exchange,
        wire: wire,
        keeping: self)
  }

  /// Sends the rows of the word table that anyone touched.
  private func exchange(
    _ rows: [Int32], of table: GradientBuckets.WordTable, _ travel: inout Travel
  ) throws {
    let union =
      isSharded
      ? try RowUnion.chunks(
        of: Optimizer.chunkSize, rows: rows, width: table.width,
        tableOffset: table.range.lowerBound, ranks: group.size)
      : try RowUnion.balanced(rows: rows, width: table.width, ranks: group.size)
    if union.count > room || shorts.isEmpty {
      for short in shorts { short.deallocate() }
      room = max(union.count, 2 * room, 1)
      shorts = arenas.map { _ in .allocate(capacity: room) }
    }
    for (subtree, (arena, short)) in zip(arenas, shorts).enumerated() {
      let own = arena.touchedRows ?? rows
      for row in own {
        let start = table.range.lowerBound + Int(row) * table.width
        try check(arena.base, start..<start + table.width, subtree: subtree)
      }
      union.gather(
        RowSums(
          rows: own, width: table.width,
          table: UnsafePointer(arena.base + table.range.lowerBound)), into: short)
    }
    travel.rows = union
    travel.operations.append(try start(shorts, union.plan))
  }

  /// Refuses a gradient that is not finite before it leaves the rank.
  ///
  /// Nothing leaves a group of one: there the optimizer finds it.
  private func check(
    _ values: UnsafePointer<Float>, _ range: Range<Int>, subtree: Int
  ) throws(GradientNotFinite) {
    guard group.size > 1, let found = notFinite(values, range, subtree: subtree) else { return }
    throw found
  }
}

/// Whether numbers are finite.
enum Finiteness {
  /// Whether all `count` values are neither infinite nor NaN.
  @inline(never)
  static func holds(_ values: UnsafePointer<Float>, count: Int) -> Bool {
    // An exponent of ones is the largest there is: adding one unit of it carries into the sign bit.
    let bytes = UnsafeRawPointer(values)
    var carries = SIMD16<UInt32>.zero
    var i = 0
    while i + 16 <= count {
      let bits = bytes.loadUnaligned(fromByteOffset: 4 * i, as: SIMD16<UInt32>.self)
      carries |= (bits & 0x7FFF_FFFF) &+ 0x0080_0000
      i += 16
    }
    var carry: UInt32 = 0
    for lane in 0..<16 { carry |= carries[lane] }
    while i < count {
      carry |= (values[i].bitPattern & 0x7FFF_FFFF) &+ 0x0080_0000
      i += 1
    }
    return carry & 0x8000_0000 == 0
  }
}

extension Duration {
  /// As a number.
  var inSeconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
