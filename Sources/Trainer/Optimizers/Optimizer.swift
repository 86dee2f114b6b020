import Model

/// Turns summed gradients into parameter updates; owns the moments.
///
/// Order of operations (Documentation/Numerics.md): the gradient is the *sum* over the global batch;
/// its norm is taken once, in double precision over fixed chunks; one factor divides by the global
/// denominator and clips; moments and parameters follow. The gradient is left as it was. Results do
/// not depend on the number of threads.
///
/// Work is cut into chunks of `chunkSize` elements of the arena, so that ranks which share the state
/// can each update some chunks: `squareSums` of the own ones, exchange, `norm`, `update(chunks:)`.
package final class Optimizer {
  /// Elements of a chunk; a multiple of every alignment we use, 256 KiB of floats.
  package static let chunkSize = 65_536

  package let settings: OptimizerSettings
  package let table: ParameterTable
  /// For each of the table's parameters whether it is trained.
  package let trainable: [Bool]
  /// First moments `m`, laid out as the parameters; zero for frozen tensors.
  ///
  /// Whoever writes to the moments must call `momentsWereReplaced`.
  package let firstMoment: Arena
  /// Second moments `v`, likewise.
  package let secondMoment: Arena
  /// Number of chunks of the arena; the last may be short.
  package let chunkCount: Int

  /// The part of one trainable tensor that lies in one chunk.
  struct Segment {
    let parameter: Int
    let range: Range<Int>
  }
  let segments: [Segment]
  /// `segments[segmentStarts[i]..<segmentStarts[i + 1]]` are those of chunk `i`.
  let segmentStarts: [Int]
  let multipliers: [Double]
  let decays: [Bool]
  let pool: ThreadPool
  let wordTable: WordTable?
  /// The decay β of the moving average of the parameters, and the average as it is summed, `a`; nil: none is kept.
  package let averageDecay: Double?
  package let average: Arena?
  /// For each row of the word table whether a moment of it may be other than zero; empty when that
  /// is unknown.
  var rowsWithMoments: [Bool] = []
  /// For each chunk whether its moments have been updated before.
  private var isUpdated: [Bool]

  /// An optimizer with zero moments.
  ///
  /// `trainable` has one flag for each of `table.parameters`: frozen tensors are skipped in every way.
  /// `multipliers` are factors of the learning rate, one for each of them; all 1 if nil.
  package init(
    _ settings: OptimizerSettings, table: ParameterTable, trainable: [Bool],
    multipliers: [Double]? = nil, averageDecay: Double? = nil, pool: ThreadPool
  ) {
    let tensors = table.parameters.count
    let multipliers = multipliers ?? Array(repeating: 1, count: tensors)
    precondition(trainable.count == tensors, "\(trainable.count) flags for \(tensors) tensors")
    precondition(multipliers.count == tensors, "\(multipliers.count) factors, \(tensors) tensors")
    self.settings = settings
    self.table = table
    self.trainable = trainable
    self.multipliers = multipliers
    self.pool = pool
    self.averageDecay = averageDecay
    average = averageDecay == nil ? nil : Arena(count: table.count, partial: table.count)
    decays = table.parameters.map(settings.decayGroups.decays)
    wordTable = WordTable(table)
    firstMoment = Arena(count: table.count, partial: table.count)
    secondMoment = Arena(count: table.count, partial: table.count)
    chunkCount = (table.count + Self.chunkSize - 1) / Self.chunkSize
    isUpdated = [Bool](repeating: false, count: chunkCount)
    (segments, segmentStarts) = Self.cut(table, trainable: trainable, chunks: chunkCount)
  }

  /// The state beside the parameters, as checkpoints name it: moments, and the average where one is kept.
  package var stateArenas: [(suffix: String, arena: Arena)] {
    [("m", firstMoment), ("v", secondMoment)] + (average.map { [("ema", $0)] } ?? [])
  }

  /// Tells that others wrote to the moments, as a resume does.
  package func momentsWereReplaced() { rowsWithMoments = [] }

  /// Updates every chunk; returns the global gradient norm before clipping.
  ///
  /// `gradient` is that of the summed loss and is not changed; `denominator` is what that sum is
  /// divided by. `step` is the global step from 0; bias correction counts from `step + 1`.
  /// Throws `OptimizerError` when the gradient is not finite; nothing has changed then.
  @discardableResult
  package func update(
    parameters: Arena, gradient: Arena, denominator: Double, learningRate: Double, step: Int
  ) throws(OptimizerError) -> Double {
    let sums = squareSums(of: gradient, chunks: 0..<chunkCount)
    let norm = try norm(
      squareSums: sums, gradient: gradient, denominator: denominator, step: step)
    update(
      chunks: 0..<chunkCount, parameters: parameters, gradient: gradient, norm: norm,
      learningRate: learningRate, step: step)
    return norm.total
  }

  /// The number of sums that `squareSums` returns for `chunks`: one for every tensor in every chunk.
  package func sumCount(chunks: some Collection<Int>) -> Int {
    chunks.reduce(0) { $0 + segmentRange($1).count }
  }

  /// The gradient's sums of squares over `chunks`, undivided: what sharing ranks exchange.
  ///
  /// Chunk after chunk, in the order of `chunks`: the sums of all chunks, put in rising order, are what
  /// one call for all of them gives.
  package func squareSums(of gradient: Arena, chunks: some Collection<Int>) -> [Double] {
    precondition(gradient.count == table.count, "\(gradient.count) of \(table.count) elements")
    let chunks = Array(chunks)
    let sparse = sparseWordTable(gradient)
    var starts = [0]
    for chunk in chunks { starts.append(starts[starts.count - 1] + segmentRange(chunk).count) }
    var sums = [Double](repeating: 0, count: starts[chunks.count])
    sums.withUnsafeMutableBufferPointer { sums in
      pool.run(chunks.count) { tile, _ in
        for (place, number) in segmentRange(chunks[tile]).enumerated() {
          let segment = segments[number]
          let sum: Double
          if let sparse, segment.parameter == sparse.table.parameter {
            sum = Self.squareSum(gradient, part: segment.range, sparse)
          } else {
            sum = OptimizerKernels.squareSum(
              gradient.base + segment.range.lowerBound, count: segment.range.count)
          }
          sums[starts[tile] + place] = sum
        }
      }
    }
    return sums
  }

  /// A gradient's length and what it is multiplied with.
  package struct Norm: Sendable, Equatable {
    /// The global norm after division by the denominator, before clipping.
    package let total: Double
    /// The same of each of the table's parameters; 0 where it is frozen.
    package let byParameter: [Double]
    /// Clipping over the denominator, for each of the table's parameters.
    let scales: [Float]
  }

  /// The norm from all chunks' sums of squares, in the order of the chunks.
  ///
  /// `gradient` is read only to name the culprit: throws `OptimizerError` when it is not finite.
  package func norm(
    squareSums: [Double], gradient: Arena, denominator: Double, step: Int
  ) throws(OptimizerError) -> Norm {
    precondition(denominator > 0, "gradient of step \(step) over a denominator of \(denominator)")
    precondition(
      squareSums.count == segments.count, "\(squareSums.count) of \(segments.count) sums")
    var total = 0.0
    for chunk in 0..<chunkCount {
      var sum = 0.0
      for number in segmentStarts[chunk]..<segmentStarts[chunk + 1] { sum += squareSums[number] }
      total += sum
    }
    guard total.isFinite else { throw notFinite(gradient, step: step) }
    let norm = total.squareRoot() / denominator
    var sums = [Double](repeating: 0, count: table.parameters.count)
    for (segment, sum) in zip(segments, squareSums) { sums[segment.parameter] += sum }
    let byParameter = sums.map { $0.squareRoot() / denominator }
    return Norm(
      total: norm, byParameter: byParameter,
      scales: scales(byParameter, norm: norm, denominator: denominator))
  }

  /// Updates the parameters and moments of `chunks`, reading `gradient` there.
  ///
  /// LAMB's ratios need whole tensors: its methods take all chunks at once.
  package func update(
    chunks: some Collection<Int>, parameters: Arena, gradient: Arena, norm: Norm,
    learningRate: Double, step: Int
  ) {
    precondition(parameters.count == table.count, "\(parameters.count) of \(table.count) elements")
    precondition(gradient.count == table.count, "\(gradient.count) of \(table.count) elements")
    let coefficients = table.parameters.indices.map {
      self.coefficients($0, scale: norm.scales[$0], learningRate: learningRate, step: step)
    }
    guard !settings.method.adaptsLayers else {
      rowsWithMoments = []
      precondition(
        chunks.elementsEqual(0..<chunkCount), "LAMB of \(chunks.count) of \(chunkCount) chunks")
      updateAdapted(
        parameters: parameters, gradient: gradient, coefficients: coefficients,
        learningRate: learningRate, step: step)
      return
    }
    let sparse = sparseWordTable(gradient)
    prepareMoments(of: chunks, except: sparse?.table.parameter)
    if let sparse {
      if rowsWithMoments.isEmpty { findRowsWithMoments(sparse.table) }
      for row in sparse.touched { rowsWithMoments[Int(row)] = true }
    } else {
      rowsWithMoments = []
    }
    forEachSegment(of: chunks) { _, segment in
      if let sparse, segment.parameter == sparse.table.parameter {
        updateWordTable(
          part: segment.range, sparse, parameters: parameters, gradient: gradient,
          coefficients[segment.parameter])
        return
      }
      let start = segment.range.lowerBound
      OptimizerKernels.adam(
        parameters: parameters.base + start, gradient: gradient.base + start,
        first: firstMoment.base + start, second: secondMoment.base + start,
        count: segment.range.count, coefficients[segment.parameter])
    }
  }
}

