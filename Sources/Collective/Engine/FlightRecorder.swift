import Foundation
import Synchronization

/// The last operations of this rank, for the bundle that is written when something goes wrong.
package final class FlightRecorder: Sendable {
  /// How many operations are kept.
  package static let capacity = 512

  package struct Record: Sendable, Equatable, Codable {
    package var sequence: Int
    package var kind: String
    package var bytes: Int
    /// Seconds since the engine started.
    package var submitted: Double
    package var started: Double?
    package var ended: Double?
    /// `queued`, `running`, `finished`, `failed`, or `refused`: submitted when the run had already failed.
    package var state: String
    /// The ranks that had not delivered when the operation failed.
    package var waitedFor: [Int] = []
  }

  private let ring = Mutex<[Record]>([])

  /// The records, oldest first.
  package var records: [Record] { ring.withLock { $0.sorted { $0.sequence < $1.sequence } } }

  /// One JSON object a line, oldest first, with the rank in each.
  package func jsonLines(rank: Int) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    struct Line: Codable {
      var rank: Int
      var record: Record
    }
    return records.compactMap { try? encoder.encode(Line(rank: rank, record: $0)) }
      .map { String(decoding: $0, as: UTF8.self) + "\n" }.joined()
  }

  func add(_ record: Record) {
    ring.withLock { ring in
      // Numbers follow one another; only the one that is refused can come again.
      let index = record.sequence % Self.capacity
      if index < ring.count { ring[index] = record } else { ring.append(record) }
    }
  }

  func update(_ sequence: Int, _ change: (inout Record) -> Void) {
    ring.withLock { ring in
      let index = sequence % Self.capacity
      guard index < ring.count, ring[index].sequence == sequence else { return }
      change(&ring[index])
    }
  }
}
