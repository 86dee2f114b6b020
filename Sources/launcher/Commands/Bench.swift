import ArgumentParser
import Collective
import Foundation
import Model
import Trainer

struct Bench: ParsableCommand {
  enum Size: String, ExpressibleByArgument, CaseIterable { case base, small, tiny }
  enum Lengths: String, ExpressibleByArgument, CaseIterable { case fixed, uniform }

  static let configuration = CommandConfiguration(
    abstract: "Time training steps on random weights and rows.",
    discussion: """
      A step is forward, backward and an AdamW update. Work counts as 6·W·T + 12·L·H·Σ length² operations, \
      W = L (4H² + 2HF): the encoder's products, without embeddings, head, norms and optimizer.

      Example:
        lockstep bench --model base --batch 24 --length 128 --threads 2 --json
      """)

  @Option(help: "base (12 layers of 768), small (6 of 384) or tiny (2 of 128).")
  var model = Size.base

  @Option(help: "Sequences of a step.")
  var batch = 24

  @Option(help: "Tokens of a sequence, or of the longest.")
  var length = 128

  @Option(help: "All of that length, or spread evenly from an eighth of it.")
  var lengths = Lengths.fixed

  @Option(help: "Timed steps.")
  var steps = 5

  @Option(help: "Steps before them.")
  var warmup = 2

  @Option(help: "Leaves of a step.")
  var leaves = 8

  @Option(help: "Leaves computed together; by default all.")
  var leavesAtOnce: Int?

  @Flag(
    help:
      "Measure what leaves cost: steps with --leaves and with one leaf in turns, and the median of their ratios."
  )
  var price = false

  @Flag(help: "Compute layers again in backward instead of keeping them.")
  var recompute = false

  @Option(help: "Dropout of the model.")
  var dropout: Float = 0.1

  @Flag(help: "One JSON object.")
  var json = false

  @OptionGroup var threads: ThreadOptions
  @OptionGroup(title: "Ranks") var exchange: ExchangeOptions

  func validate() throws {
    guard (1...4096).contains(batch), (2...512).contains(length),
      (1...1_000_000).contains(steps), (0...1_000_000).contains(warmup)
    else {
      throw ValidationError(
        "Give --batch 1 to 4096, --length 2 to 512, --steps 1 to 1000000, --warmup 0 to 1000000.")
    }
    for count in [leaves, leavesAtOnce ?? 1] where count < 1 || count.nonzeroBitCount != 1 {
      throw ValidationError("--leaves and --leaves-at-once are powers of two.")
    }
    guard (0..<1).contains(dropout) else { throw ValidationError("--dropout is below 1.") }
    guard !price || Ranks.count == 1 else {
      throw ValidationError(
        "--price compares two computations of one process: run it without mpirun.")
    }
  }

  func run() throws {
    try Ranks.run(exchange) { collective in
      var shape = BenchmarkShape(
        configuration: configuration, batch: batch, length: length, spreads: lengths == .uniform,
        leaves: leaves, leavesAtOnce: leavesAtOnce, dropout: dropout)
      shape.recomputes = recompute
      if collective.isRoot { Console.message(KernelChoice.description) }
      if price { try measurePrice(shape) } else { try measure(shape, collective) }
    }
  }

  /// Steps with the leaves and with one, in turns.
  private func measurePrice(_ shape: BenchmarkShape) throws {
    let ratios = try Benchmark.price(shape, threads: threadCount, warmup: warmup, pairs: steps) {
      Console.message(
        "pair \($0)  \(leaves) leaves \(String(format: "%.3f", $1)) s, one \(String(format: "%.3f", $2)) s"
      )
    }
    let median = Benchmark.median(ratios)
    if json {
      try Console.print(
        "{\"model\":\"\(model.rawValue)\",\"batch\":\(batch),\"length\":\(length),\"lengths\":\"\(lengths.rawValue)\",\"leaves\":\(leaves),\"medianRatio\":\(median),\"ratios\":\(ratios)}"
      )
    } else {
      let all = ratios.map { String(format: "%.3f", $0) }.joined(separator: " ")
      try Console.print(
        String(
          format:
            "a step of %d leaves takes %.1f %% more time than one of a single leaf (median of pairs: ",
          leaves, 100 * (median - 1)) + all + ")")
    }
  }

