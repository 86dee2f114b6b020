import Foundation
import TestSupport
import Testing

/// `lockstep serve` as a process of its own, on a free port of this machine.
///
/// Several threads may ask at a time; one starts and ends it.
final class RunningServer: @unchecked Sendable {
  let port: UInt16
  private let process: ChildProcess
  private let output: URL
  private let messages: URL

  /// Serves the run in `run` of `folder`; returns when it listens.
  init(in folder: URL, _ options: [String] = [], runs: [String] = ["run"]) throws {
    output = folder.appending(path: ".\(UUID().uuidString).out")
    messages = folder.appending(path: ".\(UUID().uuidString).err")
    for file in [output, messages] { try Data().write(to: file) }
    process = try ChildProcess(
      Program.url,
      ["serve", "--port", "0", "--threads", "1"] + runs.flatMap { ["--run", $0] } + options,
      in: folder, output: output.path, messages: messages.path)
    var found: UInt16?
    for _ in 0..<3000 where found == nil {
      let said = try String(contentsOf: output, encoding: .utf8)
      found = said.firstMatch(of: /http:\/\/127\.0\.0\.1:(\d+)\n/).flatMap { UInt16($0.1) }
      if found == nil {
        guard process.isRunning else { break }
        usleep(10_000)
      }
    }
    guard let found else {
      let said = try String(contentsOf: messages, encoding: .utf8)
      throw Client.Failure(reason: "the server does not listen: \(said)")
    }
    port = found
  }

  var log: String { (try? String(contentsOf: messages, encoding: .utf8)) ?? "" }

  func signal(_ number: Int32) { kill(process.id, number) }

  /// Waits for its end; returns the exit code, −1 if a signal ended it or it did not end.
  func end() -> Int32 { process.wait(seconds: 120) ?? -1 }

  /// Ends it; returns the exit code.
  func stop() -> Int32 {
    signal(SIGTERM)
    return end()
  }

  func connect() throws -> Client { try Client(port: port) }

  /// Sends one request on a connection of its own.
  func ask(_ request: String) throws -> Client.Response {
    let client = try connect()
    try client.send(request)
    return try client.response()
  }

  /// Asks for the predictions of `body`.
  func predict(_ body: String, type: String = "application/json") throws -> Client.Response {
    try ask(Client.post(body, type: type))
  }
}

/// A plain connection, to say what no well-behaved client would.
final class Client {
  struct Failure: Error { let reason: String }

  struct Response {
    let status: Int
    /// Names in lower case.
    let headers: [String: String]
    let body: String
  }

  private let descriptor: Int32
  private var buffer: [UInt8] = []

  init(port: UInt16) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else {
      close(descriptor)
      throw Failure(reason: String(cString: strerror(errno)))
    }
    // A server that says nothing fails a test instead of stopping it.
    var patience = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  /// A request for predictions.
  static func post(_ body: String, type: String = "application/json", more: String = "") -> String {
    "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: \(type)\r\n\(more)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) throws {
    var start = 0
    while start < bytes.count {
      let count = bytes[start...].withUnsafeBytes {
        Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Failure(reason: String(cString: strerror(errno))) }
      start += count
    }
  }

  /// Sends nothing more, but still listens.
  func finish() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Reads more; false at the end.
  private func fill() throws -> Bool {
    var part = [UInt8](repeating: 0, count: 1 << 16)
    let count = recv(descriptor, &part, part.count, 0)
    guard count >= 0 else { throw Failure(reason: String(cString: strerror(errno))) }
    buffer += part[..<count]
    return count > 0
  }

  /// Whether the server has closed the connection and says no more.
  func isClosed() throws -> Bool {
    guard buffer.isEmpty else { return false }
    return try !fill()
  }

  /// The next response; one of 1xx counts, too.
  func response(withBody: Bool = true) throws -> Response {
    let end = Array("\r\n\r\n".utf8)
    func headEnd() -> Int? {
      buffer.indices.first { buffer[$0...].starts(with: end) }
    }
    var found = headEnd()
    while found == nil {
      guard try fill() else {
        throw Failure(reason: "closed behind \(String(decoding: buffer, as: UTF8.self))")
      }
      found = headEnd()
    }
    let head = String(decoding: buffer[..<(found ?? 0)], as: UTF8.self)
    buffer.removeFirst((found ?? 0) + 4)
    let lines = head.components(separatedBy: "\r\n")
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
    }
    let length = withBody ? headers["content-length"].flatMap { Int($0) } ?? 0 : 0
    while buffer.count < length {
      guard try fill() else { throw Failure(reason: "closed inside of a body") }
    }
    let body = String(decoding: buffer[..<length], as: UTF8.self)
    buffer.removeFirst(length)
    return Response(
      status: Int(lines[0].split(separator: " ")[1]) ?? 0, headers: headers, body: body)
  }
}
