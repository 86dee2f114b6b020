import Model
import Testing
import Trainer

@Suite struct OptimizerLawTests {
  private static let methods = OptimizerSettings.Method.allCases

  private static func start(_ table: ParameterTable) -> Arena {
    flatArena(flatNoise(table.count, seed: 1))
  }

  private static func gradient(_ table: ParameterTable, step: Int) -> Arena {
    flatArena(flatNoise(table.count, seed: 100 + UInt64(step), scale: 3))
  }

  private static func optimizer(
    _ method: OptimizerSettings.Method, _ table: ParameterTable, threads: Int = 1,
    trainable: [Bool]? = nil
  ) -> Optimizer {
    Optimizer(
      .init(method, weightDecay: 0.01, clipping: .google(1)), table: table,
      trainable: trainable ?? table.parameters.map { _ in true },
      pool: lastingPool(threads: threads)
    )
  }

  @Test(arguments: methods)
  func `bits do not depend on the number of threads`(method: OptimizerSettings.Method) throws {
    let table = oddTable()
    var ends: [[UInt32]] = []
    for threads in [1, 2, 5] {
      let optimizer = Self.optimizer(method, table, threads: threads)
      let parameters = Self.start(table)
      for step in 0..<3 {
        try optimizer.update(
          parameters: parameters, gradient: Self.gradient(table, step: step), denominator: 7,
          learningRate: 1e-3, step: step)
      }
      ends.append(
        bitPatterns(parameters) + bitPatterns(optimizer.firstMoment)
          + bitPatterns(optimizer.secondMoment))
    }
    #expect(ends[0] == ends[1] && ends[0] == ends[2])
  }

  @Test(arguments: methods.filter { !$0.adaptsLayers }, [1, 2])
  func `chunks updated by different owners give the bits of one owner`(
    method: OptimizerSettings.Method, border: Int
  ) throws {
    let table = oddTable()
    let whole = Self.optimizer(method, table)
    let expected = Self.start(table)
    let owners = [Self.optimizer(method, table), Self.optimizer(method, table)]
    let shared = Self.start(table)
    let chunks = whole.chunkCount
    #expect(chunks == 4)
    for step in 0..<3 {
      let gradient = Self.gradient(table, step: step)
      let total = try whole.update(
        parameters: expected, gradient: gradient, denominator: 5, learningRate: 1e-3, step: step)
      let parts = [0..<border, border..<chunks]
      let sums = parts.flatMap { owners[0].squareSums(of: gradient, chunks: $0) }
      #expect(parts.map(owners[0].sumCount(chunks:)).reduce(0, +) == sums.count)
      for (owner, part) in zip(owners, parts) {
        let norm = try owner.norm(
          squareSums: sums, gradient: gradient, denominator: 5, step: step)
        #expect(norm.total == total)
        owner.update(
          chunks: part, parameters: shared, gradient: gradient, norm: norm, learningRate: 1e-3,
          step: step)
      }
    }
    #expect(bitPatterns(shared) == bitPatterns(expected))
  }

  @Test(arguments: methods)
  func `the gradient is left as it was`(method: OptimizerSettings.Method) throws {
    let table = oddTable()
    let gradient = Self.gradient(table, step: 0)
    let before = bitPatterns(gradient)
    try Self.optimizer(method, table).update(
      parameters: Self.start(table), gradient: gradient, denominator: 3, learningRate: 1e-3, step: 0
    )
    #expect(bitPatterns(gradient) == before)
  }

