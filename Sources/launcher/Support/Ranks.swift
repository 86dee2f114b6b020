import ArgumentParser
import Collective
import Foundation
import Trainer

extension Exchange: ExpressibleByArgument {}
extension WireFormat: ExpressibleByArgument {}
extension CollectiveEngine.Progress: ExpressibleByArgument {}

/// How ranks exchange gradients; nothing here changes a bit of the result but a wire of bfloat16 and the vendor's exchange.
struct ExchangeOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Bytes of a bucket of gradients; 0 puts all in one.", valueName: "bytes"))
  var bucketBytes = ExchangeSettings().bucketBytes ?? 0

  @Option(
    help:
      "How gradients are summed: automatic, tree or direct; or vendor, which is MPI_Allreduce: not reproducible, for comparison."
  )
  var exchange = Exchange.automatic

  @Option(
    help:
      "How gradients travel: float32; or bfloat16, half the bytes, deterministic for a fixed number of ranks only."
  )
  var wire = WireFormat.float32

  @Option(
    help:
      "Who moves messages: thread, one of its own; cooperative, the computing threads' caller between tiles; automatic, the latter where all ranks share one host and leave it no core, else the former."
  )
  var progress = CollectiveEngine.Settings().progress

  @Flag(
    inversion: .prefixedNo, help: "Send gradients while backward still runs.")
  var overlap = true

  @Flag(inversion: .prefixedNo, help: "Share the optimizer's state and work between the ranks.")
  var shard = true

  @Flag(
    inversion: .prefixedNo,
    help: "Send only the rows of the word table that a step touches, not the whole table.")
  var touchedRows = true

  @Option(
    help: ArgumentHelp(
      "Seconds without a sign of life, or without progress while another rank waits, after which the run ends.",
      valueName: "seconds"))
  var stallSeconds = CollectiveEngine.Settings().stallSeconds

  func validate() throws {
    guard stallSeconds >= 1 else {
      throw ValidationError("--stall-seconds \(stallSeconds): give at least 1.")
    }
    guard bucketBytes >= 0 else {
      throw ValidationError("--bucket-bytes \(bucketBytes): give a number of bytes, or 0.")
    }
    do {
      try settings.check()
    } catch {
      throw ValidationError("--exchange \(exchange.rawValue) --wire \(wire.rawValue): \(error)")
    }
  }

  var settings: ExchangeSettings {
    var settings = ExchangeSettings()
    settings.bucketBytes = bucketBytes == 0 ? nil : bucketBytes
    settings.exchange = exchange
    settings.wire = wire
    settings.overlaps = overlap
    settings.shardsOptimizer = shard
    settings.sendsTouchedRows = touchedRows
    return settings
  }
}

/// Joining and leaving the ranks that `mpirun` started.
enum Ranks {
  /// Ranks that `mpirun` started; 1 without it.
  static var count: Int { number("OMPI_COMM_WORLD_SIZE") ?? 1 }

  /// Ranks on this host, this one among them; 1 without `mpirun`.
  static var onThisHost: Int { number("OMPI_COMM_WORLD_LOCAL_SIZE") ?? 1 }

  /// CPUs that the ranks of this host may use together, each as many as it may run on.
  static var processors: Int { min(Machine.hostProcessors, Machine.processors * onThisHost) }

  /// Compute threads of a rank, where nobody says otherwise: its share of the host's CPUs, and no more than it may run on.
  static var threads: Int {
    max(1, min(Machine.processors, Machine.hostProcessors / onThisHost))
  }

  /// Refuses to run several times over under `mpirun` what one process does.
  static func requireOne(_ what: String) throws {
    guard count == 1 else {
      throw ValidationError("\(what) is done by one process: run it without mpirun.")
    }
  }

  private static func number(_ variable: String) -> Int? {
    ProcessInfo.processInfo.environment[variable].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
  }

  /// Runs `body` as one of the ranks that `mpirun` started, or alone: MPI is touched only under `mpirun`.
  ///
  /// All ranks end with the same exit code: the worst of theirs. A rank that throws ends the others.
  ///
  /// `options` say who moves messages and how long a silence is borne. `recorderFolder` is where each rank leaves its last operations when one of several fails, if the folder is there on its host; else
  /// they are left in the working directory.
  static func run(
    _ options: ExchangeOptions, recorderFolder: URL? = nil,
    _ body: (CollectiveEngine) throws -> Void
  ) throws {
    let communicator: any Communicator =
      number("OMPI_COMM_WORLD_SIZE") == nil ? SingleProcess() : try MPICommunicator()
    var settings = CollectiveEngine.Settings()
    settings.stallSeconds = options.stallSeconds
    settings.progress = options.progress
    settings.idlePollSeconds = settings.heartbeatSeconds / 2
    settings.onNotice = { Console.message("note: \($0)") }
    let collective = CollectiveEngine(communicator, settings: settings)
    let status = outcome(of: body, on: collective)
    // What the command line, the recipe or the rows are refused for is no failure of ranks, and must not take an earlier one's place.
    if collective.size > 1, ![.done, .tryAgain, .usage, .data].contains(status) {
      record(collective, in: recorderFolder)
    }
    let agreed = collective.finish(exitCode: status.rawValue)
    if agreed != ExitStatus.done.rawValue {
      throw ExitStatus(rawValue: agreed) ?? .internalFailure
    }
  }

  /// Writes the last operations of this rank, and says where.
  private static func record(_ collective: CollectiveEngine, in folder: URL?) {
    var isFolder: ObjCBool = false
    let isThere =
      folder.map { FileManager.default.fileExists(atPath: $0.path, isDirectory: &isFolder) }
      ?? false
    let place = isThere && isFolder.boolValue ? folder : nil
    let name = "recorder-rank\(collective.rank).jsonl"
    let url = place?.appending(path: name) ?? URL(filePath: name)
    do {
      try Data(collective.recorder.jsonLines(rank: collective.rank).utf8).write(to: url)
      Console.message("the last operations of rank \(collective.rank) are in \(url.path)")
    } catch {
      Console.message(
        "the last operations of rank \(collective.rank) could not be written to \(url.path): \(error.localizedDescription)"
      )
    }
  }

  /// Runs `body`, tells the other ranks and the person why it threw, and returns how this rank wants to end.
  private static func outcome(
    of body: (CollectiveEngine) throws -> Void, on collective: CollectiveEngine
  ) -> ExitStatus {
    do {
      try body(collective)
      return .done
    } catch let status as ExitStatus {
      // An end that all ranks come to together.
      return status
    } catch is BrokenPipe {
      // Nobody reads the result; it is in the run's directory.
      return .done
    } catch {
      let status = ExitStatus(error)
      let sentence = error is CocoaError ? error.localizedDescription : "\(error)"
      switch error {
      case CommunicationError.peerFailed, CommunicationError.disagreement:
        // Every rank knows, and one that failed has said so itself: rank 0 says it for all.
        if collective.isRoot { Console.message("error: \(sentence)") }
      default: Console.message("error: \(sentence)")
      }
      collective.fail(sentence, exitCode: status.rawValue)
      return status
    }
  }
}
