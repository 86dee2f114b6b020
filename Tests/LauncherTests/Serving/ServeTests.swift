import Foundation
import Synchronization
import TestSupport
import Testing

/// A run of the made-up task, trained once for all tests that serve it.
enum ServedRun {
  static let task = Result {
    let task = try MadeUpTask()
    let trained = try Program.run(
      ["train", "recipe.yaml", "--run", "run", "--set", "epochs=1"], in: task.url)
    try #require(trained.status == 0, "\(trained.messages)")
    return Holder(url: task.url, task: task)
  }

  /// Keeps the folder.
  struct Holder: @unchecked Sendable {
    let url: URL
    let task: MadeUpTask
  }

  static var url: URL { get throws { try task.get().url } }
}

/// Texts of many lengths, some past the model's 24 tokens.
private let texts: [String] = (0..<40).map { i in
  let words = ["the", "very", "good", "film", "bad", "movie", "is", "was", "北", "\\\"book\\\""]
  return (0...(i * 7 % 31)).map { words[($0 * 3 + i) % words.count] }.joined(separator: " ")
}

private let rows = texts.map { "{\"text\":\"\($0)\"}" }

/// What `lockstep predict` writes for `rows`, a line each.
private func predicted(_ runs: [String]) throws -> [String] {
  let folder = try ServedRun.url
  let name = UUID().uuidString
  try Data(rows.map { $0 + "\n" }.joined().utf8).write(
    to: folder.appending(path: "\(name).jsonl"))
  let result = try Program.run(
    ["predict", "--input", "\(name).jsonl", "--output", "\(name).out"]
      + runs.flatMap { ["--run", $0] }, in: folder)
  try #require(result.status == 0, "\(result.messages)")
  return try String(contentsOf: folder.appending(path: "\(name).out"), encoding: .utf8)
    .split(separator: "\n").map(String.init)
}

@Suite(.serialized) struct ServeTests {
  @Test(arguments: [["run"], ["run", "run"]])
  func `the answer for a row is the line of predict, whatever is computed beside it`(
    runs: [String]
  ) throws {
    let lines = try predicted(runs)
    #expect(lines.count == rows.count && Set(lines).count > 20)
    let server = try RunningServer(in: try ServedRun.url, runs: runs)
    // One after the other: each row is computed alone.
    for (row, line) in zip(rows, lines) {
      let answer = try server.predict(row)
      #expect(answer.status == 200 && answer.body == line + "\n")
      #expect(answer.headers["content-type"] == "application/json")
    }
    let spread = try server.predict("{\n  \"text\":\n    \"\(texts[3])\"\n}\n")
    #expect(spread.body == lines[3] + "\n")
    let array = try server.predict("[\(rows.joined(separator: ", "))]")
    #expect(array.body == "[\(lines.joined(separator: ","))]\n")
    for type in ["application/json", "application/x-ndjson; charset=utf-8"] {
      let answer = try server.predict(rows.joined(separator: "\n"), type: type)
      #expect(answer.body == lines.map { $0 + "\n" }.joined())
      #expect(answer.headers["content-type"] == "application/x-ndjson")
    }
    let plain = try server.predict("the very good film\n", type: "text/plain")
    #expect(plain.body == (try server.predict("{\"text\":\"the very good film\"}")).body)
    // All at once, and wrong ones among them: who is computed with whom is up to the moment.
    let wrong = Mutex<[String]>([])
    DispatchQueue.concurrentPerform(iterations: 16) { number in
      for turn in 0..<10 {
        let first = (number * 5 + turn * 3) % 30, part = first..<first + 1 + (number + turn) % 10
        let isBad = turn % 4 == 3
        let body = (isBad ? ["{\"text\":null}"] : []) + rows[part]
        let answer = try? server.predict("[\(body.joined(separator: ","))]")
        let expected = "[\(lines[part].joined(separator: ","))]\n"
        if isBad ? answer?.status != 400 : answer?.body != expected {
          wrong.withLock { $0.append("\(part): \(answer.map { "\($0)" } ?? "nothing")") }
        }
      }
    }
    #expect(wrong.withLock { $0 } == [])
    #expect(server.stop() == 0)
  }

