import Foundation
import NIOHTTP1
import Text
import Trainer

/// What is said to one request.
struct Answer: Sendable {
  static let json = "application/json"
  static let lines = "application/x-ndjson"

  var status: HTTPResponseStatus
  var body: String
  var type = Answer.json
  /// Beside those that every answer has.
  var headers: [(name: String, value: String)] = []
  // For the log.
  var rows = 0
  var tokens = 0
  /// Rows that were too long and are answered by what fits.
  var cutRows = 0

  static func ok(_ body: String) -> Answer { Answer(status: .ok, body: body + "\n") }

  /// A request that is not answered, with a sentence that says what would work.
  static func refusal(
    _ status: HTTPResponseStatus, _ sentence: String,
    headers: [(name: String, value: String)] = []
  ) -> Answer {
    Answer(
      status: status, body: "{\"error\":{\"message\":\(JSONText.quoted(sentence))}}\n",
      headers: headers)
  }

  /// Rows that are wrong: all of them in the words of `lockstep predict`, and each problem in its parts.
  static func refusal(_ errors: DataErrors) -> Answer {
    let problems = errors.problems.map { problem in
      var members: [String] = []
      func add(_ name: String, _ value: String?) {
        if let value { members.append("\"\(name)\":\(value)") }
      }
      add("line", problem.line.map(String.init))
      // A row that is no line is counted among its own kind.
      add(problem.unit.rawValue, problem.unit == .line ? nil : problem.row.map(String.init))
      add("column", problem.column.map(JSONText.quoted))
      add("value", problem.value.map(JSONText.quoted))
      add("rule", JSONText.quoted(problem.rule))
      add("remedy", JSONText.quoted(problem.remedy))
      return "{\(members.joined(separator: ","))}"
    }
    return Answer(
      status: .badRequest,
      body:
        "{\"error\":{\"message\":\(JSONText.quoted(errors.description)),\"count\":\(errors.count),\"problems\":[\(problems.joined(separator: ","))]}}\n"
    )
  }

  /// The server has more to do than it may put off.
  static let busy = refusal(
    .serviceUnavailable,
    "As many rows wait as may (--queue-rows). Send the request again after the seconds of Retry-After.",
    headers: [("Retry-After", "1")])
  static let crowded = refusal(
    .serviceUnavailable,
    "As many connections are open as may (--max-connections). Send the request again after the seconds of Retry-After.",
    headers: [("Retry-After", "1")])
  static let stopping = refusal(
    .serviceUnavailable, "The server is being stopped. Send the request to another.",
    headers: [("Retry-After", "1")])
}
