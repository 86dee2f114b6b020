import Foundation
import NIOHTTP1
import Trainer

/// What the server has under which path.
struct Router: Sendable {
  enum Endpoint: Sendable {
    case model
    case health
    case predict(PredictionService.BodyType)
  }

  enum Route: Sendable {
    case endpoint(Endpoint)
    case refusal(Answer)
  }

  /// JSON about the model.
  let model: String
  /// Bytes of a body.
  let bodyLimit: Int

  private static let paths = "Ask for POST /predict, GET /model or GET /health."

  /// Where a request belongs, by its head alone.
  func route(_ head: HTTPRequestHead) -> Route {
    // A target may be a whole URL (RFC 9112, section 3.2.2).
    var path = Substring(head.uri.prefix { $0 != "?" })
    if let scheme = path.range(of: "://"), !path.hasPrefix("/") {
      let rest = path[scheme.upperBound...]
      path = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
    }
    // RFC 9112, section 3.2.
    if head.version == .http1_1, head.headers["Host"].count != 1 {
      return .refusal(
        .refusal(.badRequest, "A request of HTTP/1.1 has one Host header. Send it."))
    }
    func allowed(_ methods: [HTTPMethod]) -> Route {
      let list = methods.map(\.rawValue).joined(separator: ", ")
      return .refusal(
        .refusal(
          .methodNotAllowed, "\(path) answers to \(list), not to \(head.method.rawValue).",
          headers: [("Allow", list)]))
    }
    let reads = [HTTPMethod.GET, .HEAD]
    switch path {
    case "/", "/model": return reads.contains(head.method) ? .endpoint(.model) : allowed(reads)
    case "/health": return reads.contains(head.method) ? .endpoint(.health) : allowed(reads)
    case "/predict": return head.method == .POST ? predict(head) : allowed([.POST])
    default: return .refusal(.refusal(.notFound, "There is nothing here. \(Self.paths)"))
    }
  }

  private func predict(_ head: HTTPRequestHead) -> Route {
    if let length = head.headers.first(name: "Content-Length").flatMap(Int.init),
      length > bodyLimit
    {
      return .refusal(tooLarge)
    }
    let encoding = head.headers.first(name: "Content-Encoding") ?? "identity"
    guard encoding.lowercased() == "identity" else {
      return .refusal(
        .refusal(
          .unsupportedMediaType, "The body is encoded (\(encoding)). Send it as it is.",
          headers: [("Accept-Encoding", "identity")]))
    }
    let type = head.headers.first(name: "Content-Type") ?? Answer.json
    let essence = type.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces).lowercased()
    switch essence {
    case Answer.json: return .endpoint(.predict(.json))
    case Answer.lines, "application/ndjson", "application/jsonl", "application/x-jsonlines":
      return .endpoint(.predict(.jsonLines))
    case "text/plain": return .endpoint(.predict(.plainText))
    default:
      return .refusal(
        .refusal(
          .unsupportedMediaType,
          "The body's Content-Type is \(essence). Send \(Answer.json), \(Answer.lines) or text/plain (curl: --json, or -H 'Content-Type: \(Answer.json)').",
          headers: [("Accept", "\(Answer.json), \(Answer.lines), text/plain")]))
    }
  }

  var tooLarge: Answer {
    .refusal(
      .payloadTooLarge,
      "The body has more than \(bodyLimit) bytes (--max-bytes). Send the rows in several requests.")
  }
}

extension Ensemble {
  /// What `GET /model` says.
  func description() throws -> String {
    let layout = definition.layout
    func list(_ names: [String]) -> String {
      "[\(names.map(JSONText.quoted).joined(separator: ","))]"
    }
    let members = [
      ("program", "\"lockstep\""), ("version", "\(definition.version)"),
      ("task", JSONText.quoted(definition.task.rawValue)), ("labels", list(definition.labels)),
      ("columns", list(layout.predictedKeys)),
      ("maxLength", "\(definition.evaluationLength ?? definition.maxLength)"),
      ("weightsSHA256", list(try weightsDigests())),
    ]
    return "{\(members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ","))}"
  }
}
