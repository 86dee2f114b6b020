import Collective
import Foundation
import Testing

/// The ranks of `mpirun`, when the test bundle runs under it: see `cluster/check-mpi`.
@MainActor enum World {
  nonisolated static let environment = ProcessInfo.processInfo.environment
  nonisolated static let isUnderMPI = environment["OMPI_COMM_WORLD_SIZE"] != nil
  /// A suite that ends the run's communication has a process of its own.
  nonisolated static let part = environment["LOCKSTEP_MPI_PART"] ?? "collectives"

  /// Joined once; left when the process exits, as MPI asks of the thread that joined.
  static let engine: CollectiveEngine = {
    var settings = CollectiveEngine.Settings()
    settings.stallSeconds = 60
    settings.agreementSeconds = 20
    settings.onNotice = { print($0) }
    settings.progress =
      environment["LOCKSTEP_MPI_PROGRESS"].flatMap(CollectiveEngine.Progress.init) ?? .thread
    do {
      let engine = CollectiveEngine(try MPICommunicator(), settings: settings)
      // A fault may reach a rank while it is still introducing itself: that test does so itself.
      if part != "mismatch" { try engine.introduce() }
      shared = engine
      atexit { _ = shared?.finish(exitCode: 0) }
      return engine
    } catch {
      fatalError("\(error)")
    }
  }()
  nonisolated(unsafe) private static var shared: CollectiveEngine?
  /// Says that communication was ended by a test itself.
  static func hasFinished() { shared = nil }
}

@MainActor
@Suite(.serialized, .enabled(if: World.isUnderMPI && World.part == "collectives"))
struct MPITests {
  private let world = World.engine
  private static let leafCount = 8

  private func leaves(_ count: Int) -> [[Float]] {
    (0..<Self.leafCount).map { leaf -> [Float] in
      var numbers = Numbers(seed: 31 * count + leaf)
      return numbers.floats(count)
    }
  }

  @Test func `the ranks are those that mpirun started`() throws {
    #expect(world.size == Int(World.environment["OMPI_COMM_WORLD_SIZE"] ?? ""))
    #expect(world.rank == Int(World.environment["OMPI_COMM_WORLD_RANK"] ?? ""))
  }

  @Test func `all-reduces over MPI are the canonical fold`() throws {
    let ownership = try LeafOwnership(ranks: world.size, leaves: Self.leafCount)
    var running: [(expected: [Float], buffers: [Buffer], operation: CollectiveOperation)] = []
    for exchange in world.size.nonzeroBitCount == 1 ? [Exchange.tree, .direct] : [.direct] {
      for size in [0, 1, world.size - 1, world.size, world.size + 1, 1023, 65_539, 1_000_001] {
        let leaves = leaves(size)
        let buffers = contributions(of: world.rank, ownership: ownership, leaves: leaves, offset: 3)
        let plan = try SlicePlan.balanced(count: size, ranks: world.size, segmentBytes: 300_000)
        running.append(
          (
            canonicalSum(leaves[...]), buffers,
            try world.allReduce(
              buffers.map(\.start), plan: plan, ownership: ownership, exchange: exchange)
          ))
      }
    }
    for (expected, buffers, operation) in running {
      try operation.wait()
      #expect(bits(buffers[0].values) == bits(expected), "\(expected.count) elements")
    }
  }

  @Test func `a reduce-scatter and an all-gather by chunks are an all-reduce`() throws {
    let ownership = try LeafOwnership(ranks: world.size, leaves: Self.leafCount)
    let leaves = leaves(70_001)
    let plan = try SlicePlan.chunks(of: 4096, covering: 5_000..<75_001, ranks: world.size)
    let buffers = contributions(of: world.rank, ownership: ownership, leaves: leaves)
    try world.reduceScatter(buffers.map(\.start), plan: plan, ownership: ownership).wait()
    try world.allGather(buffers[0].start, plan: plan).wait()
    #expect(bits(buffers[0].values) == bits(canonicalSum(leaves[...])))
  }

