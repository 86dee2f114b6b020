import Collective
import Foundation
import Testing

/// Prints how long exchanges take over MPI: `cluster/check-mpi --times`.
///
/// It measures and asserts nothing about time.
@MainActor
@Suite(.serialized, .enabled(if: World.isUnderMPI && World.part == "times"))
struct MPITimes {
  private let world = World.engine

  /// The median of `repeats` runs in milliseconds, each from a barrier to the end on the slowest rank.
  private func median(_ repeats: Int, _ body: () throws -> Void) throws -> Double {
    var times: [Double] = []
    for _ in 0..<repeats {
      try world.barrier().wait()
      let start = ContinuousClock.now
      try body()
      let own = Double((ContinuousClock.now - start) / .microseconds(1)) / 1000
      let all = try world.allGather(withUnsafeBytes(of: own) { Array($0) }).wait()
      times.append(
        all.map { $0.withUnsafeBytes { $0.loadUnaligned(as: Double.self) } }.max() ?? own)
    }
    return times.sorted()[times.count / 2]
  }

  @Test(arguments: [1_000, 64 << 10, 1 << 20, 25 << 20])
  func `all-reduce`(bytes: Int) throws {
    let count = bytes / 4
    let ownership = try LeafOwnership(ranks: world.size, leaves: 8)
    let buffers = ownership.subtrees(of: world.rank).map { _ in
      Buffer(.init(repeating: 1, count: count))
    }
    let first = UnsafeMutableBufferPointer(start: buffers[0].start, count: count)
    let repeats = bytes > 4 << 20 ? 7 : 21
    var line = "\(world.size) ranks, \(bytes) bytes, \(world.settings.progress.rawValue):"
    func add(_ name: String, _ milliseconds: Double) {
      line += "  \(name) \((milliseconds * 1000).rounded() / 1000) ms"
    }
    for segmentBytes in [256 << 10, 1 << 20, 4 << 20] where segmentBytes <= max(bytes, 256 << 10) {
      let plan = try SlicePlan.balanced(
        count: count, ranks: world.size, segmentBytes: segmentBytes)
      for exchange in world.size.nonzeroBitCount == 1 ? [Exchange.tree, .direct] : [.direct] {
        add(
          "\(exchange) \(segmentBytes >> 10) KiB",
          try median(repeats) {
            try world.allReduce(
              buffers.map(\.start), plan: plan, ownership: ownership, exchange: exchange
            ).wait()
          })
      }
    }
    let plan = try SlicePlan.balanced(count: count, ranks: world.size)
    add(
      "bf16",
      try median(repeats) {
        try world.allReduce(
          buffers.map(\.start), plan: plan, ownership: ownership, wire: .bfloat16
        ).wait()
      })
    add("vendor", try median(repeats) { try world.vendorAllReduce(first).wait() })
    if world.isRoot { print(line) }
  }
}