  private var threadCount: Int { threads.threads ?? Ranks.threads }

  private func measure(_ shape: BenchmarkShape, _ collective: CollectiveEngine) throws {
    let group = try RankGroup(collective, leaves: leaves, processors: Ranks.processors)
    let result = try Benchmark.run(
      shape, group: group, exchange: exchange.settings, threads: threadCount, warmup: warmup,
      steps: steps,
      progress: {
        if group.isRoot { Console.message("step \($0)  \(String(format: "%.3f", $1)) s") }
      })
    guard group.isRoot else { return }
    let rates = (
      median: result.operations / result.medianSeconds / 1e9,
      best: result.operations / result.bestSeconds / 1e9
    )
    let peak = Double(Machine.peakMemory) / 1_048_576
    if json {
      try Console.print(
        "{\"model\":\"\(model.rawValue)\",\"batch\":\(batch),\"length\":\(length),\"lengths\":\"\(lengths.rawValue)\","
          + "\"threads\":\(threadCount),\"ranks\":\(group.size),\"waitSeconds\":\(result.waitSeconds),\"exchangeSeconds\":\(result.trace.busy),\"hideableSeconds\":\(result.trace.hideable),\"hiddenSeconds\":\(result.trace.hidden),\"hiddenShare\":\(result.hiddenShare),\"exchange\":\"\(exchange.exchange.rawValue)\",\"wire\":\"\(exchange.wire.rawValue)\",\"progress\":\"\(collective.progress.rawValue)\",\"sentBytes\":\(result.sentBytes),\"leaves\":\(leaves),\"steps\":\(steps),\"tokens\":\(result.tokens),"
          + "\"medianSeconds\":\(result.medianSeconds),\"bestSeconds\":\(result.bestSeconds),"
          + "\"medianGFLOPs\":\(rates.median),\"bestGFLOPs\":\(rates.best),"
          + "\"tokensPerSecond\":\(Double(result.tokens) / result.medianSeconds),"
          + "\"productGFLOPs\":\(result.productRate / 1e9),\"shareOfProducts\":\(rates.median * 1e9 / result.productRate),"
          + "\"peakMiB\":\(peak),\"blas\":\(JSONText.quoted(BLAS.coreName))}")
    } else {
      try Console.print(
        String(
          format:
            "median %.3f s a step (best %.3f), %d tokens, %.1f GFLOP/s (best %.1f; plain products beside it %.1f, %.0f %%), %.0f tokens/s, peak %.0f MiB",
          result.medianSeconds, result.bestSeconds, result.tokens, rates.median, rates.best,
          result.productRate / 1e9, 100 * rates.median * 1e9 / result.productRate,
          Double(result.tokens) / result.medianSeconds, peak))
      guard group.size > 1 else { return }
      try Console.print(
        String(
          format:
            "rank 0 sends %.1f MB a step; gradients are on their way for %.3f s, of which backward could hide %.3f s and hides %.3f s (%.0f %%); the slowest rank waits %.3f s",
          result.sentBytes / 1e6, result.trace.busy, result.trace.hideable, result.trace.hidden,
          100 * result.hiddenShare, result.waitSeconds))
      if let limit = exchange.settings.limit(ranks: group.size) {
        try Console.print("exchange     \(limit)")
      }
    }
  }

  private var configuration: BertConfiguration {
    switch model {
    case .base:
      BertConfiguration(
        vocabularySize: 21_128, hiddenSize: 768, layerCount: 12, headCount: 12,
        intermediateSize: 3_072)
    case .small:
      BertConfiguration(
        vocabularySize: 21_128, hiddenSize: 384, layerCount: 6, headCount: 12,
        intermediateSize: 1_536)
    case .tiny:
      BertConfiguration(
        vocabularySize: 21_128, hiddenSize: 128, layerCount: 2, headCount: 2, intermediateSize: 512)
    }
  }
}
