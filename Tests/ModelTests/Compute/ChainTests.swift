import Foundation
import Model
import TestSupport
import Testing

/// Best paths of linear chains against numbers of another implementation.
@Suite struct ChainTests {
  private struct File: Decodable {
    struct Path: Decodable { let path: [Int], score: Double }
    struct Paths: Decodable { let free: Path, first_and_last_label_0: Path, bio: Path? }
    struct Case: Decodable {
      let name: String
      let emissions: [[Float]], transitions: [[Float]], viterbi: Paths
      let labels: [Int]
      let logZ: Double, loss: Double
      let marginals: [[Double]], grad_emissions: [[Double]], grad_transitions: [[Double]]
    }
    let cases: [Case]
  }

  @Test func `best paths are the reference's, free, between outer labels and as BIO`() throws {
    let file = try Fixtures.json("crf.json", as: File.self)
    #expect(file.cases.count == 7)
    for c in file.cases {
      let labels = c.transitions.count
      func check(_ expected: File.Path, _ constraints: Viterbi.Constraints) throws {
        let found = try #require(
          Viterbi.decode(
            emissions: c.emissions.flatMap { $0 }, transitions: c.transitions.flatMap { $0 },
            constraints: constraints))
        #expect(found.labels == expected.path, "\(c.name)")
        #expect(abs(found.score - expected.score) < 1e-5, "\(c.name)")
      }
      try check(c.viterbi.free, Viterbi.Constraints(labels: labels))
      var outer = Viterbi.Constraints(labels: labels)
      outer.starts = (0..<labels).map { $0 == 0 }
      outer.ends = outer.starts
      try check(c.viterbi.first_and_last_label_0, outer)
      if let bio = c.viterbi.bio {
        try check(bio, .bio(types: (labels - 1) / 2, outerAreO: false))
      }
    }
  }

  @Test func `loss, partition, marginals and gradients are the reference's`() throws {
    let file = try Fixtures.json("crf.json", as: File.self)
    for c in file.cases {
      let count = c.labels.count, labels = c.transitions.count
      let emissions = c.emissions.flatMap { $0 }
      var dEmissions = [Float](repeating: 9, count: count * labels)
      var dTransitions = [Float](repeating: 9, count: labels * labels)
      let loss = c.transitions.flatMap { $0 }.withUnsafeBufferPointer { transitions in
        transitions.baseAddress.map {
          LinearChainCRF(labels: labels, transitions: $0, multiplier: 1).loss(
            emissions, gold: c.labels, dEmissions: &dEmissions, dTransitions: &dTransitions)
        }
      }
      let found = try #require(loss)
      #expect(abs(found - c.loss) < 1e-5 * max(1, abs(c.logZ)), "\(c.name)")
      let score = (0..<count).reduce(0.0) { sum, t in
        sum + Double(c.emissions[t][c.labels[t]])
          + (t > 0 ? Double(c.transitions[c.labels[t - 1]][c.labels[t]]) : 0)
      }
      #expect(abs(found + score - c.logZ) < 1e-5 * max(1, abs(c.logZ)), "\(c.name)")
      for (i, expected) in c.grad_emissions.flatMap({ $0 }).enumerated() {
        #expect(abs(Double(dEmissions[i]) - expected) < 1e-5, "\(c.name), emission \(i)")
        let marginal = Double(dEmissions[i]) + (c.labels[i / labels] == i % labels ? 1 : 0)
        #expect(abs(marginal - c.marginals[i / labels][i % labels]) < 1e-5, "\(c.name), \(i)")
      }
      for (i, expected) in c.grad_transitions.flatMap({ $0 }).enumerated() {
        #expect(abs(Double(dTransitions[i]) - expected) < 1e-5 * Double(count), "\(c.name), \(i)")
      }
    }
  }

  @Test func `a chain that no path can take has none, and an empty one has the empty path`() {
    var none = Viterbi.Constraints(labels: 2)
    none.follows = [false, false, false, false]
    #expect(
      Viterbi.decode(emissions: [1, 2, 3, 4], transitions: [0, 0, 0, 0], constraints: none) == nil)
    let empty = Viterbi.decode(emissions: [], transitions: [0, 0, 0, 0], constraints: none)
    #expect(empty?.labels == [] && empty?.score == 0)
  }

  @Test func `inside tags follow their own type alone`() {
    let bio = Viterbi.Constraints.bio(types: 2, outerAreO: true)
    // O, B-1, I-1, B-2, I-2: wherever I-2 is best, it may not follow anything of type 1.
    let emissions: [Float] = [9, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 7, 9, 0, 0, 0, 0]
    let found = Viterbi.decode(
      emissions: emissions, transitions: [Float](repeating: 0, count: 25), constraints: bio)
    #expect(found?.labels == [0, 3, 4, 0])
  }
}
