import Foundation
import Model
import Testing

/// Spans of start and end probabilities, worked out by hand.
@Suite struct SpanDecodingTests {
  static let thresholds = Head.Thresholds(start: 0.5, end: 0.4)

  /// The spans of `count` tokens whose probabilities are 0.01 but for those given by token and output.
  static func spans(
    _ count: Int, classes: Int, starts: [[Int: Float]], ends: [[Int: Float]]
  ) -> [[Int]] {
    var probabilities = [Float](repeating: 0.01, count: count * 2 * classes)
    for (output, places) in (starts + ends).enumerated() {
      for (token, p) in places { probabilities[token * 2 * classes + output] = p }
    }
    return Head.relationSpans(count, classes, thresholds) {
      probabilities[$0 * 2 * classes + $1]
    }.map { [$0.start, $0.end, $0.class] }
  }

  @Test func `each start has the first end from there on, its own token included`() {
    // [CLS] 0 and [SEP] 7 are in no span; 2 is below the starts' threshold, 3 below the ends'; 6 has no end.
    #expect(
      Self.spans(
        8, classes: 1, starts: [[0: 0.9, 1: 0.9, 2: 0.49, 3: 0.51, 5: 0.8, 6: 0.9, 7: 0.9]],
        ends: [[0: 0.9, 2: 0.41, 3: 0.39, 4: 0.9, 5: 0.8, 7: 0.99]])
        == [[1, 2, 0], [3, 4, 0], [5, 5, 0]])
  }

  @Test func `two starts may share an end`() {
    #expect(
      Self.spans(6, classes: 1, starts: [[1: 0.9, 2: 0.9]], ends: [[3: 0.9]])
        == [[1, 3, 0], [2, 3, 0]])
  }

  @Test func `an end belongs to starts of its class`() {
    #expect(
      Self.spans(
        6, classes: 2, starts: [[1: 0.9, 4: 0.9], [1: 0.9]], ends: [[3: 0.9], [2: 0.9, 4: 0.9]])
        == [[1, 3, 0], [1, 2, 1]])
  }

  @Test(arguments: [0, 1, 2]) func `a sequence without a text has no spans`(count: Int) {
    #expect(Self.spans(count, classes: 1, starts: [[:]], ends: [[:]]).isEmpty)
  }
}
