/// How a text, or a pair of texts, is made to fit.
package enum Truncation: Sendable, Equatable {
  /// From the end of the longer text, of the second if both are equal (google-research/bert
  /// `_truncate_seq_pair`, keras-bert).
  case google
  /// From the end of the longer text, of the first if both are equal (bert4keras
  /// `truncate_sequences`).
  case bert4keras
  /// As Hugging Face's fast tokenizers do `longest_first`: of two texts over half the room, the
  /// shorter gets the smaller half.
  case huggingface
  /// From the end of the first text only.
  case onlyFirst
  /// From the end of the second text only.
  case onlySecond
  /// From the middle: the first `head` tokens stay, and as many from the end as fit. In a pair,
  /// each text gets the room that `google` gives it, and is cut in its middle.
  case headTail(head: Int)
  /// Nothing is cut; a text that does not fit is an error.
  case error
}

extension Truncation: RawRepresentable {
  /// Reads a recipe's spelling: `google`, `bert4keras`, `huggingface`, `only-first`, `only-second`,
  /// `head+tail(128)` or `error`.
  package init?(rawValue: String) {
    switch rawValue {
    case "google": self = .google
    case "bert4keras": self = .bert4keras
    case "huggingface": self = .huggingface
    case "only-first": self = .onlyFirst
    case "only-second": self = .onlySecond
    case "error": self = .error
    default:
      guard rawValue.hasPrefix("head+tail("), rawValue.hasSuffix(")"),
        let head = Int(rawValue.dropFirst("head+tail(".count).dropLast()), head >= 0
      else { return nil }
      self = .headTail(head: head)
    }
  }

  package var rawValue: String {
    switch self {
    case .google: "google"
    case .bert4keras: "bert4keras"
    case .huggingface: "huggingface"
    case .onlyFirst: "only-first"
    case .onlySecond: "only-second"
    case .headTail(let head): "head+tail(\(head))"
    case .error: "error"
    }
  }
}

/// Why a text cannot be made to fit.
package struct TruncationError: Error, Equatable, CustomStringConvertible {
  package let description: String
}

extension Truncation {
  /// How many tokens stay of a single text of `count` tokens in a room for `room`.
  ///
  /// - Throws: `TruncationError`.
  package func lengths(_ count: Int, room: Int) throws -> Int {
    if count <= room { return count }
    switch self {
    case .google, .bert4keras, .huggingface, .onlyFirst: return room
    case .headTail(let head):
      try check(head: head, room: room)
      return room
    case .onlySecond:
      throw TruncationError(
        description:
          "\(count) tokens where \(room) fit, and truncation only-second cuts the second text, "
          + "which is missing: choose only-first or give pairs")
    case .error: throw Self.tooLong(count, room)
    }
  }

  /// How many tokens stay of each text of a pair in a room for `room` together.
  ///
  /// - Throws: `TruncationError`.
  package func lengths(_ first: Int, _ second: Int, room: Int) throws -> (first: Int, second: Int) {
    if first + second <= room { return (first, second) }
    let (small, large) = (room / 2, room - room / 2)
    switch self {
    case .google: return Self.share(first, second, room, halves: (large, small))
    case .bert4keras: return Self.share(first, second, room, halves: (small, large))
    case .huggingface:
      // The closed form of the Rust library: the shorter text stays whole if it is within the
      // smaller half.
      if first <= second { return first <= small ? (first, room - first) : (small, large) }
      return second <= small ? (room - second, second) : (large, small)
    case .headTail(let head):
      try check(head: head, room: room)
      return Self.share(first, second, room, halves: (large, small))
    case .onlyFirst:
      guard second < room else {
        throw Self.noRoom("only-first", other: "second", second, room)
      }
      return (room - second, second)
    case .onlySecond:
      guard first < room else {
        throw Self.noRoom("only-second", other: "first", first, room)
      }
      return (first, room - first)
    case .error: throw Self.tooLong(first + second, room)
    }
  }

  /// The token indices that stay of a text cut from `count` to `length` tokens.
  package func kept(of count: Int, length: Int) -> (head: Range<Int>, tail: Range<Int>) {
    precondition(length <= count, "\(length) tokens kept of \(count)")
    guard case .headTail(let head) = self, length < count else {
      return (0..<length, count..<count)
    }
    let front = min(head, length)
    return (0..<front, count - (length - front)..<count)
  }

  /// What popping tokens one by one from the longer text ends with: a text within its half stays
  /// whole.
  private static func share(
    _ first: Int, _ second: Int, _ room: Int, halves: (Int, Int)
  ) -> (
    first: Int, second: Int
  ) {
    if first <= halves.0 { return (first, room - first) }
    if second <= halves.1 { return (room - second, second) }
    return halves
  }

  private func check(head: Int, room: Int) throws {
    guard head <= room else {
      throw TruncationError(
        description: "truncation \(rawValue) keeps \(head) tokens where only \(room) fit: "
          + "use head+tail(\(room)) or less, or a larger maximum length")
    }
  }

  private static func tooLong(_ count: Int, _ room: Int) -> TruncationError {
    TruncationError(
      description: "\(count) tokens where \(room) fit, and truncation error cuts nothing: "
        + "choose another truncation or a larger maximum length")
  }

  private static func noRoom(
    _ policy: String, other: String, _ count: Int, _ room: Int
  )
    -> TruncationError
  {
    TruncationError(
      description: "the \(other) text's \(count) tokens leave no room where \(room) fit, and "
        + "truncation \(policy) does not cut it: choose google, or a larger maximum length")
  }
}

/// What truncation did to a set of inputs.
package struct TruncationReport: Sendable, Equatable, CustomStringConvertible {
  package private(set) var rows = 0
  package private(set) var cutRows = 0
  package private(set) var cutTokens = 0
  /// Tokens of the longest input before it was cut, special tokens included.
  package private(set) var longest = 0
  /// Numbers of the first rows that were cut, as far as they were given.
  package private(set) var firstCut: [Int] = []

  private static let shown = 5

  package init() {}

  /// Counts row `row`: one input, or two that the model reads one by one.
  package mutating func add(
    _ input: AssembledInput, _ other: AssembledInput? = nil, row: Int? = nil
  ) {
    let inputs = [input] + (other.map { [$0] } ?? [])
    count(row, cut: inputs.reduce(0) { $0 + $1.cutFirst + $1.cutSecond })
    for input in inputs {
      longest = max(longest, input.ids.count + input.cutFirst + input.cutSecond)
    }
  }

  /// Counts row `row`, which has `tokens` tokens without special ones, `cut` of which did not fit.
  package mutating func add(tokens: Int, cut: Int, row: Int? = nil) {
    count(row, cut: cut)
    longest = max(longest, tokens + 2)
  }

  private mutating func count(_ row: Int?, cut: Int) {
    rows += 1
    guard cut > 0 else { return }
    cutRows += 1
    cutTokens += cut
    if let row, firstCut.count < Self.shown { firstCut.append(row) }
  }

  /// Adds what another report counted.
  package mutating func add(_ other: TruncationReport) {
    rows += other.rows
    cutRows += other.cutRows
    cutTokens += other.cutTokens
    firstCut += other.firstCut.prefix(Self.shown - firstCut.count)
    longest = max(longest, other.longest)
  }

  package var description: String {
    "\(cutRows) of \(rows) rows cut, \(cutTokens) tokens lost; the longest row had \(longest) tokens"
  }
}
