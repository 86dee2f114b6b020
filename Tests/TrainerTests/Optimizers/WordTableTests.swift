import Model
import Testing
import Trainer

@Suite struct WordTableTests {
  private static let rows = 1021

  /// A word table over several chunks between other tensors, and tensors behind it.
  private static func table(width: Int, before: Int) -> ParameterTable {
    var table = ParameterTable()
    table.add("before.weight", [before], decays: true)
    table.add("bert.embeddings.word_embeddings.weight", [rows, width], decays: true)
    table.add("after.weight", [333], decays: true)
    return table
  }

  /// A gradient whose word table is zero but for some rows of `step`, and which says so or does not.
  private static func gradient(_ table: ParameterTable, step: Int, says: Bool) -> Arena {
    let gradient = flatArena(flatNoise(table.count, seed: 40 + UInt64(step)))
    let words = table.parameters[1]
    let width = words.shape[1]
    // Neighbours, the first row, the last one, and a step without any.
    let touched = step == 2 ? [] : [0, 1, 2, 170 + step, 171, 500, 682, 683, rows - 1 - step]
    for row in 0..<rows where !touched.contains(row) {
      gradient[words.range.lowerBound + row * width..<words.range.lowerBound + (row + 1) * width]
        .update(repeating: 0)
    }
    gradient.touchedRows = says ? Set(touched).sorted().map(Int32.init) : nil
    return gradient
  }

  // A width of 24 cannot be taken by rows, a start of 16 and of 0 can, one of 5 cannot.
  @Test(arguments: [(96, 0), (96, 16), (400, 48), (24, 0), (96, 5)], [0.0, 0.01])
  func `knowing the touched rows changes no bit`(
    shape: (width: Int, before: Int), weightDecay: Double
  ) throws {
    let table = Self.table(width: shape.width, before: shape.before)
    for method in OptimizerSettings.Method.allCases {
      var ends: [[UInt32]] = []
      for says in [false, true] {
        let optimizer = Optimizer(
          .init(method, weightDecay: weightDecay, decayGroups: .all, clipping: .google(1)),
          table: table, trainable: [true, true, true], pool: lastingPool(threads: says ? 2 : 1))
        let parameters = flatArena(flatNoise(table.count, seed: 3))
        // Zeros of both signs in rows that are never touched.
        let start = table.parameters[1].range.lowerBound + 300 * shape.width
        parameters.base[start] = 0
        parameters.base[start + 1] = -0.0
        var norms: [Double] = []
        for step in 0..<5 {
          // One step does not say: what is known of the moments must survive that.
          let gradient = Self.gradient(table, step: step, says: says && step != 3)
          norms.append(
            try optimizer.update(
              parameters: parameters, gradient: gradient, denominator: 3, learningRate: 1e-2,
              step: step))
        }
        ends.append(
          bitPatterns(parameters) + bitPatterns(optimizer.firstMoment)
            + bitPatterns(optimizer.secondMoment) + norms.map { UInt32($0.bitPattern >> 32) }
            + norms.map { UInt32(truncatingIfNeeded: $0.bitPattern) })
      }
      #expect(ends[0] == ends[1], "\(method)")
    }
  }

  @Test func `moments that were replaced are noticed`() throws {
    let table = Self.table(width: 96, before: 0)
    var ends: [[UInt32]] = []
    for says in [false, true] {
      let optimizer = Optimizer(
        .init(.adamW), table: table, trainable: [true, true, true], pool: lastingPool(threads: 1))
      let parameters = flatArena(flatNoise(table.count, seed: 3))
      for step in 0..<2 {
        try optimizer.update(
          parameters: parameters, gradient: Self.gradient(table, step: step, says: says),
          denominator: 1, learningRate: 1e-2, step: step)
        // A row that no gradient touched, as after a resume.
        optimizer.firstMoment.base[300 * 96 + 5] = 0.25
        optimizer.momentsWereReplaced()
      }
      ends.append(bitPatterns(parameters))
    }
    #expect(ends[0] == ends[1])
    #expect(ends[0][300 * 96 + 5] != flatNoise(table.count, seed: 3)[300 * 96 + 5].bitPattern)
  }
}
