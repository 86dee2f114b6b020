import Foundation
import Model
import Testing

/// GPLinker against its definition, computed pair by pair in double precision.
@Suite struct GPLinkerTests {
  static let predicates = 3
  static let lengths = [12, 40, 70, 3, 1]
  static let gold: [[Head.LinkerTriple]] = [
    // A subject of two triples, a predicate with two pairs of one first token, and a triple that is said twice.
    [
      ((1, 3), (5, 5), 0), ((1, 3), (7, 9), 2), ((1, 4), (7, 7), 2), ((1, 3), (5, 5), 0),
      // The object before the subject.
      ((8, 8), (2, 4), 1),
    ],
    [((38, 39), (0, 0), 1)], [((20, 25), (60, 69), 0), ((64, 64), (64, 64), 2)], [], [],
  ]

  static func head(_ predicates: Int = predicates) -> Head {
    Head(.gplinker, outputs: predicates, loss: .softmax, dropout: 0)
  }

  /// Scores `[class][first][second]` of one sequence: subjects, objects, first tokens by predicate, last tokens by predicate.
  static func scores(
    _ rows: [[Float]], _ engine: Engine, _ parameters: Arena
  ) throws -> [[[Double]]] {
    try [("entities", 2, true), ("heads", predicates, false), ("tails", predicates, false)]
      .flatMap { name, classes, isTurned in
        func tensor(_ part: String) throws -> [Float] {
          Array(parameters[try #require(engine.table["gplinker.\(name).\(part)"]).range])
        }
        return try GlobalPointerTests.scores(
          rows, tensor("weight"), tensor("bias"), types: classes, isTurned: isTurned)
      }
  }

  /// The loss of one sequence: of each class `log(1 + Σ exp s)` over wrong pairs, `log(1 + Σ exp −s)` over right ones.
  static func loss(_ scores: [[[Double]]], _ gold: [Head.LinkerTriple]) -> Double {
    scores.enumerated().reduce(0) { sum, item in
      let (number, scores) = item
      var (none, some) = (1.0, 1.0)
      for i in scores.indices {
        for j in (number < 2 ? i : 0)..<scores.count {
          let isRight = gold.contains { subject, object, predicate in
            switch number {
            case 0: return subject == (i, j)
            case 1: return object == (i, j)
            case 2..<2 + predicates:
              return predicate == number - 2 && (subject.first, object.first) == (i, j)
            default:
              return predicate == number - 2 - predicates && (subject.last, object.last) == (i, j)
            }
          }
          if isRight { some += exp(-scores[i][j]) } else { none += exp(scores[i][j]) }
        }
      }
      return sum + log(none) + log(some)
    }
  }

  /// The triples of one sequence, each with the smallest of its four scores.
  static func triples(_ scores: [[[Double]]]) -> [(numbers: [Int], score: Double)] {
    let inner = 1..<max(scores[0].count - 1, 1)
    func spans(_ kind: Int) -> [(first: Int, last: Int)] {
      let all = inner.flatMap { first in inner.filter { $0 >= first }.map { (first, $0) } }
        .filter { scores[kind][$0.0][$0.1] > 0 }
      let best = all.sorted { scores[kind][$0.0][$0.1] > scores[kind][$1.0][$1.1] }
      return best.prefix(64).sorted { $0 < $1 }.map { (first: $0.0, last: $0.1) }
    }
    var found: [([Int], Double)] = []
    for s in spans(0) {
      for o in spans(1) {
        for p in 0..<predicates {
          let four = [
            scores[0][s.first][s.last], scores[1][o.first][o.last], scores[2 + p][s.first][o.first],
            scores[2 + predicates + p][s.last][o.last],
          ]
          if let least = four.min(), least > 0 {
            found.append(([s.first, s.last, o.first, o.last, p], least))
          }
        }
      }
    }
    // Many triples have the score of one span as their smallest: of equals the first.
    let order = found.indices.sorted {
      found[$0].1 != found[$1].1 ? found[$0].1 > found[$1].1 : $0 < $1
    }
    return order.prefix(256).sorted().map { found[$0] }
  }

  // Factor 6 of weights makes scores of some hundreds, whose powers a float has not.
  @Test(arguments: [Float(1), 6])
  func `loss and triples are those of the definition`(factor: Float) throws {
    let (engine, parameters) = GradientLawTests.model(hidden: 32, threads: 2, head: Self.head())
    for parameter in engine.table.parameters where parameter.name.hasPrefix("gplinker") {
      for i in parameter.range { parameters.base[i] *= factor }
    }
    var examples = GradientLawTests.sequences(Self.lengths)
    for i in examples.indices { examples[i].target = Head.linkerTarget(Self.gold[i]) }
    let states = engine.hiddenStates(of: examples, parameters: parameters)
    var count = 0
    for (i, output) in engine.outputs(of: examples, parameters: parameters).enumerated() {
      let rows = stride(from: 0, to: states[i].count, by: 32).map { Array(states[i][$0..<$0 + 32]) }
      let scores = try Self.scores(rows, engine, parameters)
      #expect(
        abs((output.loss ?? .nan) / Self.loss(scores, Self.gold[i]) - 1) < 1e-5, "example \(i)")
      let expected = Self.triples(scores)
      try #require(output.values.count == 6 * expected.count)
      for (n, triple) in expected.enumerated() {
        let values = output.values[6 * n..<6 * n + 6].map { Double($0) }
        #expect(values.prefix(5).map { Int($0) } == triple.numbers)
        #expect(abs(values[5] - triple.score) < 1e-4 * Double(factor * factor))
      }
      count += expected.count
    }
    #expect(count > 100)
  }

  @Test func `triples of scores that were written down`() {
    // [CLS], tokens 1 to 3, [SEP].
    func scores(_ positive: [(Int, Int, Float)]) -> [Float] {
      (0..<5).flatMap { first in
        (first..<5).map { last in positive.first { $0.0 == first && $0.1 == last }?.2 ?? -1 }
      }
    }
    // Spans with [CLS] or [SEP] are none, however high they score.
    let spans = Head.linkerSpans(
      scores([(1, 1, 3), (2, 3, 1), (0, 1, 9), (3, 4, 9)]) + scores([(1, 2, 2), (3, 3, 4)]),
      tokens: 5)
    #expect(
      spans == [
        HeadSpan(start: 1, end: 1, score: 3), HeadSpan(start: 2, end: 3, score: 1),
        HeadSpan(start: 1, end: 2, score: 2, isObject: true),
        HeadSpan(start: 3, end: 3, score: 4, isObject: true),
      ])
    // Two predicates: first tokens of both, then last tokens; a score of 0 says no.
    let pairs: [Float] =
      [0.5, 1, 2, -1] + [-1, 1, 1, 1] + [0, 0, 0, 0] + [2, 0.25, 3, 4]
    #expect(
      Self.head(2).linkerTriples(spans, pairs) == [
        1, 1, 1, 2, 0, 0.5, 1, 1, 3, 3, 1, 1, 2, 3, 3, 3, 0, 1, 2, 3, 3, 3, 1, 0.25,
      ])
    #expect(Self.head(2).linkerTriples(Array(spans.prefix(2)), []).isEmpty)
  }

  @Test func `the spans that score highest are linked where there are very many`() {
    let tokens = 20, count = tokens * (tokens + 1) / 2
    // 171 spans lie between [CLS] and [SEP]; of equals the first are kept.
    let spans = Head.linkerSpans(
      [Float](repeating: 1, count: count) + (0..<count).map { Float($0) }, tokens: tokens)
    let subjects = spans.filter { !$0.isObject }, objects = spans.filter(\.isObject)
    #expect(subjects.count == 64 && objects.count == 64)
    #expect(subjects.map(\.start) == subjects.map(\.start).sorted())
    #expect(subjects[0].start == 1 && subjects[63].start == 4)
    #expect(objects.map(\.score) == objects.map(\.score).sorted() && objects[63].start == 18)
    // 64 × 64 pairs of one predicate, of which the last ones score highest.
    let pairs = (0..<2 * 64 * 64).map { 1 + Float($0) / 8192 }
    let triples = Self.head(1).linkerTriples(
      spans.map { HeadSpan(start: $0.start, end: $0.end, score: 9, isObject: $0.isObject) }, pairs)
    #expect(triples.count == 6 * 256)
    #expect(triples[0] == Float(subjects[60].start) && triples[2] == Float(objects[0].start))
  }

  @Test func `memory grows with predicates times tokens, and holds one class's scores`() {
    let examples = GradientLawTests.sequences([12, 70, 40])
    let batch = PackedBatch(leaves: [examples])
    func bytes(_ head: Head) -> Int {
      GradientLawTests.model(hidden: 32, threads: 2, head: head).0.workingBytes(
        of: batch, leavesAtOnce: 1, gradientBytes: 0)
    }
    let few = bytes(Self.head(3)), many = bytes(Self.head(23))
    // Twenty queries and keys for first and for last tokens, and their gradients.
    #expect(many - few == 4 * 122 * (20 * 2 * 128) * 2)
    // As many types of a GlobalPointer hold the same beside the scores and keys of one class, in rows of whole lanes.
    let pointer = bytes(Head(.globalPointer, outputs: 8, loss: .softmax, dropout: 0))
    #expect(few - pointer == 4 * ((64 + 12) * 16 + (64 + 70) * 80 + (64 + 40) * 48))
  }
}
