import Foundation
import Model
import Testing

/// GlobalPointer against its definition, computed span by span in double precision.
@Suite struct GlobalPointerTests {
  private static let width = 64
  private static let types = 2

  /// The score of every pair of tokens `[type][first][last]` of one sequence, from the encoder's rows and the tensors of one layer of
  /// `types` queries and keys, turned to their place where `isTurned` says so.
  static func scores(
    _ rows: [[Float]], _ weight: [Float], _ bias: [Float], types: Int, isTurned: Bool = true
  ) -> [[[Double]]] {
    /// Component `part` (0 the query, 1 the key) of `type` at token `t`.
    func vector(_ t: Int, _ type: Int, _ part: Int) -> [Double] {
      let plain = (0..<width).map { i -> Double in
        let row = (2 * type + part) * width + i, hidden = rows[t].count
        return zip(rows[t], weight[row * hidden..<(row + 1) * hidden]).reduce(Double(bias[row])) {
          $0 + Double($1.0) * Double($1.1)
        }
      }
      guard isTurned else { return plain }
      return plain.indices.map { i in
        let angle = Double(t) * pow(10_000, -Double(i / 2 * 2) / Double(width))
        let partner = i % 2 == 0 ? -plain[i + 1] : plain[i - 1]
        return plain[i] * cos(angle) + partner * sin(angle)
      }
    }
    return (0..<types).map { type in
      let queries = rows.indices.map { vector($0, type, 0) }
      let keys = rows.indices.map { vector($0, type, 1) }
      return queries.map { query in
        keys.map { zip(query, $0).reduce(0) { $0 + $1.0 * $1.1 } / 8 }
      }
    }
  }

  @Test func `loss and entities are those of the definition`() throws {
    let head = Head(.globalPointer, outputs: Self.types, loss: .softmax, dropout: 0)
    let (engine, parameters) = GradientLawTests.model(hidden: 32, threads: 2, head: head)
    var examples = GradientLawTests.sequences([12, 7, 1])
    let gold: [[(type: Int, first: Int, last: Int)]] = [
      [(0, 1, 3), (1, 2, 2), (0, 1, 10)], [], [],
    ]
    for i in examples.indices { examples[i].target = Head.globalPointerTarget(gold[i]) }
    func tensor(_ name: String) throws -> [Float] {
      Array(parameters[try #require(engine.table[name]).range])
    }
    let (weight, bias) = (try tensor("global_pointer.weight"), try tensor("global_pointer.bias"))
    let states = engine.hiddenStates(of: examples, parameters: parameters)
    let outputs = engine.outputs(of: examples, parameters: parameters)
    var positive = 0
    for (i, output) in outputs.enumerated() {
      let count = examples[i].ids.count
      let rows = (0..<count).map { Array(states[i][$0 * 32..<($0 + 1) * 32]) }
      let scores = Self.scores(rows, weight, bias, types: Self.types)
      var loss = 0.0
      var found: [(Int, Int, Int, Double)] = []
      for type in 0..<Self.types {
        var (none, some) = (1.0, 1.0)
        for first in 0..<count {
          for last in first..<count {
            let score = scores[type][first][last]
            if gold[i].contains(where: { $0 == (type, first, last) }) {
              some += exp(-score)
            } else {
              none += exp(score)
            }
            if score > 0 { found.append((type, first, last, score)) }
          }
        }
        loss += log(none) + log(some)
      }
      #expect(abs((output.loss ?? .nan) / loss - 1) < 1e-5, "example \(i)")
      #expect(output.values.count == 4 * found.count)
      for (n, expected) in found.enumerated() {
        let values = output.values[4 * n..<4 * n + 4].map(Double.init)
        #expect(values[0] == Double(expected.0) && values[1] == Double(expected.1))
        #expect(values[2] == Double(expected.2) && abs(values[3] - expected.3) < 1e-4)
      }
      positive += found.count
    }
    #expect(positive > 5)
  }
}
