import Collective
import Model

/// One optimizer step on all ranks of a group: gradient, exchange, norm, update.
///
/// The parameters afterwards, and the loss and norm returned, have the same bits on any number of ranks, for any
/// exchange settings without a `limit` and any number of threads.
package final class DistributedStep {
  package let group: RankGroup
  let engine: Engine
  let optimizer: Optimizer
  let parameters: Arena
  let settings: ExchangeSettings
  /// Whether each rank updates only its own chunks.
  package let isSharded: Bool
  /// Called before a step changes parameters or the optimizer's state, on every rank: whoever still reads them can be waited for.
  package var willChange: (_ step: Int) throws -> Void = { _ in }
  /// How examples are named in errors.
  package var examplePlaces: ExamplePlaces? {
    get { exchange.places }
    set { exchange.places = newValue }
  }
  private let gradient: Arena
  /// Whether the gradient was lent.
  private var isOver = false
  private let exchange: GradientExchange
  private let adversary: AdversarialPass?
  private let arrival: ParameterArrival
  private let updated: UpdatedParameters
  /// By rank the chunks that it owns, ascending.
  let chunksByRank: [[Int]]
  /// All chunks but this rank's.
  private let othersChunks: [Int]

  /// Every so many steps the digests of the ranks have covered all parameters.
  private static let digestPeriod = 16

  package struct Result: Sendable, Equatable {
    /// The sum of the losses of the step's sequences, undivided.
    package var loss: Double
    /// The same of each leaf, in order.
    package var leafLosses: [Double]
    /// The gradient's norm before clipping.
    package var norm: Double
    /// The same by parameter.
    package var parameterNorms: [Double]
    /// The digest of the parameters after the step.
    package var digest: UInt64
    /// Whether any rank was asked to stop, and to save.
    package var stops: Bool
    package var saves: Bool
    /// Seconds of computing and of waiting for the exchange, by rank.
    package var computeSeconds: [Double]
    package var waitSeconds: [Double]
    /// How this rank's exchange of gradients lay beside its backward pass.
    package var trace: ExchangeTrace
  }

  /// - Throws: `CommunicationError` if the settings do not fit the ranks.
  package init(
    _ group: RankGroup, engine: Engine, optimizer: Optimizer, parameters: Arena,
    settings: ExchangeSettings = ExchangeSettings(),
    adversary: AdversarialSettings? = nil
  ) throws(CommunicationError) {
    self.group = group
    self.engine = engine
    self.optimizer = optimizer
    self.parameters = parameters
    self.settings = settings
    isSharded = settings.shards(optimizer.settings.method, ranks: group.size)
    group.poll(from: engine.pool)
    arrival = ParameterArrival()
    gradient = Arena(gradientOf: engine.table)
    exchange = try GradientExchange(
      group, engine: engine, gradient: gradient, trainable: optimizer.trainable,
      isSharded: isSharded, settings: settings)
    self.adversary = try adversary.map { (pass) throws(CommunicationError) in
      try AdversarialPass(pass, group: group, engine: engine, exchange: settings)
    }
    let ranks = group.size
    chunksByRank = (0..<ranks).map { rank in
      (0..<optimizer.chunkCount).filter { SlicePlan.owner(ofChunk: $0, ranks: ranks) == rank }
    }
    othersChunks = (0..<optimizer.chunkCount).filter {
      SlicePlan.owner(ofChunk: $0, ranks: ranks) != group.rank
    }
    updated = try UpdatedParameters(
      group, parameters: parameters, buckets: exchange.buckets, exchange: settings.exchange)
  }

  /// Waits until this rank holds all parameters: after a step, those that others updated may still be on their way.
  ///
  /// Whoever reads the parameters between steps calls this first.
  package func settle() throws(CommunicationError) { try arrival.settle() }

  /// The gradient's memory, for other use once the last step is made.
  ///
  /// No step can be made afterwards.
  package func lendGradient() throws(CommunicationError) -> Arena {
    try settle()
    isOver = true
    gradient.touchedRows = nil
    return gradient
  }

  /// Makes one step; `settle` before the parameters are read.
  ///
  /// Collective. `leaves`: the step's sequences by leaf, the same on every rank. `requests` is asked, once the parameters are
  /// updated, whether this rank wants to stop or to save.
  ///
  /// After an error, of this rank or of another, the group can only be ended.
  package func run(
    leaves: [[SequenceInput]], randomness: Engine.Randomness?, leavesAtOnce: Int? = nil,
    denominator: Double, learningRate: Double, step: Int,
    requests: () -> (stops: Bool, saves: Bool) = { (false, false) }
  ) throws -> Result {
    precondition(!isOver, "step \(step) after the gradient was lent")
    group.collective.enter(phase: "computing gradients", step: step + 1)
    let planHash = StepHeader.planHash(leaves.map { $0.map(\.exampleID) })
    if adversary != nil { try settle() }
    try adversary?.disturb(
      parameters, leaves: leaves, randomness: randomness, leavesAtOnce: leavesAtOnce,
      denominator: denominator, step: step, willChange: willChange)
    let own = try exchange.sum(
      leaves: leaves, parameters: parameters, randomness: randomness, leavesAtOnce: leavesAtOnce,
      step: step, reading: arrival.wait)
    try settle()
    let late = arrival.takeSeconds()
    adversary?.restore(parameters)
    let headers = try agree(
      StepHeader(
        step: step, plan: planHash, parameters: replicaDigest(step: step), losses: own.losses,
        leafLosses: own.leafLosses,
        squareSums: isSharded
          ? optimizer.squareSums(of: gradient, chunks: chunksByRank[group.rank]) : [],
        computeSeconds: own.times.compute - late, waitSeconds: own.times.wait + late))
    let loss = group.fold(headers.map(\.losses))
    guard loss.isFinite else {
      // Each rank's is finite, or it would have said so.
      throw StepNotFinite(
        finding: "the sum of all losses is \(loss)",
        rows: leaves.flatMap { $0 }.map(\.exampleID), namesCulprits: false)
    }
    try willChange(step)
    group.collective.enter(phase: "updating parameters", step: step + 1)
    let norm: Optimizer.Norm
    do {
      norm = try self.norm(headers, denominator: denominator, step: step)
    } catch let error as OptimizerError where group.size == 1 {
      throw exchange.fault(
        of: error,
        StepInput(leaves: leaves, parameters: parameters, randomness: randomness, step: step))
    }
    try update(norm, learningRate: learningRate, step: step)
    let wanted = requests()
    let border = try border(stops: wanted.stops, saves: wanted.saves)
    try sendUpdated()
    return Result(
      loss: loss, leafLosses: headers.flatMap(\.leafLosses), norm: norm.total,
      parameterNorms: norm.byParameter, digest: border.digest,
      stops: border.stops,
      saves: border.saves, computeSeconds: headers.map(\.computeSeconds),
      waitSeconds: headers.map(\.waitSeconds), trace: own.times.trace)
  }

  /// Hands the gradient of each of `leaves` alone to `body`, with its loss: both undivided, at the parameters as they are.
  ///
  /// For a group of one, between steps; `gradient` is the step's own memory, and the next step writes it anew. An adversary
  /// disturbs nothing here.
  func leafGradients(
    _ leaves: [[SequenceInput]], randomness: Engine.Randomness?,
    _ body: (_ leaf: Int, _ loss: Double, _ gradient: Arena) -> Void
  ) {
    precondition(group.size == 1 && !isOver, "gradients of leaves on \(group.size) ranks")
    for (leaf, sequences) in leaves.enumerated() {
      let batch = PackedBatch(leaves: [sequences], copies: engine.head?.copies ?? 1)
      let loss = engine.gradient(
        of: batch, parameters: parameters, into: gradient, randomness: randomness,
        trainable: optimizer.trainable)
      body(leaf, loss.numerator, gradient)
    }
  }

  // MARK: Parts

  private func agree(_ own: StepHeader) throws -> [StepHeader] {
    let blobs = try group.collective.allGather(own.bytes).wait()
    var rank = 0
    let headers = try group.decode(blobs, as: "the header of step \(own.step + 1)") { bytes in
      defer { rank += 1 }
      return StepHeader(
        bytes, losses: group.ownership.subtrees(of: rank).count,
        leaves: group.ownership.subtrees(of: rank).reduce(0) { $0 + $1.leaves.count },
        squareSums: isSharded ? optimizer.sumCount(chunks: chunksByRank[rank]) : 0)
    }
    try check(headers, "the step") { "\($0.step + 1)" }
    try check(headers, "the examples of step \(own.step + 1)") { ParameterDigest.text($0.plan) }
    try check(headers, "the parameters before step \(own.step + 1)") {
      ParameterDigest.text($0.parameters)
    }
    return headers
  }

  private func check(
    _ headers: [StepHeader], _ item: String, _ value: (StepHeader) -> String
  ) throws(CommunicationError) {
    let values = headers.map(value)
    guard values.contains(where: { $0 != values[0] }) else { return }
    throw .disagreement(
      item: item,
      values: values.enumerated().map { "\($1) on \(group.collective.name(of: $0))" })
  }

  /// What all ranks must hold alike of the parameters: a sixteenth of the chunks, another one each step.
  private func replicaDigest(step: Int) -> UInt64 {
    let chunks = stride(
      from: step % Self.digestPeriod, to: optimizer.chunkCount, by: Self.digestPeriod)
    return ParameterDigest.of(parameters, chunks: Array(chunks), pool: engine.pool)
  }

  private func norm(
    _ headers: [StepHeader], denominator: Double, step: Int
  ) throws -> Optimizer.Norm {
    guard isSharded else {
      return try optimizer.norm(
        squareSums: optimizer.squareSums(of: gradient, chunks: 0..<optimizer.chunkCount),
        gradient: gradient, denominator: denominator, step: step)
    }
    var sums = [Double](repeating: 0, count: optimizer.segments.count)
    for (header, chunks) in zip(headers, chunksByRank) {
      var next = 0
      for chunk in chunks {
        for number in optimizer.segmentRange(chunk) {
          sums[number] = header.squareSums[next]
          next += 1
        }
      }
    }
    if let place = sums.firstIndex(where: { !$0.isFinite }) {
      // Finite contributions whose sum overflowed.
      let name = engine.table.parameters[optimizer.segments[place].parameter].name
      throw RankError(
        exitCode: ExitCode.notFinite,
        "step \(step + 1): the sum of the gradient of \(name) over all ranks is not finite. "
          + "A resume would come to the same. Start another run (--run) with a lower optimizer.learningRate, or look at the step's rows."
      )
    }
    return try optimizer.norm(
      squareSums: sums, gradient: gradient, denominator: denominator, step: step)
  }

  /// Updates the chunks of this rank, or all.
  private func update(_ norm: Optimizer.Norm, learningRate: Double, step: Int) throws {
    guard isSharded else {
      optimizer.update(
        chunks: 0..<optimizer.chunkCount, parameters: parameters, gradient: gradient, norm: norm,
        learningRate: learningRate, step: step)
      optimizer.updateAverage(chunks: 0..<optimizer.chunkCount, parameters: parameters)
      return
    }
    let own = chunksByRank[group.rank]
    if optimizer.rowsWithMoments.isEmpty,
      let found = optimizer.foundRowsWithMoments(gradient), let table = exchange.buckets.wordTable
    {
      // Each rank sees only its own moments.
      optimizer.wordRowsWithMoments =
        try group.collective.uniteRows(found, tableRows: table.rows).wait()
    }
    optimizer.update(
      chunks: own, parameters: parameters, gradient: gradient, norm: norm,
      learningRate: learningRate, step: step)
    optimizer.updateAverage(chunks: own, parameters: parameters)
    optimizer.decayRows(
      chunks: othersChunks, parameters: parameters, norm: norm, learningRate: learningRate,
      step: step)
  }

  /// Starts to make the parameters whole on every rank.
  private func sendUpdated() throws(CommunicationError) {
    guard isSharded else { return }
    try updated.send(rows: optimizer.wordRowsWithMoments, into: arrival)
    if !settings.overlaps { try settle() }
  }

  /// Digest and requests of all ranks at a step border.
  private func border(stops: Bool, saves: Bool) throws -> BorderHeader {
    let own = BorderHeader(
      digest: ParameterDigest.of(
        parameters, chunks: chunksByRank[group.rank], pool: engine.pool), stops: stops,
      saves: saves)
    let blobs = try group.collective.allGather(own.bytes).wait()
    return BorderHeader.joined(try group.decode(blobs, as: "a step border", BorderHeader.init))
  }
}
