import Collective
import Foundation
import Model

/// The ranks that train one model together, and which leaves of every step each of them computes.
///
/// A run of one process is a group of one: the same code, with nobody to talk to.
package final class RankGroup {
  package let collective: CollectiveEngine
  package let ownership: LeafOwnership
  package var rank: Int { collective.rank }
  package var size: Int { collective.size }
  package var isRoot: Bool { collective.isRoot }
  /// CPUs that the ranks of this host may use together.
  private let processors: Int

  /// Deals `leaves` leaves, a power of two, to the ranks of `collective`, which may use `processors` CPUs of their host together.
  package init(
    _ collective: CollectiveEngine, leaves: Int,
    processors: Int = ProcessInfo.processInfo.processorCount
  ) throws(CommunicationError) {
    self.collective = collective
    self.processors = processors
    ownership = try LeafOwnership(ranks: collective.size, leaves: leaves)
  }

  /// A group of this process alone; no MPI is initialised.
  package static func alone(leaves: Int) throws(CommunicationError) -> RankGroup {
    try RankGroup(CollectiveEngine(SingleProcess()), leaves: leaves)
  }

  /// Settles who moves this rank's messages while `pool` computes; where that is nobody else, lets `pool` do so between its tiles.
  ///
  /// The ranks have been introduced.
  package func poll(from pool: ThreadPool) {
    collective.settleProgress(threads: pool.threads, processors: processors)
    guard collective.progress == .cooperative, size > 1 else { return }
    pool.betweenTiles = { [collective] in collective.poll() }
  }

  /// What this rank contributes to every sum, in leaf order.
  package var subtrees: [LeafOwnership.Subtree] { ownership.subtrees(of: rank) }

  /// The canonical sum of one number for each subtree of each rank.
  ///
  /// `values`: by rank, in leaf order.
  package func fold(_ values: [[Double]]) -> Double {
    let nodes = ownership.allSubtrees
    let flat = values.flatMap { $0 }
    precondition(flat.count == nodes.count, "\(flat.count) values for \(nodes.count) subtrees")
    var next = 0
    /// Sums the tree over `leaves`, which starts at subtree `next`.
    func sum(_ leaves: Range<Int>) -> Double {
      if nodes[next].leaves == leaves {
        defer { next += 1 }
        return flat[next]
      }
      let middle = leaves.lowerBound + leaves.count / 2
      let left = sum(leaves.lowerBound..<middle)
      return left + sum(middle..<leaves.upperBound)
    }
    return sum(0..<ownership.leaves)
  }

  /// Every rank's `bytes` must read as a value of `read`; a rank that sent anything else is named.
  func decode<Value>(
    _ blobs: [[UInt8]], as what: String, _ read: ([UInt8]) -> Value?
  ) throws(CommunicationError) -> [Value] {
    var values: [Value] = []
    for (rank, bytes) in blobs.enumerated() {
      guard let value = read(bytes) else {
        throw .disagreement(
          item: what, values: ["\(bytes.count) bytes that are none on \(collective.name(of: rank))"]
        )
      }
      values.append(value)
    }
    return values
  }
}

/// How gradients are exchanged and who updates what.
///
/// None of it enters the bits of the result, but for the wire and the vendor's exchange (`limit(ranks:)`).
package struct ExchangeSettings: Sendable, Equatable {
  /// Bytes of a bucket; nil puts everything in one.
  package var bucketBytes: Int? = 4 << 20
  package var exchange = Exchange.automatic
  /// How gradients travel; parameters and checkpoints are never rounded.
  package var wire = WireFormat.float32
  /// Whether buckets travel while backward still runs.
  package var overlaps = true
  /// Whether each rank keeps and updates only its share of the optimizer's state.
  package var shardsOptimizer = true
  /// Whether of the word table only the rows travel that a step touches.
  package var sendsTouchedRows = true

  package init() {}

  /// What keeps the result from having the bits of every other number of ranks, in words; nil where nothing does.
  package func limit(ranks: Int) -> String? {
    guard ranks > 1 else { return nil }
    if exchange == .vendor { return "vendor exchange on \(ranks) ranks, not reproducible" }
    if wire == .bfloat16 { return "bfloat16 wire on \(ranks) ranks, deterministic for these alone" }
    return nil
  }

  /// All of it in words, for ranks to compare.
  package var summary: String {
    "exchange \(exchange.rawValue), wire \(wire.rawValue), buckets of \(bucketBytes.map { "\($0) bytes" } ?? "any size"), "
      + "touched rows \(sendsTouchedRows), sharded \(shardsOptimizer)"
  }

  /// - Throws: `CommunicationError` where the wire and the exchange do not go together.
  package func check() throws(CommunicationError) {
    guard wire == .bfloat16 else { return }
    if exchange == .tree { throw .treeNeedsFloats }
    if exchange == .vendor { throw .vendorNeedsFloats }
  }

  /// Whether an optimizer is sharded: LAMB's ratios need whole tensors.
  package func shards(_ method: OptimizerSettings.Method, ranks: Int) -> Bool {
    shardsOptimizer && ranks > 1 && !method.adaptsLayers
  }
}

/// Why a rank cannot go on, in a sentence that names it, with the exit code of the run.
package struct RankError: Error, Equatable, CustomStringConvertible {
  package let exitCode: Int32
  package let description: String

  package init(exitCode: Int32, _ description: String) {
    self.exitCode = exitCode
    self.description = description
  }
}
