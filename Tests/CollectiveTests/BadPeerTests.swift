import Collective
import Foundation
import Synchronization
import Testing

/// Whatever a peer sends, the engine ends with a sentence and never reads or writes past a buffer.
///
/// Rank 1 is a bare transport that sends what it likes.
@Suite(.serialized) struct BadPeerTests {
  private enum Message: Sendable {
    /// The header that rank 0 sent, as it came: right, because both sides say the same.
    case echo
    /// That header with one bit of byte `at` turned.
    case turned(at: Int)
    case bytes(Int, round: Int, segment: Int = 0, sequence: Int = 0)
  }

  /// The error of an all-reduce of 100 floats on rank 0 when rank 1 sends `messages`.
  private func error(_ messages: [Message], operations: Int = 1) throws -> String {
    let network = InMemoryNetwork(size: 2, eagerBytes: 1 << 20)
    let peer = network.communicator(rank: 1)
    var settings = CollectiveEngine.Settings.cooperative()
    settings.agreementSeconds = 0
    settings.stallSeconds = 20
    let engine = CollectiveEngine(network.communicator(rank: 0), settings: settings)
    let ownership = try LeafOwnership(ranks: 2, leaves: 2)
    let plan = try SlicePlan.balanced(count: 100, ranks: 2)
    let buffer = Buffer(.init(repeating: 1, count: 100))
    let running = try (0..<operations).map { _ in
      try engine.allReduce([buffer.start], plan: plan, ownership: ownership)
    }
    // The header comes first.
    var incoming = try peer.probe()
    while incoming?.tag.round != TagLayout.wide.headerRound {
      engine.poll()
      incoming = try peer.probe()
    }
    var header = [UInt8](repeating: 0, count: OperationHeader.byteCount)
    _ = try header.withUnsafeMutableBytes { memory throws in
      try peer.receive(incoming.unwrapped(), into: memory)
    }
    for message in messages {
      var bytes = header
      var tag = Tag(sequence: 0, segment: 0, round: TagLayout.wide.headerRound, layout: .wide)
      switch message {
      case .echo: break
      case .turned(let at): bytes[at] ^= 4
      case .bytes(let count, let round, let segment, let sequence):
        bytes = .init(repeating: 7, count: count)
        tag = Tag(sequence: sequence, segment: segment, round: round, layout: .wide)
      }
      _ = try bytes.withUnsafeBytes { memory throws in try peer.send(memory, to: 0, tag: tag) }
    }
    var result = ""
    do { for operation in running { try operation.wait() } } catch { result = "\(error)" }
    _ = engine.finish(exitCode: 0)
    return result
  }

  private static let advice = "Every rank must run the same program with the same recipe and data."

  @Test(arguments: [0, 39, 41, 4000]) func `a header of another size is refused`(bytes: Int) throws
  {
    let text = try error([.bytes(bytes, round: TagLayout.wide.headerRound)])
    #expect(text.hasPrefix("rank 1 sent \(bytes) bytes for the header of operation 0 (all-reduce"))
    #expect(text.hasSuffix("where 40 were expected. \(Self.advice)"))
  }

  @Test(arguments: Array(stride(from: 0, to: 40, by: 3)))
  func `a header with a turned bit is refused`(at: Int) throws {
    let text = try error([.turned(at: at)])
    #expect(text.hasPrefix("The ranks disagree about what to exchange: rank 0 is at operation 0"))
    #expect(text.contains(", and rank 1 at "))
  }

  @Test func `a second header is refused`() throws {
    let text = try error([.echo, .echo])
    #expect(text.hasPrefix("The ranks disagree about what to exchange"))
  }

  @Test(arguments: [0, 199, 201, 100_000]) func `payload of another size is refused`(
    bytes: Int
  ) throws {
    let text = try error([.echo, .bytes(bytes, round: 0)])
    #expect(text.hasPrefix("rank 1 sent \(bytes) bytes for operation 0 (all-reduce of 400 bytes"))
    #expect(text.contains("segment 0, round 0) where 200 were expected."))
  }

  @Test func `payload that no operation expects is refused`() throws {
    // Twice the same; of an operation that is over (one with the same low bits as −1).
    for messages: [Message] in [
      [.echo, .bytes(200, round: 1), .bytes(200, round: 1)],
      [.bytes(8, round: 0, sequence: 1023)],
    ] {
      let text = try error(messages)
      #expect(text.hasPrefix("rank 1 sent ") && text.contains("which no operation here expects."))
    }
  }

  @Test(
    arguments: [TagLayout.wide.heartbeatRound, TagLayout.wide.goodbyeRound], [0, 3, 103, 105, 4000])
  func `control messages of another size are refused`(round: Int, bytes: Int) throws {
    let text = try error([.bytes(bytes, round: round)])
    #expect(text.hasPrefix("rank 1 sent \(bytes) bytes with tag "))
  }

  @Test(arguments: [0, 7, 8, 300]) func `a fault message of any size is a failure of the peer`(
    bytes: Int
  ) throws {
    let text = try error([.bytes(bytes, round: TagLayout.wide.faultRound)])
    #expect(text.contains(" failed: "))
  }
}