  @Test func `the model and its health are told, and each request has a line`() throws {
    let server = try RunningServer(in: try ServedRun.url)
    let model = try server.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    let object = try #require(
      try JSONSerialization.jsonObject(with: Data(model.body.utf8)) as? [String: Any])
    #expect(object["task"] as? String == "classification")
    #expect(object["labels"] as? [String] == ["neg", "pos"])
    #expect(object["columns"] as? [String] == ["text"] && object["maxLength"] as? Int == 24)
    let sum = try Program.shell("sha256sum run/best/model.safetensors", in: try ServedRun.url)
    #expect(object["weightsSHA256"] as? [String] == [String(sum.output.prefix(64))])
    #expect(
      try server.ask("GET http://x/model?a=b HTTP/1.1\r\nHost: x\r\n\r\n").body == model.body)
    let health = try server.ask("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(health.headers["date"]?.wholeMatch(of: /\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT/) != nil)
    #expect(health.status == 200 && health.body.contains("\"status\":\"ready\""))
    _ = try server.predict("{\"text\":\"\(String(repeating: "good ", count: 60))\"}")
    #expect(server.stop() == 0)
    #expect(server.log.contains("GET /health  status 200  rows 0  tokens 0  cut 0  ms "))
    #expect(server.log.contains("POST /predict  status 200  rows 1  tokens 24  cut 1  ms "))
    let quiet = try RunningServer(in: try ServedRun.url, ["--quiet"])
    _ = try quiet.predict(rows[0])
    #expect(quiet.stop() == 0 && !quiet.log.contains("POST"))
  }

  @Test func `a request that is wrong says what and where, and the connection goes on`() throws {
    let server = try RunningServer(in: try ServedRun.url)
    let client = try server.connect()
    func refused(_ body: String, _ type: String = "application/json") throws -> String {
      try client.send(Client.post(body, type: type))
      let answer = try client.response()
      #expect(answer.status == 400)
      let object = try JSONSerialization.jsonObject(with: Data(answer.body.utf8))
      let error = try #require((object as? [String: Any])?["error"] as? [String: Any])
      return try #require(error["message"] as? String)
    }
    #expect(try refused("").hasPrefix("The body is empty."))
    #expect(try refused(" \n ").contains("request: "))
    #expect(try refused("{\"text\":\"go").contains("request:1: "))
    #expect(
      try refused("{\"txt\":\"good\"}")
        == "request:1: column \"text\": the object has no such key, it has \"txt\": did you mean \"txt\"?"
    )
    #expect(
      try refused("{\"text\":[1]}")
        == "request:1: column \"text\": \"[1]\": the value is an array: give a string, a number or a boolean"
    )
    #expect(try refused("[]").contains("the array has no elements"))
    #expect(try refused("7").contains("request:1: "))
    #expect(
      try refused("{\"text\":\"a\",\n\"b\":1}, {\"text\":\"b\"}").contains("has 2. Send one object")
    )
    #expect(try refused(String(repeating: "[", count: 100_000)).contains("request"))
    #expect(
      try refused("{\"text\":\"a\"}\n{\"text\":null}\n", "application/x-ndjson")
        == "request:2: column \"text\": the value is null: give a string, a number or a boolean")
    let head =
      "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
    try client.send(Array(head.utf8) + Array("{\"text\":\"".utf8) + [0xFF] + Array("\"}".utf8))
    let bytes = try client.response()
    #expect(bytes.status == 400 && bytes.body.contains("byte 0xFF at byte 10 of the line"))
    // The parts of a problem, for programs.
    try client.send(Client.post("[{\"text\":\"a\"},{\"text\":null}]"))
    let parts = try client.response().body
    #expect(
      parts.contains(
        "\"count\":1,\"problems\":[{\"line\":1,\"element\":2,\"column\":\"text\",\"rule\":\"the value is null\",\"remedy\":\"give a string, a number or a boolean\"}]"
      ), "\(parts)")
    try client.send(Client.post(rows[0]))
    #expect(try client.response().status == 200)
  }

  @Test func `paths, methods, types and sizes that are not served have their status`() throws {
    let server = try RunningServer(
      in: try ServedRun.url, ["--max-bytes", "1000", "--max-rows", "3"])
    let client = try server.connect()
    func answer(_ request: String) throws -> Client.Response {
      try client.send(request)
      return try client.response()
    }
    #expect(try answer("GET /x HTTP/1.1\r\nHost: x\r\n\r\n").status == 404)
    let post = try answer("POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    #expect(post.status == 405 && post.headers["allow"] == "GET, HEAD")
    let get = try answer("GET /predict HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(get.status == 405 && get.headers["allow"] == "POST")
    let form = try answer(Client.post(rows[0], type: "application/x-www-form-urlencoded"))
    #expect(form.status == 415 && form.body.contains("curl: --json"))
    #expect(try answer(Client.post("x", more: "Content-Encoding: gzip\r\n")).status == 415)
    #expect(try answer("GET /health HTTP/1.1\r\n\r\n").status == 400)
    let many = try answer(Client.post("[\(rows[0..<4].joined(separator: ","))]"))
    #expect(many.status == 413 && many.body.contains("The body has 4 rows"))
    try client.send("HEAD /model HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(try client.response(withBody: false).headers["content-length"] != "0")
    // A body that is too long is refused before it comes: the client has sent none of it.
    let long = try server.connect()
    try long.send(
      "POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
    let refusal = try long.response()
    #expect(refusal.status == 413 && refusal.headers["connection"] == "close")
    #expect(try long.isClosed())
    // One that does not say its length, when it is past the limit.
    let chunked = try server.connect()
    let chunk = "3e9\r\n\(String(repeating: " ", count: 1001))\r\n"
    try chunked.send(
      "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\(chunk)")
    #expect(try chunked.response().status == 413)
    let garbage = try server.ask("GARBAGE\r\n\r\n")
    #expect(garbage.status == 400 && garbage.headers["connection"] == "close")
    let header = String(repeating: "a", count: 100_000)
    #expect(try server.ask("GET / HTTP/1.1\r\nHost: x\r\nA: \(header)\r\n\r\n").status == 431)
  }

  @Test func `requests on one connection are answered in their order`() throws {
    let server = try RunningServer(in: try ServedRun.url)
    let client = try server.connect()
    // In one piece, the last without its end.
    let health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    try client.send(Client.post(rows[1]) + health + Client.post("{}") + "GET /x HT")
    #expect(try client.response().body.contains("probabilities"))
    #expect(try client.response().body.contains("ready"))
    #expect(try client.response().status == 400)
    try client.send("TP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    let last = try client.response()
    #expect(last.status == 404 && last.headers["connection"] == "close")
    #expect(try client.isClosed())
    // A client that asks before it sends, and closes its side behind the request.
    let careful = try server.connect()
    try careful.send(
      "POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: \(rows[0].utf8.count)\r\n\r\n"
    )
    #expect(try careful.response().status == 100)
    try careful.send(rows[0])
    careful.finish()
    #expect(try careful.response().status == 200)
    #expect(try careful.isClosed())
    let old = try server.connect()
    try old.send("GET /health HTTP/1.0\r\n\r\n")
    #expect(try old.response().status == 200)
    #expect(try old.isClosed())
  }
}
