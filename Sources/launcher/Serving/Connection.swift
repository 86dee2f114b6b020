import Foundation
import NIOCore
import NIOHTTP1
import Trainer

/// One client's connection: its requests one after the other, each answered before the next is read.
///
/// All of it runs on the connection's event loop.
final class Connection: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private enum Phase {
    /// For a request; some of its bytes may be there.
    case waiting
    /// The head is there, the body comes.
    case receiving
    case answering
    /// All is said; what the client still sends is passed over, so that it reads the answer before it learns that nobody listens.
    case draining
  }

  private struct Request {
    let head: HTTPRequestHead
    let route: Router.Route
    let started: NIODeadline
    var body = ByteBuffer()
    var bodyBytes = 0
  }

  private let server: Server
  private let isRefused: Bool
  private var context: ChannelHandlerContext?
  private var phase = Phase.waiting
  private var request: Request?
  /// When the first bytes of the request came that is not complete; nil while there are none.
  private var firstBytes: NIODeadline?
  private var deadline: Scheduled<Void>?
  private var ticket: PredictionService.Ticket?
  /// Whether the client sends nothing more.
  private var isHalfClosed = false

  /// A client of `server`, or one too many (`isRefused`).
  init(_ server: Server, isRefused: Bool) {
    self.server = server
    self.isRefused = isRefused
  }

  // MARK: What happens

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    setDeadline()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    deadline?.cancel()
  }

  func channelInactive(context: ChannelHandlerContext) {
    deadline?.cancel()
    if let ticket { server.service.cancel(ticket) }
    ticket = nil
    phase = .draining
    context.fireChannelInactive()
  }

  /// Bytes of whatever kind came.
  func bytesArrived() {
    guard phase == .waiting, firstBytes == nil else { return }
    firstBytes = .now()
    setDeadline()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch (unwrapInboundIn(data), phase) {
    case (.head(let head), .waiting): begin(head)
    case (.body(let bytes), .receiving): take(bytes)
    case (.end, .receiving): endRequest()
    default: break
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard let event = event as? ChannelEvent, event == .inputClosed else {
      context.fireUserInboundEventTriggered(event)
      return
    }
    isHalfClosed = true
    if phase == .waiting || phase == .draining { context.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let error = error as? HTTPParserError, phase == .waiting || phase == .receiving else {
      // The connection is gone, or what comes behind the last request is no HTTP.
      context.close(promise: nil)
      return
    }
    switch error {
    case .unknown where isLate: send(late, closes: true)
    case .headerOverflow:
      send(
        .refusal(
          .requestHeaderFieldsTooLarge, "The head of the request is too large. Send a smaller one."),
        closes: true)
    default:
      send(
        .refusal(.badRequest, "This is not HTTP/1.1 (\(error)). Correct the request."),
        closes: true)
    }
  }

  // MARK: A request

  private func begin(_ head: HTTPRequestHead) {
    let route: Router.Route = isRefused ? .refusal(.crowded) : server.router.route(head)
    request = Request(head: head, route: route, started: firstBytes ?? .now())
    firstBytes = nil
    phase = .receiving
    let asksFirst = head.headers["Expect"].contains { $0.lowercased() == "100-continue" }
    switch route {
    // A body that nobody reads is not waited for where it is long, or has not been sent yet.
    case .refusal(let answer) where isRefused || asksFirst || answer.status == .payloadTooLarge:
      send(answer, closes: true)
    case .endpoint where asksFirst:
      let go = HTTPResponseHead(version: head.version, status: .continue)
      context?.writeAndFlush(wrapOutboundOut(.head(go)), promise: nil)
    case .endpoint, .refusal: break
    }
  }

  private func take(_ bytes: ByteBuffer) {
    guard var request else { return }
    // Held once, so that the body grows in place.
    self.request = nil
    request.bodyBytes += bytes.readableBytes
    let isTooLarge = request.bodyBytes > server.router.bodyLimit
    if !isTooLarge, case .endpoint(.predict) = request.route {
      var bytes = bytes
      request.body.writeBuffer(&bytes)
    }
    self.request = request
    if isTooLarge { send(server.router.tooLarge, closes: true) }
  }

  private func endRequest() {
    guard let request, let context else { return }
    phase = .answering
    deadline?.cancel()
    switch request.route {
    case .refusal(let answer): send(answer)
    case .endpoint(.model): send(.ok(server.router.model))
    case .endpoint(.health):
      let load = server.service.load
      send(
        .ok(
          "{\"status\":\"ready\",\"waiting\":\(load.waiting),\"computing\":\(load.computing)}"))
    case .endpoint(.predict(let type)):
      guard request.body.readableBytes > 0 else {
        send(
          .refusal(
            .badRequest,
            "The body is empty. Send rows: one object, [objects, …], or an object a line."))
        return
      }
      let loop = context.eventLoop
      let connection = NIOLoopBound(self, eventLoop: loop)
      ticket = server.service.predict(Data(request.body.readableBytesView), as: type) { answer in
        loop.execute { connection.value.finish(answer) }
      }
    }
  }

  private func finish(_ answer: Answer) {
    ticket = nil
    if phase == .answering { send(answer) }
  }

  // MARK: The answer

  /// Sends `answer` to the request at hand; `closes` if nothing that follows can be read.
  private func send(_ answer: Answer, closes: Bool = false) {
    guard let context else { return }
    let head = request?.head
    let keeps = !closes && !isHalfClosed && head?.isKeepAlive == true
    server.log(
      answer, method: head?.method.rawValue ?? "-", target: head?.uri ?? "-",
      elapsed: .now() - (request?.started ?? firstBytes ?? .now()))
    var headers = HTTPHeaders([
      ("Date", Self.date()), ("Content-Type", answer.type),
      ("Content-Length", "\(answer.body.utf8.count)"),
    ])
    for header in answer.headers { headers.add(name: header.name, value: header.value) }
    if !keeps {
      headers.add(name: "Connection", value: "close")
    } else if head?.version == .http1_0 {
      headers.add(name: "Connection", value: "keep-alive")
    }
    // Before anything is written: the pipeline hands on the next request from inside the last write.
    request = nil
    firstBytes = nil
    phase = keeps ? .waiting : .draining
    if keeps { setDeadline() } else { deadline?.cancel() }
    let response = HTTPResponseHead(
      version: head?.version ?? .http1_1, status: answer.status, headers: headers)
    context.write(wrapOutboundOut(.head(response)), promise: nil)
    if head?.method != .HEAD {
      context.write(
        wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: answer.body)))), promise: nil)
    }
    // A client that does not take its answer is not waited for.
    let loop = context.eventLoop.assumeIsolated()
    let channel = context.channel
    let patience = loop.scheduleTask(in: server.timeout) { channel.close(promise: nil) }
    context.writeAndFlush(wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete { _ in
      patience.cancel()
      guard !keeps else { return }
      channel.close(mode: .output, promise: nil)
      self.setDeadline()
    }
  }

  /// Now, as HTTP writes it (RFC 9110, section 5.6.7).
  private static func date() -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    var text = [CChar](repeating: 0, count: 40)
    // Names of days and months are English: the program sets no locale.
    let count = strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
    return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  // MARK: Patience

  /// Whether the request at hand has taken too long to come.
  private var isLate: Bool {
    guard let start = request?.started ?? firstBytes else { return false }
    return .now() - start >= server.timeout
  }

  private var late: Answer {
    .refusal(
      .requestTimeout,
      "The request did not come within \(server.timeout.nanoseconds / 1_000_000_000) s (--timeout). Send it faster, or in parts."
    )
  }

  /// Sets when the connection is given up, from now on.
  private func setDeadline() {
    deadline?.cancel()
    guard let loop = context?.eventLoop.assumeIsolated() else { return }
    let time = phase == .draining ? min(server.timeout, .seconds(2)) : server.timeout
    deadline = loop.scheduleTask(in: time) { [self] in timeOut() }
  }

  private func timeOut() {
    guard let context else { return }
    switch phase {
    case .answering: break
    case .receiving: send(late, closes: true)
    case .waiting where firstBytes != nil:
      // Half a head: only for an error of the parser does the pipeline let an answer through without a request.
      context.pipeline.fireErrorCaught(HTTPParserError.unknown)
    case .waiting, .draining: context.close(promise: nil)
    }
  }
}

/// Tells a connection of bytes before the parser has made anything of them.
final class ByteNotice: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let connection: Connection

  init(_ connection: Connection) { self.connection = connection }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    connection.bytesArrived()
    context.fireChannelRead(data)
  }
}