extension Optimizer {
  /// Has the memory of moments ready that are updated for the first time; those of tensor `parameter` may stay zero in part.
  private func prepareMoments(of chunks: some Collection<Int>, except parameter: Int?) {
    let new = chunks.filter { !isUpdated[$0] }
    forEachSegment(of: new) { _, segment in
      if segment.parameter == parameter { return }
      for arena in [firstMoment, secondMoment] { arena.prepareForWriting(segment.range) }
    }
    for chunk in new { isUpdated[chunk] = true }
  }

  /// Calls `body` with the number and extent of each segment of `chunks`, a chunk a tile.
  func forEachSegment(
    of chunks: some Collection<Int>, _ body: (_ number: Int, Segment) -> Void
  ) {
    let chunks = Array(chunks)
    pool.run(chunks.count) { tile, _ in
      for number in segmentRange(chunks[tile]) { body(number, segments[number]) }
    }
  }

  /// The segments of one chunk.
  func segmentRange(_ chunk: Int) -> Range<Int> {
    precondition(chunk >= 0 && chunk < chunkCount, "chunk \(chunk) of \(chunkCount)")
    return segmentStarts[chunk]..<segmentStarts[chunk + 1]
  }

  private static func cut(
    _ table: ParameterTable, trainable: [Bool], chunks: Int
  ) -> ([Segment], [Int]) {
    var segments: [Segment] = []
    var starts = [0]
    var first = 0
    for chunk in 0..<chunks {
      let bounds = chunk * chunkSize..<min((chunk + 1) * chunkSize, table.count)
      var number = first
      while number < table.parameters.count {
        let tensor = table.parameters[number].range
        if tensor.lowerBound >= bounds.upperBound { break }
        let part = tensor.clamped(to: bounds)
        if trainable[number] && !part.isEmpty {
          segments.append(Segment(parameter: number, range: part))
        }
        if tensor.upperBound <= bounds.upperBound { first = number + 1 }
        number += 1
      }
      starts.append(segments.count)
    }
    return (segments, starts)
  }

