/// One input of the model: `[CLS] first [SEP]` and, for a pair, `second [SEP]`.
package struct AssembledInput: Sendable, Equatable {
  package var ids: [Int32] = []
  /// 0 up to the first `[SEP]`, 1 behind it.
  package var segments: [Int32] = []
  /// For each token its range in the scalars of the text it comes from; empty for special tokens.
  package var spans: [Range<Int>] = []
  /// For each token its range in the UTF-8 bytes of the text it comes from; empty for special
  /// tokens.
  package var byteSpans: [Range<Int>] = []
  /// Tokens of each text that did not fit.
  package var cutFirst = 0, cutSecond = 0
  /// Where the tokens of each text stand in `ids`; the second is empty without a pair.
  package var first = 0..<0, second = 0..<0
  /// For a window, the index of its first token among the tokens of the windowed text; else 0.
  package var windowStart = 0
}

extension Tokenizer {
  /// Joins a text or a pair to one input of at most `limit` tokens, special tokens included.
  ///
  /// An empty second text makes a pair with an empty half, except in the Hugging Face dialect,
  /// which takes it for no second text.
  ///
  /// - Throws: `TruncationError` if it does not fit and the truncation forbids the cut.
  package func assemble(
    _ first: TokenizedText, _ second: TokenizedText? = nil, limit: Int, truncation: Truncation
  ) throws -> AssembledInput {
    let second = pairHalf(second)
    let room = try room(limit, pair: second != nil)
    var result = AssembledInput()
    if let second {
      let lengths = try truncation.lengths(first.count, second.count, room: room)
      let keptFirst = truncation.kept(of: first.count, length: lengths.first)
      let keptSecond = truncation.kept(of: second.count, length: lengths.second)
      append(first, keptFirst.head, keptFirst.tail, second: false, to: &result)
      append(second, keptSecond.head, keptSecond.tail, second: true, to: &result)
      result.cutSecond = second.count - lengths.second
      result.cutFirst = first.count - lengths.first
    } else {
      let length = try truncation.lengths(first.count, room: room)
      let kept = truncation.kept(of: first.count, length: length)
      append(first, kept.head, kept.tail, second: false, to: &result)
      result.cutFirst = first.count - length
    }
    return result
  }

  /// Cuts a text into windows of at most `limit` tokens, neighbours having `overlap` tokens in
  /// common.
  ///
  /// This is Hugging Face's `stride`. The last window ends with the text and may be shorter.
  ///
  /// - Throws: `TruncationError` if the limit leaves less room than the overlap needs.
  package func windows(_ text: TokenizedText, limit: Int, overlap: Int) throws -> [AssembledInput] {
    let room = try windowRoom(limit, before: 0, pair: false, overlap: overlap)
    return Self.windowRanges(of: text.count, room: room, step: room - overlap).map { range in
      var result = AssembledInput()
      append(text, range, range.upperBound..<range.upperBound, second: false, to: &result)
      result.windowStart = range.lowerBound
      return result
    }
  }

  /// Cuts the second text of a pair into windows, each behind the whole first text.
  ///
  /// - Throws: `TruncationError` if the first text leaves less room than the overlap needs.
  package func windows(
    _ first: TokenizedText, _ second: TokenizedText, limit: Int, overlap: Int
  )
    throws -> [AssembledInput]
  {
    let room = try windowRoom(limit, before: first.count, pair: true, overlap: overlap)
    return windows(first, second, room: room, step: room - overlap)
  }

  /// Cuts the second text of a pair into windows as Google's `run_squad.py` does, where neighbours
  /// start `step` tokens apart.
  ///
  /// A step larger than a window is taken for the window's length, so that no token is lost.
  ///
  /// - Throws: `TruncationError` if the first text leaves no room.
  package func windows(
    _ first: TokenizedText, _ second: TokenizedText, limit: Int, step: Int
  )
    throws -> [AssembledInput]
  {
    precondition(step > 0, "a step of \(step) tokens from window to window, where 1 is the least")
    let room = try windowRoom(limit, before: first.count, pair: true, overlap: 0)
    return windows(first, second, room: room, step: min(step, room))
  }