  @Test(arguments: methods)
  func `frozen tensors keep their bits and do not enter the norm`(
    method: OptimizerSettings.Method
  ) throws {
    let table = oddTable()
    let frozen = [0, 4]
    let optimizer = Self.optimizer(
      method, table, trainable: table.parameters.indices.map { !frozen.contains($0) })
    let parameters = Self.start(table)
    let before = bitPatterns(parameters)
    let gradient = Self.gradient(table, step: 0)
    gradient.base[3] = .nan  // in a frozen tensor: nobody reads it
    let norm = try optimizer.update(
      parameters: parameters, gradient: gradient, denominator: 1, learningRate: 1e-3, step: 0)
    var expected = 0.0
    for (number, parameter) in table.parameters.enumerated() {
      if frozen.contains(number) {
        #expect(parameter.range.allSatisfy { parameters.base[$0].bitPattern == before[$0] })
        #expect(parameter.range.allSatisfy { optimizer.secondMoment.base[$0] == 0 })
      } else {
        for i in parameter.range { expected += Double(gradient.base[i]) * Double(gradient.base[i]) }
        #expect(
          parameter.range.isEmpty
            || parameter.range.contains { parameters.base[$0].bitPattern != before[$0] })
      }
    }
    #expect(abs(norm - expected.squareRoot()) < 1e-12 * norm)
  }

  // Sums of squares of floats that are small whole numbers are exact in any order.
  @Test(arguments: [1, 15, 16, 17, 31, 65_535, 65_536, 65_537, 200_003])
  func `the norm is the closed form`(count: Int) throws {
    var table = ParameterTable()
    table.add("x", [count], decays: false)
    let gradient = flatArena((0..<count).map { Float($0 % 3) })
    let optimizer = Self.optimizer(.adam, table)
    let norm = try optimizer.update(
      parameters: Arena(count: count), gradient: gradient, denominator: 4, learningRate: 0, step: 0)
    let sum = (0..<count).reduce(0) { $0 + ($1 % 3) * ($1 % 3) }
    #expect(norm == Double(sum).squareRoot() / 4)
  }

  @Test func `a norm past the range of floats is still finite`() throws {
    var table = ParameterTable()
    table.add("x", [40], decays: false)
    let parameters = Arena(count: 40)
    let norm = try Self.optimizer(.adamW, table).update(
      parameters: parameters, gradient: flatArena(Array(repeating: 3e38, count: 40)),
      denominator: 1,
      learningRate: 0.1, step: 0)
    #expect(norm > 1e39 && norm.isFinite)
    #expect(parameters.elements.allSatisfy { abs($0 + 0.1) < 1e-4 })
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity], [0, 70_000, 70_001, 70_005, 196_608 + 16])
  func `a gradient that is not finite is named and changes nothing`(
    value: Float, index: Int
  ) throws {
    let table = oddTable()
    let optimizer = Self.optimizer(.adamW, table, threads: 2)
    let parameters = Self.start(table)
    try optimizer.update(
      parameters: parameters, gradient: Self.gradient(table, step: 0), denominator: 1,
      learningRate: 1e-3, step: 0)
    let before = [parameters, optimizer.firstMoment, optimizer.secondMoment].map(bitPatterns)
    let gradient = Self.gradient(table, step: 1)
    gradient.base[index] = value
    if index < 196_000 { gradient.base[196_608] = .nan }  // a later one is not the first
    let owner = try #require(table.parameters.first { $0.range.contains(index) })
    let error = #expect(throws: OptimizerError.self) {
      try optimizer.update(
        parameters: parameters, gradient: gradient, denominator: 1, learningRate: 1e-3, step: 1)
    }
    #expect(error?.tensor == owner.name)
    #expect(error?.index == index - owner.range.lowerBound)
    #expect(error?.step == 1)
    #expect([parameters, optimizer.firstMoment, optimizer.secondMoment].map(bitPatterns) == before)
  }

  @Test func `the sentence about a gradient that is not finite`() {
    let error = OptimizerError(
      tensor: "classifier.weight", index: 5, shape: [2, 384], value: .infinity, step: 12)
    #expect(
      error.description
        == "step 12: the gradient of classifier.weight [2 × 384] is inf at element 5; the parameters "
        + "are those before this step. Lower the learning rate, clip the gradient, or look for "
        + "extreme values in the batch.")
  }

  @Test func `moments of a gradient that stays zero end at zero, not among denormals`() throws {
    var table = ParameterTable()
    table.add("x", [3], decays: false)
    let optimizer = Self.optimizer(.adamW, table)
    let parameters = flatArena([0.5, 0.5, 0.5])
    for step in 0..<900 {
      let gradient: [Float] = step == 0 ? [1e-3, 2, 0] : [0, 0, 0]
      try optimizer.update(
        parameters: parameters, gradient: flatArena(gradient), denominator: 1, learningRate: 1e-3,
        step: step)
      #expect(optimizer.firstMoment.elements.allSatisfy { !$0.isSubnormal })
    }
    #expect(optimizer.firstMoment.elements.allSatisfy { $0 == 0 })
    #expect(optimizer.secondMoment.base[1] > 0)
    #expect(parameters.base[2] == 0.5)
  }

  @Test func `an empty table is updated without fuss`() throws {
    let norm = try Self.optimizer(.lamb, ParameterTable()).update(
      parameters: Arena(count: 0), gradient: Arena(count: 0), denominator: 1, learningRate: 1,
      step: 0)
    #expect(norm == 0)
  }
}