  private func scales(_ byParameter: [Double], norm: Double, denominator: Double) -> [Float] {
    switch settings.clipping {
    case nil:
      return byParameter.map { _ in Float(1 / denominator) }
    case .google?, .torch?:
      let clip = settings.clipping?.coefficient(norm: norm) ?? 1
      return byParameter.map { _ in Float(clip / denominator) }
    case .perTensor?:
      return byParameter.map {
        Float((settings.clipping?.coefficient(norm: $0) ?? 1) / denominator)
      }
    }
  }

  /// The coefficients of one tensor; see `OptimizerSettings.Method` for the formulas.
  func coefficients(
    _ parameter: Int, scale: Float, learningRate: Double, step: Int
  ) -> OptimizerKernels.Coefficients {
    let firstCorrection = 1 - PortableMath.power(settings.beta1, to: step + 1)
    let secondCorrection = 1 - PortableMath.power(settings.beta2, to: step + 1)
    let rate = learningRate * multipliers[parameter]
    let decay = decays[parameter] ? settings.weightDecay : 0
    let folded = rate * secondCorrection.squareRoot() / firstCorrection
    var c = OptimizerKernels.Coefficients(
      scale: scale, beta1: Float(settings.beta1), oneMinusBeta1: Float(1 - settings.beta1),
      beta2: Float(settings.beta2), oneMinusBeta2: Float(1 - settings.beta2), rootScale: 1,
      epsilon: Float(settings.epsilon), rate: Float(rate), decay: Float(rate * decay))
    switch settings.method {
    case .adamWeightDecay:
      break
    case .adam:
      c.rate = Float(folded)
    case .adamWarmup:
      c.rate = Float(folded)
      c.decay = Float(folded * decay)
    case .adamW, .bert4kerasAdam:
      c.rate = Float(rate / firstCorrection)
      c.rootScale = Float(1 / secondCorrection.squareRoot())
    case .lamb, .bert4kerasLamb:
      c.rate = Float(1 / firstCorrection)
      c.rootScale = Float(1 / secondCorrection.squareRoot())
      c.decay = Float(decay)
    }
    return c
  }

  private func notFinite(_ gradient: Arena, step: Int) -> OptimizerError {
    for segment in segments {
      for i in segment.range where !gradient.base[i].isFinite {
        let parameter = table.parameters[segment.parameter]
        return OptimizerError(
          tensor: parameter.name, index: i - parameter.range.lowerBound, shape: parameter.shape,
          value: gradient.base[i], step: step)
      }
    }
    preconditionFailure("the sums of squares are not finite, the gradient is")
  }
}
