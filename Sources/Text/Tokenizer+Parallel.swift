import Dispatch
import Synchronization

extension Tokenizer {
  /// The tokens of each text, in the order of the texts, worked out on up to `threads` threads.
  ///
  /// Threads take the next few texts when they are done with some; the result does not depend on
  /// their number.
  package func tokenize(_ texts: [String], threads: Int) -> [TokenizedText] {
    precondition(threads > 0, "\(threads) threads, where 1 is the least")
    // Enough to make taking turns cheap, few enough that no thread is left with the rest.
    let share = max(1, min(64, texts.count / (threads * 8)))
    let next = Counter()
    return [TokenizedText](unsafeUninitializedCapacity: texts.count) { buffer, count in
      nonisolated(unsafe) let results = buffer
      DispatchQueue.concurrentPerform(iterations: min(threads, max(1, texts.count))) { _ in
        var scanner = TokenizerScanner(self)
        while case let start = next.take(share), start < texts.count {
          for i in start..<min(start + share, texts.count) {
            // Each index is taken by one thread, so each element is initialised once and by nobody
            // else.
            results.initializeElement(at: i, to: scanner.tokenize(texts[i]))
          }
        }
      }
      count = texts.count
    }
  }

  /// Hands out consecutive indices to threads.
  private final class Counter: Sendable {
    private let value = Atomic(0)

    /// The first of the next `count` indices.
    func take(_ count: Int) -> Int {
      value.wrappingAdd(count, ordering: .relaxed).oldValue
    }
  }
}
