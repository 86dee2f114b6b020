import Model

// A step touches few rows of the word table, and a run often few of all. Rows with a zero gradient are
// not skipped, because their moments and weight decay go on; but their gradient need not be read, and a row whose
// moments are zero too has only its decay. The bits are those of the plain loop.

extension Optimizer {
  /// The word table's place, where it can be updated by rows.
  struct WordTable {
    let parameter: Int
    /// Its elements; row `r` begins at `range.lowerBound + r · width`.
    let range: Range<Int>
    let width: Int

    init?(_ table: ParameterTable) {
      let found = table.parameters.firstIndex { $0.name == ParameterTable.wordTable }
      guard let index = found else { return nil }
      let parameter = table.parameters[index]
      // Rows must begin in lane 0 of the sums of squares.
      guard parameter.shape.count == 2, parameter.shape[1] > 0, parameter.shape[1] % 16 == 0,
        parameter.range.lowerBound % 16 == 0
      else { return nil }
      self.parameter = index
      range = parameter.range
      width = parameter.shape[1]
    }

    var rows: Int { range.count / width }

    /// Calls `body` with the runs of rows of `part` that are all, or none of them, in `touched` (ascending).
    func forEachRun(
      of part: Range<Int>, touched: [Int32], _ body: (Range<Int>, _ isTouched: Bool) -> Void
    ) {
      func start(_ row: Int) -> Int { range.lowerBound + row * width }
      let firstRow = (part.lowerBound - range.lowerBound) / width
      var next = touched.partitioningIndex { Int($0) >= firstRow }
      var position = part.lowerBound
      while position < part.upperBound {
        guard next < touched.count, start(Int(touched[next])) < part.upperBound else {
          body(position..<part.upperBound, false)
          return
        }
        let row = Int(touched[next])
        if start(row) > position {
          body(position..<start(row), false)
          position = start(row)
        }
        var last = row
        next += 1
        while next < touched.count, Int(touched[next]) == last + 1 {
          last += 1
          next += 1
        }
        let end = min(start(last + 1), part.upperBound)
        body(position..<end, true)
        position = end
      }
    }
  }

  /// The word table, if `gradient` says which of its rows are not zero.
  func sparseWordTable(_ gradient: Arena) -> (table: WordTable, touched: [Int32])? {
    guard let wordTable, let touched = gradient.touchedRows else { return nil }
    precondition(
      touched.last.map { Int($0) < wordTable.rows } ?? true,
      "touched row \(touched.last ?? 0) of \(wordTable.rows)")
    return (wordTable, touched)
  }

  /// The sum of squares of one part of the word table; untouched rows would add zeros.
  static func squareSum(
    _ gradient: Arena, part: Range<Int>, _ sparse: (table: WordTable, touched: [Int32])
  ) -> Double {
    var lanes = OptimizerKernels.Lanes()
    sparse.table.forEachRun(of: part, touched: sparse.touched) { run, isTouched in
      if isTouched {
        OptimizerKernels.addSquares(gradient.base + run.lowerBound, count: run.count, to: &lanes)
      }
    }
    return OptimizerKernels.fold(lanes)
  }

  /// The rows of the word table that may have moments, ascending; nil where that is unknown.
  package var wordRowsWithMoments: [Int32]? {
    get {
      rowsWithMoments.isEmpty
        ? nil : rowsWithMoments.indices.filter { rowsWithMoments[$0] }.map(Int32.init)
    }
    set {
      rowsWithMoments = Array(repeating: false, count: newValue == nil ? 0 : wordTable?.rows ?? 0)
      for row in newValue ?? [] { rowsWithMoments[Int(row)] = true }
    }
  }

  /// The rows whose moments are not zero here; nil where the word table cannot be updated by rows of `gradient`.
  package func foundRowsWithMoments(_ gradient: Arena) -> [Int32]? {
    guard let sparse = sparseWordTable(gradient) else { return nil }
    findRowsWithMoments(sparse.table)
    return wordRowsWithMoments
  }

  /// Gives the rows of the word table in `chunks` that have no moments what `update` gives them: their weight decay.
  ///
  /// For parameters that others update and send, but for these rows.
  package func decayRows(
    chunks: some Collection<Int>, parameters: Arena, norm: Norm, learningRate: Double, step: Int
  ) {
    guard let wordTable, !rowsWithMoments.isEmpty else { return }
    let c = coefficients(
      wordTable.parameter, scale: norm.scales[wordTable.parameter], learningRate: learningRate,
      step: step)
    guard c.decay != 0 else { return }
    let touched = wordRowsWithMoments ?? []
    forEachSegment(of: chunks) { _, segment in
      guard segment.parameter == wordTable.parameter else { return }
      wordTable.forEachRun(of: segment.range, touched: touched) { run, hasMoments in
        guard !hasMoments else { return }
        OptimizerKernels.decay(
          parameters: parameters.base + run.lowerBound, count: run.count, c)
      }
    }
  }

  /// Finds out which rows have moments, after these were replaced.
  func findRowsWithMoments(_ wordTable: WordTable) {
    var rows = [Bool](repeating: false, count: wordTable.rows)
    let first = firstMoment.base + wordTable.range.lowerBound
    let second = secondMoment.base + wordTable.range.lowerBound
    rows.withUnsafeMutableBufferPointer { rows in
      let tile = 1024
      pool.run((rows.count + tile - 1) / tile) { number, _ in
        for row in number * tile..<min((number + 1) * tile, rows.count) {
          let elements = row * wordTable.width..<(row + 1) * wordTable.width
          rows[row] = elements.contains { first[$0] != 0 || second[$0] != 0 }
        }
      }
    }
    rowsWithMoments = rows
  }

  /// Updates one part of the word table; `rowsWithMoments` holds all touched rows already.
  func updateWordTable(
    part: Range<Int>, _ sparse: (table: WordTable, touched: [Int32]), parameters: Arena,
    gradient: Arena, _ c: OptimizerKernels.Coefficients
  ) {
    let (first, second) = (firstMoment.base, secondMoment.base)
    sparse.table.forEachRun(of: part, touched: sparse.touched) { run, isTouched in
      guard !isTouched else {
        OptimizerKernels.adam(
          parameters: parameters.base + run.lowerBound, gradient: gradient.base + run.lowerBound,
          first: first + run.lowerBound, second: second + run.lowerBound, count: run.count, c)
        return
      }
      var position = run.lowerBound
      let lastRow =
        (run.upperBound - 1 - sparse.table.range.lowerBound) / sparse.table.width
      while position < run.upperBound {
        let row = (position - sparse.table.range.lowerBound) / sparse.table.width
        let hasMoments = rowsWithMoments[row]
        var last = row
        while last < lastRow, rowsWithMoments[last + 1] == hasMoments { last += 1 }
        let end = min(
          sparse.table.range.lowerBound + (last + 1) * sparse.table.width, run.upperBound)
        if hasMoments {
          OptimizerKernels.adamWithoutGradient(
            parameters: parameters.base + position, first: first + position,
            second: second + position, count: end - position, c)
        } else if c.decay != 0 {
          OptimizerKernels.decay(
            parameters: parameters.base + position, count: end - position, c)
        }
        position = end
      }
    }
  }
}

extension Array {
  /// The first index from which on `belongs` holds; elements must be ordered by it.
  fileprivate func partitioningIndex(_ belongs: (Element) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if belongs(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
