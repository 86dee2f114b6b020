import Collective
import Foundation
import Synchronization
import TestSupport

/// Runs `body` on `count` ranks, each a thread of this process, and returns what each returned.
func onRanks<Result: Sendable>(
  _ count: Int, longestDelay: Double = 0, seed: UInt64 = 1, eagerBytes: Int = 256,
  tagLayout: TagLayout = .wide,
  settings: @Sendable (Int) -> CollectiveEngine.Settings = { _ in .cooperative() },
  _ body: @escaping @Sendable (CollectiveEngine) throws -> Result
) throws -> [Result] {
  let network = InMemoryNetwork(
    size: count, longestDelay: longestDelay, seed: seed, eagerBytes: eagerBytes,
    tagLayout: tagLayout)
  let results = Mutex<[Int: Swift.Result<Result, any Error>]>([:])
  let done = DispatchGroup()
  for rank in 0..<count {
    let settings = settings(rank)
    done.enter()
    let thread = Thread {
      let engine = CollectiveEngine(network.communicator(rank: rank), settings: settings)
      let result = Swift.Result { try body(engine) }
      if case .failure(let error) = result {
        engine.fail("\(error)", exitCode: 70)
      }
      _ = engine.finish(exitCode: 0)
      results.withLock { $0[rank] = result }
      done.leave()
    }
    thread.stackSize = 1 << 20
    thread.start()
  }
  let isOver = done.wait(timeout: .now() + 180) == .success
  let all = results.withLock { $0 }
  if !isOver { throw RanksHang(ranks: (0..<count).filter { all[$0] == nil }) }
  return try (0..<count).map { try all[$0].unwrapped().get() }
}

/// What ranks were told by `Settings.onNotice`.
final class Notices: Sendable {
  private let lines = Mutex<[String]>([])
  func add(_ line: String) { lines.withLock { $0.append(line) } }
  var all: [String] { lines.withLock { $0 } }
}

extension Optional {
  struct Missing: Error {}
  func unwrapped() throws -> Wrapped {
    guard let self else { throw Missing() }
    return self
  }
}

extension CollectiveEngine.Settings {
  /// No thread but the rank's own, and failures that end quickly.
  static func cooperative() -> Self {
    var settings = Self()
    settings.progress = .cooperative
    settings.agreementSeconds = 5
    settings.host = ""  // messages then say "rank 2" alone
    return settings
  }

  static func threaded() -> Self {
    var settings = Self.cooperative()
    settings.progress = .thread
    return settings
  }
}

/// Numbers whose sum shows its order: of many magnitudes, both signs, some zeros of both signs.
struct Numbers {
  private var state: UInt64

  init(seed: Int) { state = UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9_7F4A_7C15 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func float() -> Float {
    let bits = next()
    if bits & 31 == 0 { return bits & 32 == 0 ? 0 : -0.0 }
    let magnitude = Float(sign: .plus, exponent: Int(bits >> 8 & 15) - 8, significand: 1)
    return (Float(bits >> 40) * 0x1p-24 - 0.5) * magnitude
  }

  mutating func floats(_ count: Int) -> [Float] { (0..<count).map { _ in float() } }
}

/// The canonical sum, written as plainly as it is defined: halves first, then their sum.
func canonicalSum(_ leaves: ArraySlice<[Float]>) -> [Float] {
  if leaves.count == 1 { return leaves[leaves.startIndex] }
  let middle = leaves.startIndex + leaves.count / 2
  return zip(canonicalSum(leaves[..<middle]), canonicalSum(leaves[middle...])).map { $0 + $1 }
}

/// The bits, so that -0.0 and +0.0 differ.
func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

/// Memory at an odd distance from its start.
///
/// It is never given back: after an injected failure another rank may still read it.
final class Buffer: @unchecked Sendable {
  let start: UnsafeMutablePointer<Float>
  let count: Int

  init(_ values: [Float], offset: Int = 1) {
    count = values.count
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: values.count + offset + 1)
    memory.initialize(repeating: .nan, count: values.count + offset + 1)
    start = memory + offset
    for (i, value) in values.enumerated() { start[i] = value }
  }

  var values: [Float] { Array(UnsafeBufferPointer(start: start, count: count)) }
  var bytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(start: start, count: count))
  }
}

/// A rank's contributions: the canonical sum of each of its subtrees.
func contributions(
  of rank: Int, ownership: LeafOwnership, leaves: [[Float]], offset: Int = 1
) -> [Buffer] {
  ownership.subtrees(of: rank).map { Buffer(canonicalSum(leaves[$0.leaves]), offset: offset) }
}
