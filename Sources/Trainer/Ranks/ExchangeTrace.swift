import Collective

/// How much of a step's exchange of gradients was hidden behind its backward pass.
package struct ExchangeTrace: Sendable, Equatable {
  /// Seconds in which something of the gradient was on its way.
  package var busy = 0.0
  /// Those of them before backward ended.
  package var hidden = 0.0
  /// Those that could have been: all, but not more than backward took behind the first finished bucket.
  package var hideable = 0.0
  /// Buckets that were handed over before backward ended.
  package var early = 0

  package init(busy: Double = 0, hidden: Double = 0, hideable: Double = 0) {
    self.busy = busy
    self.hidden = hidden
    self.hideable = hideable
  }

  /// The trace of operations that ran in `spans`, of which the first was handed over at `first`, with backward ending at `backwardEnd`.
  ///
  /// All in seconds of one clock.
  package init(spans: [(start: Double, end: Double)], first: Double, backwardEnd: Double) {
    var reached = -Double.infinity
    for span in spans.sorted(by: { $0.start < $1.start }) {
      let start = max(span.start, reached)
      guard span.end > start else { continue }
      busy += span.end - start
      hidden += max(0, min(span.end, backwardEnd) - start)
      reached = span.end
    }
    hideable = min(busy, max(0, backwardEnd - first))
  }

  /// The share of what could be hidden that was; 1 where nothing could be.
  package var share: Double { hideable > 0 ? min(1, hidden / hideable) : 1 }
}
