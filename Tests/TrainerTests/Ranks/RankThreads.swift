import Collective
import Foundation
import Synchronization
import TestSupport
import Trainer

/// Runs `body` on `count` ranks, each a thread of this process, and returns what each returned or threw.
func outcomes<Value: Sendable>(
  ranks count: Int, progress: CollectiveEngine.Progress = .thread, hosts: [String]? = nil,
  _ body: @escaping @Sendable (CollectiveEngine) throws -> Value
) throws -> [Result<Value, any Error>] {
  let network = InMemoryNetwork(size: count)
  let results = Mutex<[Int: Result<Value, any Error>]>([:])
  let done = DispatchGroup()
  for rank in 0..<count {
    done.enter()
    let thread = Thread {
      var settings = CollectiveEngine.Settings()
      settings.progress = progress
      settings.agreementSeconds = 5
      // Without one messages say "rank 2" alone.
      settings.host = hosts?[rank] ?? ""
      let collective = CollectiveEngine(network.communicator(rank: rank), settings: settings)
      let result = Result { try body(collective) }
      if case .failure(let error) = result {
        collective.fail("\(error)", exitCode: ExitStatus(error).rawValue)
      }
      _ = collective.finish(exitCode: 0)
      results.withLock { $0[rank] = result }
      done.leave()
    }
    thread.stackSize = 8 << 20
    thread.start()
  }
  _ = done.wait(timeout: .now() + 180)
  let all = results.withLock { $0 }
  let missing = (0..<count).filter { all[$0] == nil }
  if !missing.isEmpty { throw RanksHang(ranks: missing) }
  return (0..<count).compactMap { all[$0] }
}

/// The same where no rank may fail.
func onRanks<Value: Sendable>(
  _ count: Int, progress: CollectiveEngine.Progress = .thread, hosts: [String]? = nil,
  _ body: @escaping @Sendable (CollectiveEngine) throws -> Value
) throws -> [Value] {
  try outcomes(ranks: count, progress: progress, hosts: hosts, body).map { try $0.get() }
}
