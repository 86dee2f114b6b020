import ArgumentParser
import Foundation
import Trainer

struct Serve: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "Answer HTTP requests with predictions of a run's best model, or of several averaged.",
    discussion: """
      POST /predict takes rows as predict reads them from a .json or .jsonl file, and answers with the objects that predict writes: one \
      object for one object, an array for an array (application/json), a line for a line (application/x-ndjson; text/plain has a text a \
      line). GET /model describes the model, GET /health answers when it is ready. Requests that come while the model computes are \
      computed together, which changes no bit of an answer. What cannot be answered has a status and a JSON error that says why.

      SIGTERM and SIGINT stop listening, answer what has come, and end with 0. There is neither a password nor encryption: put a proxy in \
      front of it before others than this machine may reach it.

      Example:
        lockstep serve --run runs/movies --port 8080
        curl -s http://127.0.0.1:8080/predict -H 'Content-Type: application/json' -d '{"text": "a fine film"}'
      """)

  @Option(
    name: .customLong("run"), parsing: .singleValue,
    help: "The run's directory; of several, the outputs are averaged.")
  var directories: [String]

  @Option(help: "The name or address to listen on; 0.0.0.0: all of this machine's.")
  var host = "127.0.0.1"

  @Option(
    help: "The port to listen on; 0 takes a free one, which the URL on standard output names.")
  var port = 8080

  @Option(
    help: ArgumentHelp(
      "Rows that are computed together at most; of a long text each window is one.",
      valueName: "rows"))
  var batchRows = 256

  @Option(help: ArgumentHelp("Tokens that are computed together at most.", valueName: "tokens"))
  var batchTokens = 4096

  @Option(
    help: ArgumentHelp(
      "Rows that may wait; further requests are answered with 503 and Retry-After.",
      valueName: "rows"))
  var queueRows = 8192

  @Option(
    help: ArgumentHelp("Rows of a request, past which it is answered with 413.", valueName: "rows"))
  var maxRows = 4096

  @Option(
    help: ArgumentHelp("Bytes of a body, past which it is answered with 413.", valueName: "bytes"))
  var maxBytes = 4 << 20

  @Option(
    help: ArgumentHelp("Connections, past which requests are answered with 503.", valueName: "n"))
  var maxConnections = 256

  @Option(
    help: ArgumentHelp(
      "Seconds in which a request must have come (408), an answer must be taken, and after which an idle connection is closed.",
      valueName: "seconds"))
  var timeout = 30

  @Option(
    help: ArgumentHelp(
      "Seconds after SIGTERM or SIGINT in which requests are still answered.", valueName: "seconds")
  )
  var stopTimeout = 30

  @Flag(help: "No line for each request on standard error.")
  var quiet = false

  @OptionGroup var threads: ThreadOptions

  func validate() throws {
    guard (0...65535).contains(port) else {
      throw ValidationError("--port \(port): give a number from 0 to 65535.")
    }
    for (name, value) in [
      ("batch-rows", batchRows), ("batch-tokens", batchTokens), ("queue-rows", queueRows),
      ("max-rows", maxRows), ("max-bytes", maxBytes), ("max-connections", maxConnections),
      ("timeout", timeout), ("stop-timeout", stopTimeout),
    ] where !(1...1 << 30).contains(value) {
      throw ValidationError("--\(name) \(value): give a number from 1 to \(1 << 30).")
    }
  }

  func run() throws {
    let model = try Ensemble(
      runs: directories.map { URL(argument: $0) }, threads: threads.count)
    if let number = model.definition.layout.predictedKeys.first(where: { Int($0) != nil }) {
      Console.message(
        "note: the run's rows have their text in column \(number), and JSON objects have names only: send text/plain instead, which is read as predict reads a .txt file"
      )
    }
    let service = PredictionService(
      model.reader,
      limits: PredictionService.Limits(
        rows: maxRows,
        queue: .init(
          batchSequences: batchRows, batchTokens: batchTokens, waitingSequences: queueRows)),
      // Beside the threads that compute: reading and writing are short.
      threads: min(2, threads.count))
    let server = Server(
      Router(model: try model.description(), bodyLimit: maxBytes), service,
      timeout: .seconds(timeout), connectionLimit: maxConnections, isQuiet: quiet)
    let url = try server.start(at: Server.Address(host: host, port: port))
    let limit = Duration.seconds(stopTimeout)
    try StopSignals.listen {
      Console.message("stopping: answering what has come")
      let left = server.stop(limit: limit)
      if left > 0 { Console.message("note: \(left) connections were given up (--stop-timeout)") }
      service.stop()
    }
    Console.message(KernelChoice.description)
    try Console.print("serving \(directories.joined(separator: ", ")) on \(url)")
    service.run { model.outputs(of: $0) }
  }
}