  private func windows(
    _ first: TokenizedText, _ second: TokenizedText, room: Int, step: Int
  )
    -> [AssembledInput]
  {
    Self.windowRanges(of: second.count, room: room, step: step).map { range in
      var result = AssembledInput()
      append(first, 0..<first.count, first.count..<first.count, second: false, to: &result)
      append(second, range, range.upperBound..<range.upperBound, second: true, to: &result)
      result.windowStart = range.lowerBound
      return result
    }
  }

  /// The windows of `count` tokens: each starts `step` behind the one before, the first that
  /// reaches the end is the last.
  package static func windowRanges(of count: Int, room: Int, step: Int) -> [Range<Int>] {
    precondition(room >= step && step > 0, "windows of \(room) tokens, \(step) apart")
    var ranges = [0..<min(room, count)]
    while let last = ranges.last, last.upperBound < count {
      let start = last.lowerBound + step
      ranges.append(start..<min(start + room, count))
    }
    return ranges
  }

  /// For each of `count` tokens the window in which it has most context, the first of equals.
  ///
  /// The rule of google-research/bert `run_squad.py`, `_check_is_max_context`: the lesser of the
  /// tokens to the left and right, plus a hundredth of the window's length.
  package static func bestWindows(of count: Int, in windows: [Range<Int>]) -> [Int] {
    // In hundredths, so that equal scores are equal.
    var best = Array(repeating: (score: -1, window: 0), count: count)
    for (index, window) in windows.enumerated() {
      for token in window {
        let context = min(token - window.lowerBound, window.upperBound - 1 - token)
        let score = 100 * context + window.count
        if score > best[token].score { best[token] = (score, index) }
      }
    }
    return best.map(\.window)
  }

  private func pairHalf(_ second: TokenizedText?) -> TokenizedText? {
    guard let second, kind != .huggingface || second.scalarCount > 0 else { return nil }
    return second
  }

  private func room(_ limit: Int, pair: Bool) throws -> Int {
    let special = pair ? 3 : 2
    guard limit >= special else {
      throw TruncationError(
        description:
          "a maximum length of \(limit) has no room for the \(special) special tokens of "
          + "\(pair ? "a pair" : "a text"): use a larger maximum length")
    }
    return limit - special
  }

  private func windowRoom(_ limit: Int, before: Int, pair: Bool, overlap: Int) throws -> Int {
    precondition(overlap >= 0, "windows that overlap by \(overlap) tokens")
    let room = try room(limit, pair: pair) - before
    guard room > overlap else {
      let question = pair ? " behind a first text of \(before) tokens" : ""
      throw TruncationError(
        description:
          "windows with a maximum length of \(limit)\(question) have room for \(max(0, room)) tokens, "
          + "and \(overlap) of them overlap: use a larger maximum length or a smaller overlap")
    }
    return room
  }

  private func append(
    _ text: TokenizedText, _ head: Range<Int>, _ tail: Range<Int>, second: Bool,
    to result: inout AssembledInput
  ) {
    if !second { special(vocabulary.classification) }
    let start = result.ids.count
    for part in [head, tail] where !part.isEmpty {
      result.ids += text.ids[part]
      result.spans += text.spans[part]
      result.byteSpans += text.byteSpans[part]
    }
    if second {
      result.second = start..<result.ids.count
    } else {
      result.first = start..<result.ids.count
    }
    special(vocabulary.separator)
    result.segments += Array(
      repeating: second ? 1 : 0, count: result.ids.count - result.segments.count)

    func special(_ id: Int32) {
      result.ids.append(id)
      result.spans.append(0..<0)
      result.byteSpans.append(0..<0)
    }
  }
}
