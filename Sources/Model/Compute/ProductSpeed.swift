/// What plain single-threaded products reach on this machine, side by side on every thread.
///
/// The yardstick of a training step: the same library and sizes, with nothing else to do.
package final class ProductSpeed {
  private let hidden: Int, intermediate: Int
  private let pool: ThreadPool
  private let inputs: Arena, weights: Arena, outputs: Arena
  private static let rows = 512

  package init(hidden: Int, intermediate: Int, pool: ThreadPool) {
    self.hidden = hidden
    self.intermediate = intermediate
    self.pool = pool
    inputs = Arena(count: Self.rows * hidden)
    weights = Arena(count: intermediate * hidden)
    outputs = Arena(count: pool.threads * Self.rows * intermediate)
    for i in 0..<inputs.count { inputs.base[i] = Float(i % 7) - 3 }
    for i in 0..<weights.count { weights.base[i] = Float(i % 5) - 2 }
  }

  /// Operations a second of all threads together, from `repetitions` products `[512, H]·[F, H]ᵀ` on each.
  package func measure(repetitions: Int) -> Double {
    let clock = ContinuousClock()
    let start = clock.now
    let (size, rows) = (Self.rows * intermediate, Self.rows)
    pool.run(pool.threads) { tile, _ in
      for _ in 0..<repetitions {
        RowProduct.forward(
          rows, intermediate, hidden, inputs.base, hidden, weights.base,
          outputs.base + tile * size, intermediate)
      }
    }
    let time = start.duration(to: clock.now).components
    let seconds = Double(time.seconds) + Double(time.attoseconds) * 1e-18
    return 2 * Double(rows * intermediate * hidden * repetitions * pool.threads) / seconds
  }
}
