import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct ServeLimitTests {
  /// Rows that take some seconds when each is computed alone.
  private static let many =
    "[\(repeatElement("{\"text\":\"the film was very good\"}", count: 6000).joined(separator: ","))]"
  private static let slowly = ["--batch-rows", "1", "--max-rows", "6000"]

  /// Waits until the server computes.
  private static func waitUntilBusy(_ server: RunningServer) throws {
    for _ in 0..<10_000 {
      let health = try server.ask("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
      if !health.body.contains("\"waiting\":0") { return }
    }
    Issue.record("the server is never busy")
  }

  @Test func `a client that is slow is told, and one that says nothing is left`() throws {
    let server = try RunningServer(in: try ServedRun.url, ["--timeout", "1"])
    let (head, body, idle) = (try server.connect(), try server.connect(), try server.connect())
    try head.send("POST /predict HTTP/1.1\r\nHos")
    try body.send("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"text\":")
    for client in [head, body] {
      let answer = try client.response()
      #expect(answer.status == 408 && answer.body.contains("within 1 s (--timeout)"))
      #expect(answer.headers["connection"] == "close")
      #expect(try client.isClosed())
    }
    #expect(try idle.isClosed())
    #expect(try server.predict("{\"text\":\"good\"}").status == 200)
  }

  @Test func `when the queue is full further requests are to come again, and none is lost`() throws
  {
    let server = try RunningServer(
      in: try ServedRun.url, Self.slowly + ["--queue-rows", "1"])
    let client = try server.connect()
    try client.send(Client.post(Self.many))
    try Self.waitUntilBusy(server)
    let busy = try server.predict("{\"text\":\"good\"}")
    #expect(busy.status == 503 && busy.headers["retry-after"] == "1")
    #expect(busy.body.contains("--queue-rows"))
    let answer = try client.response()
    #expect(answer.status == 200)
    #expect(answer.body.components(separatedBy: "\"label\"").count == 6001)
    #expect(try server.predict("{\"text\":\"good\"}").status == 200)
  }

  @Test func `one connection too many is answered with 503`() throws {
    let server = try RunningServer(in: try ServedRun.url, ["--max-connections", "1"])
    let first = try server.connect()
    try first.send(Client.post("{\"text\":\"good\"}"))
    #expect(try first.response().status == 200)
    #expect(try server.predict("{\"text\":\"good\"}").status == 503)
    try first.send(Client.post("{\"text\":\"good\"}"))
    #expect(try first.response().status == 200)
  }

  @Test(arguments: [SIGTERM, SIGINT])
  func `a signal lets what has come be answered, and ends with 0`(signal: Int32) throws {
    let server = try RunningServer(in: try ServedRun.url, Self.slowly)
    let (client, idle) = (try server.connect(), try server.connect())
    try client.send(Client.post(Self.many))
    try Self.waitUntilBusy(server)
    server.signal(signal)
    #expect(try idle.isClosed())
    let answer = try client.response()
    #expect(answer.status == 200 && answer.headers["connection"] == "close")
    #expect(answer.body.components(separatedBy: "\"label\"").count == 6001)
    #expect(server.end() == 0)
    #expect(server.log.contains("stopping: answering what has come"))
    #expect(throws: Client.Failure.self) { try server.connect() }
  }

  @Test func `what takes longer than the time for stopping is given up`() throws {
    let server = try RunningServer(in: try ServedRun.url, Self.slowly + ["--stop-timeout", "1"])
    // The body never comes as a whole.
    let client = try server.connect()
    try client.send("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"text\":")
    _ = try server.predict("{\"text\":\"good\"}")
    #expect(server.stop() == 0)
    #expect(server.log.contains("note: 1 connections were given up (--stop-timeout)"))
    #expect(try client.isClosed())
  }

  @Test func `an address that cannot be listened on ends with 69 and a remedy`() throws {
    let server = try RunningServer(in: try ServedRun.url)
    func refused(_ options: String...) throws -> String {
      let result = try Program.run(
        ["serve", "--run", "run"] + options, in: try ServedRun.url)
      #expect(result.status == 69 && result.output.isEmpty)
      return result.messages
    }
    #expect(
      try refused("--port", "\(server.port)").contains(
        "error: Port \(server.port) of 127.0.0.1 is in use. Stop who listens there, or give another --port"
      ))
    #expect(
      try refused("--port", "0", "--host", "no host").contains("The host no host is not known."))
    #expect(
      try refused("--port", "0", "--host", "192.0.2.1").contains(
        "192.0.2.1 is no address of this machine."))
    let usage = try Program.run(
      ["serve", "--run", "run", "--port", "70000"], in: try ServedRun.url)
    #expect(usage.status == 64 && usage.messages.contains("give a number from 0 to 65535"))
    let none = try Program.run(["serve", "--run", "none"], in: try ServedRun.url)
    #expect(none.status == 65 && none.messages.contains("none does not exist"))
  }
}
