import Foundation
import Model
import NIOHTTP1
import NIOPosix
import Synchronization
import Text
import Trainer

/// Answers bodies of rows: they are read on a few threads, computed together on one, and written on the few again.
final class PredictionService: Sendable {
  struct Limits: Sendable {
    var rows: Int
    var queue: PredictionQueue.Limits
  }

  /// How a body's rows are written.
  enum BodyType: Sendable {
    case json
    case jsonLines
    /// A text a line, a tab before the second, as in a `.txt` file.
    case plainText
  }

  /// A request that may be given up.
  final class Ticket: Sendable {
    fileprivate enum State {
      case waiting
      case taken(number: Int)
      case cancelled
    }
    fileprivate let state = Mutex(State.waiting)
  }

  let limits: Limits
  private let queue: PredictionQueue
  private let reader: InputReader
  private let pool: NIOThreadPool

  /// `reader` makes inputs for the model whose outputs are computed, on `threads` threads, a request on one.
  init(_ reader: InputReader, limits: Limits, threads: Int) {
    self.limits = limits
    var reader = reader
    reader.threads = 1
    self.reader = reader
    queue = PredictionQueue(limits.queue)
    pool = NIOThreadPool(numberOfThreads: threads)
    pool.start()
  }

  var load: PredictionQueue.Load { queue.load }

  /// Computes on the calling thread until `stop`.
  func run(_ outputs: ([SequenceInput]) -> [HeadOutput]) { queue.run(outputs) }

  func stop() { queue.stop() }

  /// Answers the rows of `body`; `complete` is called once, on some thread, unless the ticket is cancelled.
  func predict(
    _ body: Data, as type: BodyType, complete: @escaping @Sendable (Answer) -> Void
  ) -> Ticket {
    let ticket = Ticket()
    pool.submit { [self] _ in
      do {
        try read(body, as: type, ticket, complete)
      } catch let errors as DataErrors {
        complete(.refusal(errors))
      } catch {
        complete(.refusal(.internalServerError, "\(error)"))
      }
    }
    return ticket
  }

  /// Forgets a request whose client has gone.
  func cancel(_ ticket: Ticket) {
    let number: Int? = ticket.state.withLock { state in
      defer { state = .cancelled }
      if case .taken(let number) = state { return number }
      return nil
    }
    if let number { queue.cancel(number) }
  }

  private func read(
    _ body: Data, as type: BodyType, _ ticket: Ticket,
    _ complete: @escaping @Sendable (Answer) -> Void
  ) throws {
    // What would be refused in the end is not read first.
    if queue.load.waiting >= limits.queue.waitingSequences {
      complete(.busy)
      return
    }
    let form: JSONForm =
      switch type {
      case .json: JSONForm(of: body)
      case .jsonLines, .plainText: .lines
      }
    let name = "request"
    let rows =
      type == .plainText
      ? RowBytes(body, name: name, ending: "txt") : form.rows(body, name: name)
    let examples = try reader.examples(rows, withLabel: false)
    let count = examples.rows.count
    guard count <= limits.rows else {
      complete(
        .refusal(
          .payloadTooLarge,
          "The body has \(count) rows, a request may have \(limits.rows) (--max-rows). Send them in several requests."
        ))
      return
    }
    guard form != .object || count == 1 else {
      complete(
        .refusal(
          .badRequest,
          "The body begins with an object and has \(count). Send one object, [objects, …], or an object a line."
        ))
      return
    }
    let admission: PredictionQueue.Admission = ticket.state.withLock { state in
      if case .cancelled = state { return .stopped }
      let admission = queue.submit(examples.sequences) { [pool] outputs in
        pool.submit { _ in complete(Self.answer(examples, outputs, form)) }
      }
      if case .taken(let number) = admission { state = .taken(number: number) }
      return admission
    }
    switch admission {
    case .taken: break
    case .full: complete(.busy)
    case .stopped: complete(.stopping)
    }
  }

  private static func answer(
    _ examples: ExampleSet, _ outputs: [HeadOutput], _ form: JSONForm
  ) -> Answer {
    do {
      let answers = try examples.answers(ofRows: examples.rows.indices, from: outputs)
      return Answer(
        status: .ok, body: form.text(answers), type: form == .lines ? Answer.lines : Answer.json,
        rows: answers.count, tokens: examples.tokenCount, cutRows: examples.truncation.cutRows)
    } catch {
      return .refusal(.internalServerError, "\(error)")
    }
  }
}
