import Foundation
import Model
import Synchronization
import Testing
import Trainer

/// Who is computed with whom.
@Suite struct PredictionQueueTests {
  /// A sequence that is known by its first id, of `tokens` tokens.
  static func sequence(_ name: Int, tokens: Int = 1) -> SequenceInput {
    let ids = [Int32(name)] + [Int32](repeating: 0, count: tokens - 1)
    return SequenceInput(ids: ids, segments: ids.map { _ in 0 }, exampleID: 0)
  }

  static func sequences(_ names: Range<Int>) -> [SequenceInput] { names.map { sequence($0) } }

  static func queue(_ sequences: Int, _ tokens: Int, waiting: Int = 1000) -> PredictionQueue {
    PredictionQueue(
      .init(batchSequences: sequences, batchTokens: tokens, waitingSequences: waiting))
  }

  /// Computes what waits until the queue, which is stopped, is empty: an output is its sequence's name.
  ///
  /// Returns the names of each batch.
  static func batches(_ queue: PredictionQueue) -> [[Int]] {
    var batches: [[Int]] = []
    queue.stop()
    queue.run { sequences in
      batches.append(sequences.map { Int($0.ids[0]) })
      return sequences.map { HeadOutput(values: [Float($0.ids[0])], loss: nil) }
    }
    return batches
  }

  @Test func `requests that wait are computed together, and each gets its own`() {
    let queue = Self.queue(8, 100)
    let answers = Mutex<[Int: [Float]]>([:])
    for (number, names) in [0..<3, 3..<4, 4..<4, 4..<7].enumerated() {
      let admission = queue.submit(Self.sequences(names)) { outputs in
        answers.withLock { $0[number] = outputs.map { $0.values[0] } }
      }
      #expect(admission == .taken(number: number + 1))
    }
    // One without sequences waits for nothing.
    #expect(answers.withLock { $0 } == [2: []])
    #expect(queue.load.waiting == 7 && queue.load.computing == 0)
    #expect(Self.batches(queue) == [[0, 1, 2, 3, 4, 5, 6]])
    #expect(answers.withLock { $0 } == [0: [0, 1, 2], 1: [3], 2: [], 3: [4, 5, 6]])
  }

  @Test func `a batch has no more sequences and tokens than it may`() {
    let queue = Self.queue(3, 10)
    for (name, tokens) in [4, 6, 1, 1, 1, 1, 12, 2].enumerated() {
      _ = queue.submit([Self.sequence(name, tokens: tokens)]) { _ in }
    }
    // One that is longer than a batch is one of its own.
    #expect(Self.batches(queue) == [[0, 1], [2, 3, 4], [5], [6], [7]])
  }

  @Test func `a small request waits for one batch of a large one`() {
    let queue = Self.queue(4, 100)
    let order = Mutex<[String]>([])
    for (name, names) in [("large", 0..<10), ("small", 10..<12), ("second", 12..<13)] {
      _ = queue.submit(Self.sequences(names)) { outputs in
        #expect(outputs.map { Int($0.values[0]) } == Array(names))
        order.withLock { $0.append(name) }
      }
    }
    #expect(Self.batches(queue) == [[0, 1, 2, 3], [10, 11, 12, 4], [5, 6, 7, 8], [9]])
    #expect(order.withLock { $0 } == ["small", "second", "large"])
  }

  @Test func `a full queue takes nothing more, an empty one anything`() {
    let queue = Self.queue(2, 100, waiting: 3)
    #expect(queue.submit(Self.sequences(0..<5)) { _ in } == .taken(number: 1))
    #expect(queue.submit(Self.sequences(5..<6)) { _ in } == .full)
    queue.cancel(1)
    #expect(queue.load.waiting == 0)
    #expect(queue.submit(Self.sequences(6..<8)) { _ in } == .taken(number: 2))
    #expect(queue.submit(Self.sequences(8..<9)) { _ in } == .taken(number: 3))
    #expect(queue.submit(Self.sequences(9..<10)) { _ in } == .full)
    #expect(Self.batches(queue) == [[6, 7], [8]])
    #expect(queue.submit(Self.sequences(0..<1)) { _ in } == .stopped)
  }

  @Test func `one that is cancelled while it is computed is answered to nobody`() {
    let queue = Self.queue(2, 100)
    let answered = Mutex<[Int]>([])
    for names in [0..<3, 3..<4] {
      _ = queue.submit(Self.sequences(names)) { outputs in
        answered.withLock { $0 += outputs.map { Int($0.values[0]) } }
      }
    }
    queue.stop()
    var batches = 0
    queue.run { sequences in
      if batches == 0 { queue.cancel(1) }
      batches += 1
      return sequences.map { HeadOutput(values: [Float($0.ids[0])], loss: nil) }
    }
    #expect(batches == 2 && answered.withLock { $0 } == [3])
    #expect(queue.load.waiting == 0 && queue.load.computing == 0)
  }

  @Test func `what comes while a batch is computed is in the next`() {
    let queue = Self.queue(8, 100)
    _ = queue.submit(Self.sequences(0..<1)) { _ in }
    var batches: [[Int]] = []
    queue.run { sequences in
      batches.append(sequences.map { Int($0.ids[0]) })
      if batches.count == 1 {
        for name in 1..<4 { _ = queue.submit(Self.sequences(name..<name + 1)) { _ in } }
      } else {
        queue.stop()
      }
      return sequences.map { HeadOutput(values: [Float($0.ids[0])], loss: nil) }
    }
    #expect(batches == [[0], [1, 2, 3]])
  }
}