  @Test func `broadcast, blobs, barrier, rows and agreement work over MPI`() throws {
    let root = world.size - 1
    let buffer = Buffer(.init(repeating: Float(world.rank), count: 500_001))
    try world.broadcast(buffer.bytes, from: root).wait()
    #expect(buffer.values.allSatisfy { $0 == Float(root) })
    let blobs = (0..<world.size).map { [UInt8](repeating: UInt8($0), count: 70_000 * $0) }
    #expect(try world.allGather(blobs[world.rank]).wait() == blobs)
    #expect(try world.gather(blobs[world.rank]).wait() == (world.isRoot ? blobs : []))
    try world.barrier().wait()
    let rows = try world.uniteRows([Int32(world.rank), 40], tableRows: 41).wait()
    #expect(rows == (0..<Int32(world.size)) + [40])
    try world.agree(on: [.init("recipe", "same")])
    if world.size > 1 {
      #expect(throws: CommunicationError.self) {
        try world.agree(on: [.init("rank", "\(world.rank)")])
      }
    }
  }

  @Test func `the vendor's sum is close, and counted apart`() throws {
    let before = world.traffic
    let buffer = Buffer((0..<10_000).map { Float($0 % 7) + Float(world.rank) })
    try world.vendorAllReduce(.init(start: buffer.start, count: buffer.count)).wait()
    let ranks = Float(world.size)
    for i in 0..<10_000 {
      #expect(buffer.values[i] == ranks * Float(i % 7) + ranks * (ranks - 1) / 2)
    }
    #expect(world.traffic.sentBytes == before.sentBytes)
  }

  @Test func `bytes over MPI equal the formula`() throws {
    let elements = 4096 * world.size
    let ownership = try LeafOwnership(ranks: world.size, leaves: Self.leafCount)
    let plan = try SlicePlan.balanced(count: elements, ranks: world.size)
    let buffers = contributions(
      of: world.rank, ownership: ownership,
      leaves: .init(repeating: .init(repeating: 1, count: elements), count: Self.leafCount))
    let before = world.traffic
    try world.allReduce(buffers.map(\.start), plan: plan, ownership: ownership).wait()
    let cost =
      world.size.nonzeroBitCount == 1
      ? CommunicationCost.treeAllReduce(elements: elements, ranks: world.size)
      : CommunicationCost.directAllReduce(
        elements: elements, ownership: ownership, rank: world.rank)
    #expect(world.traffic.sentMessages - before.sentMessages == cost.sentMessages)
    #expect(world.traffic.sentBytes - before.sentBytes == cost.sentBytes)
    #expect(world.traffic.receivedBytes - before.receivedBytes == cost.receivedBytes)
  }
}

/// Ends the run's communication, so it runs in processes of its own.
@MainActor
@Suite(.serialized, .enabled(if: World.isUnderMPI && World.part == "mismatch"))
struct MPIMismatchTests {
  @Test
  func `a rank that brings another count is an error with names on every rank, and MPI ends well`()
    throws
  {
    let world = World.engine
    let odd = world.size - 1
    // Larger than eager messages, so that a receive that trusted its own count would be overrun.
    let count = world.rank == odd ? 100_000 : 90_000
    let ownership = try LeafOwnership(ranks: world.size, leaves: 8)
    let buffers = ownership.subtrees(of: world.rank).map { _ in
      Buffer(.init(repeating: 1, count: count))
    }
    let plan = try SlicePlan.balanced(count: count, ranks: world.size)
    let error = #expect(throws: CommunicationError.self) {
      try world.introduce()
      try world.allReduce(buffers.map(\.start), plan: plan, ownership: ownership).wait()
    }
    let text = error?.description ?? ""
    #expect(text.contains("operation 1 (all-reduce of 400000 bytes"))
    #expect(text.contains("operation 1 (all-reduce of 360000 bytes"))
    let named = "rank \(odd) ("
    #expect(text.contains(named) && text.contains(", process "))
    World.hasFinished()
    #expect(world.finish(exitCode: error?.exitCode ?? 0) == ExitCode.disagreement)
  }
}
