import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Trainer

/// Listens on one address and keeps the connections that came.
final class Server: Sendable {
  struct Address: Sendable {
    var host: String
    /// 0 takes a free one.
    var port: Int
  }

  let router: Router
  let service: PredictionService
  /// How long a request may take to come, an answer to be taken, and a connection to be of no use.
  let timeout: TimeAmount
  private let connectionLimit: Int
  private let isQuiet: Bool
  // Parsing and writing HTTP is little beside a prediction: one loop serves all.
  private let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  private struct State {
    var listener: (any Channel)?
    var connections: [ObjectIdentifier: any Channel] = [:]
    var isStopping = false
    /// Called when a server that is being stopped has no connections left.
    var whenEmpty: (@Sendable () -> Void)?
  }
  private let state = Mutex(State())

  init(
    _ router: Router, _ service: PredictionService, timeout: Duration, connectionLimit: Int,
    isQuiet: Bool
  ) {
    self.router = router
    self.service = service
    self.timeout = TimeAmount(timeout)
    self.connectionLimit = connectionLimit
    self.isQuiet = isQuiet
  }

  /// Begins to listen; returns the URL.
  ///
  /// - Throws: `RunError` with the code of the environment.
  func start(at address: Address) throws -> String {
    let bootstrap = ServerBootstrap(group: loops)
      .serverChannelOption(.backlog, value: 256)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      // A client may close its side behind its last request and still wait for the answer.
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { [self] channel in
        channel.eventLoop.makeCompletedFuture {
          let connection = Connection(self, isRefused: open(channel))
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(ByteNotice(connection))
          try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: true, withErrorHandling: false)
          try pipeline.addHandler(connection)
        }
      }
    let channel: any Channel
    do {
      channel = try bootstrap.bind(host: address.host, port: address.port).wait()
    } catch {
      throw Self.refusal(error, address)
    }
    state.withLock { $0.listener = channel }
    let port = channel.localAddress?.port ?? address.port
    let host = address.host.contains(":") ? "[\(address.host)]" : address.host
    return "http://\(host):\(port)"
  }

  private static func refusal(_ error: any Error, _ address: Address) -> RunError {
    func refuse(_ what: String, _ remedy: String) -> RunError {
      RunError(.environment, "\(what) \(remedy)")
    }
    switch error {
    case let error as IOError where error.errnoCode == EADDRINUSE:
      return refuse(
        "Port \(address.port) of \(address.host) is in use.",
        "Stop who listens there, or give another --port; 0 takes a free one.")
    case let error as IOError where error.errnoCode == EACCES:
      return refuse(
        "This user may not listen on port \(address.port).", "Give a --port from 1024 on.")
    case let error as IOError where error.errnoCode == EADDRNOTAVAIL:
      return refuse(
        "\(address.host) is no address of this machine.",
        "Give one of its own with --host; 0.0.0.0 stands for all of them.")
    case is SocketAddressError.UnknownHost, SocketAddressError.unknown:
      return refuse(
        "The host \(address.host) is not known.",
        "Give a name or address of this machine with --host.")
    default:
      return refuse(
        "Port \(address.port) of \(address.host) cannot be listened on: \(error).",
        "Give another --host or --port.")
    }
  }

  /// Notes a connection; returns whether there are too many.
  private func open(_ channel: any Channel) -> Bool {
    let name = ObjectIdentifier(channel)
    let (isStopping, isRefused) = state.withLock { state in
      state.connections[name] = channel
      return (state.isStopping, state.connections.count > connectionLimit)
    }
    channel.closeFuture.whenComplete { [self] _ in
      let whenEmpty: (@Sendable () -> Void)? = state.withLock { state in
        state.connections[name] = nil
        return state.isStopping && state.connections.isEmpty ? state.whenEmpty : nil
      }
      whenEmpty?()
    }
    if isStopping { channel.close(promise: nil) }
    return isRefused
  }

  /// Listens no more, answers the requests that have begun to come, and ends; what takes longer than `limit` is given up.
  ///
  /// Returns when no connection is left, with the number of those that were given up.
  func stop(limit: Duration) -> Int {
    let done = DispatchSemaphore(value: 0)
    let (listener, connections) = state.withLock { state in
      state.isStopping = true
      state.whenEmpty = { done.signal() }
      return (state.listener, Array(state.connections.values))
    }
    listener?.close(promise: nil)
    for channel in connections {
      channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }
    var left: [any Channel] = []
    if !connections.isEmpty, done.wait(timeout: .now() + limit.seconds) == .timedOut {
      left = state.withLock { Array($0.connections.values) }
      for channel in left { channel.close(promise: nil) }
    }
    return left.count
  }

  /// Writes a line on what was answered to standard error.
  func log(_ answer: Answer, method: String, target: String, elapsed: TimeAmount) {
    guard !isQuiet else { return }
    // What a client sends is not shown to a terminal as it is.
    let shown = String(
      String.UnicodeScalarView(
        target.unicodeScalars.prefix(80).map { (0x21...0x7E).contains($0.value) ? $0 : "?" }))
    let milliseconds = Double(elapsed.nanoseconds / 10_000) / 100
    Console.message(
      "\(method) \(shown)  status \(answer.status.code)  rows \(answer.rows)  tokens \(answer.tokens)  cut \(answer.cutRows)  ms \(milliseconds)"
    )
  }
}

extension Duration {
  fileprivate var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
