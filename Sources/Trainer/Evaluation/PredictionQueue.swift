import Foundation
import Model

/// Requests for outputs that wait for the one thread which computes: those that come while it is busy are computed together.
///
/// A batch is filled in the order of the requests; one that does not fit as a whole gives what fits and goes behind the others, so a small
/// request waits for one batch of every large one in front of it, not for all its rows.
package final class PredictionQueue: @unchecked Sendable {
  package struct Limits: Sendable {
    /// The sequences of a batch.
    package var batchSequences: Int
    /// The tokens of a batch; a sequence that has more is a batch of its own.
    package var batchTokens: Int
    /// The sequences that may wait.
    ///
    /// A request that finds none waiting is taken whatever its size.
    package var waitingSequences: Int

    package init(batchSequences: Int, batchTokens: Int, waitingSequences: Int) {
      precondition(
        batchSequences > 0 && batchTokens > 0 && waitingSequences > 0,
        "a queue of \(waitingSequences), batches of \(batchSequences) sequences, \(batchTokens) tokens"
      )
      self.batchSequences = batchSequences
      self.batchTokens = batchTokens
      self.waitingSequences = waitingSequences
    }
  }

  /// What became of a request that was handed in.
  package enum Admission: Sendable, Equatable {
    /// `number` names it.
    case taken(number: Int)
    /// As many sequences wait as may.
    case full
    case stopped
  }

  package struct Load: Sendable, Equatable {
    /// Sequences that nothing was done with yet.
    package var waiting = 0
    /// Sequences of the batch at hand.
    package var computing = 0
  }

  private struct Request {
    let number: Int
    let sequences: [SequenceInput]
    /// How many of them were taken into batches.
    var taken = 0
    var outputs: [HeadOutput] = []
    let complete: @Sendable ([HeadOutput]) -> Void
  }

  /// A part of a request in a batch.
  private struct Part {
    let request: Int
    let count: Int
  }

  private let limits: Limits
  private let condition = NSCondition()
  // All guarded by `condition`.
  private var requests: [Request] = []
  private var current = Load()
  private var next = 0
  private var isStopped = false

  package init(_ limits: Limits) { self.limits = limits }

  package var load: Load { condition.withLock { current } }

  /// Hands in `sequences`; `complete` is called once with the output of each, by the thread that computes, unless the request is cancelled.
  package func submit(
    _ sequences: [SequenceInput], complete: @escaping @Sendable ([HeadOutput]) -> Void
  ) -> Admission {
    let admission: Admission = condition.withLock {
      if isStopped { return .stopped }
      if current.waiting > 0, current.waiting + sequences.count > limits.waitingSequences {
        return .full
      }
      next += 1
      guard !sequences.isEmpty else { return .taken(number: next) }
      requests.append(Request(number: next, sequences: sequences, complete: complete))
      current.waiting += sequences.count
      condition.signal()
      return .taken(number: next)
    }
    // Rows that are left out have no sequences: there is nothing to wait for.
    if sequences.isEmpty, case .taken = admission { complete([]) }
    return admission
  }

  /// Forgets a request that nobody waits for any more.
  package func cancel(_ number: Int) {
    condition.withLock {
      guard let place = requests.firstIndex(where: { $0.number == number }) else { return }
      current.waiting -= requests[place].sequences.count - requests[place].taken
      requests.remove(at: place)
    }
  }

  /// Takes no more requests; `run` returns when those that are there are answered.
  package func stop() {
    condition.withLock {
      isStopped = true
      condition.broadcast()
    }
  }

  /// Computes batch after batch with `outputs`, on the thread that calls it, until the queue is stopped.
  package func run(_ outputs: ([SequenceInput]) -> [HeadOutput]) {
    while let (sequences, parts) = nextBatch() {
      let found = outputs(sequences)
      precondition(
        found.count == sequences.count, "\(found.count) of \(sequences.count) outputs")
      hand(found, to: parts)
    }
  }

  /// Waits for requests; nil when there are none and will be none.
  private func nextBatch() -> (sequences: [SequenceInput], parts: [Part])? {
    condition.withLock {
      while current.waiting == 0 {
        if isStopped { return nil }
        condition.wait()
      }
      var sequences: [SequenceInput] = [], parts: [Part] = []
      var tokens = 0
      var unfinished: Int?
      for place in requests.indices {
        let start = requests[place].taken
        var end = start
        while end < requests[place].sequences.count, sequences.count < limits.batchSequences {
          let sequence = requests[place].sequences[end]
          guard sequences.isEmpty || tokens + sequence.tokenCount <= limits.batchTokens else {
            break
          }
          sequences.append(sequence)
          tokens += sequence.tokenCount
          end += 1
        }
        if end > start {
          parts.append(Part(request: requests[place].number, count: end - start))
          requests[place].taken = end
        }
        if end < requests[place].sequences.count {
          if end > start { unfinished = place }
          break
        }
      }
      if let unfinished { requests.append(requests.remove(at: unfinished)) }
      current.waiting -= sequences.count
      current.computing = sequences.count
      return (sequences, parts)
    }
  }

  private func hand(_ outputs: [HeadOutput], to parts: [Part]) {
    var complete: [Request] = []
    condition.withLock {
      current.computing = 0
      var start = 0
      for part in parts {
        let end = start + part.count
        // One that was cancelled meanwhile is gone.
        if let place = requests.firstIndex(where: { $0.number == part.request }) {
          requests[place].outputs += outputs[start..<end]
          if requests[place].outputs.count == requests[place].sequences.count {
            complete.append(requests.remove(at: place))
          }
        }
        start = end
      }
    }
    for request in complete { request.complete(request.outputs) }
  }
}
