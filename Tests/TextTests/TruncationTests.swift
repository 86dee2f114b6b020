import TestSupport
import Testing
import Text

@Suite struct TruncationTests {
  /// A text of so many tokens, the ids being their indices from `start` on.
  private func text(_ count: Int, from start: Int = 0) -> TokenizedText {
    TokenizedText(
      ids: (start..<start + count).map(Int32.init), spans: (0..<count).map { $0..<$0 + 1 },
      byteSpans: (0..<count).map { 3 * $0..<3 * $0 + 3 }, scalarCount: count)
  }

  /// The numbers of tokens that stay of a pair, counted in the assembled input.
  private func kept(
    _ a: Int, _ b: Int, _ budget: Int, _ truncation: Truncation, _ kind: TokenizerKind = .google
  ) throws -> [Int] {
    let tokenizer = try TokenizerFixture.tokenizer(kind, lowercase: true)
    let input = try tokenizer.assemble(
      text(a), text(b, from: 1000), limit: budget + 3, truncation: truncation)
    #expect(input.ids.count <= budget + 3)
    #expect([input.cutFirst, input.cutSecond] == [a - input.first.count, b - input.second.count])
    #expect(input.ids[input.first] == text(a).ids[..<input.first.count])
    #expect(input.ids[input.second] == text(b, from: 1000).ids[..<input.second.count])
    return [input.first.count, input.second.count]
  }

  @Test func `every policy keeps what the reference keeps`() throws {
    for c in try TokenizerFixture.shared.get().truncation.cases {
      let (a, b, n) = (c.a, c.b, c.budget)
      #expect(try kept(a, b, n, .google) == c.google)
      #expect(try kept(a, b, n, .bert4keras) == c.bert4keras)
      #expect(try .lengths(kept(a, b, n, .huggingface, .huggingface)) == c.hf_longest_first)
      for kind in [TokenizerKind.google, .huggingface] {
        let (first, second) =
          kind == .google ? (c.only_first, c.only_second) : (c.hf_only_first, c.hf_only_second)
        #expect((try? kept(a, b, n, .onlyFirst, kind)) == first, "\(c)")
        // Of a single text, only-second leaves what fits.
        let whole = kind == .huggingface && b == 0 && a <= n + 1 ? [a, 0] : second
        #expect((try? kept(a, b, n, .onlySecond, kind)) == whole, "\(c)")
      }
      #expect(((try? kept(a, b, n, .error)) == nil) == c.error)
    }
  }

  @Test func `popping tokens one by one from the longer text ends with the same lengths`() throws {
    for a in 0...12 {
      for b in 0...12 {
        for room in 0...26 {
          var (google, keras) = ((a, b), (a, b))
          while google.0 + google.1 > room {
            if google.0 > google.1 { google.0 -= 1 } else { google.1 -= 1 }
          }
          while keras.0 + keras.1 > room {
            if keras.0 >= keras.1 { keras.0 -= 1 } else { keras.1 -= 1 }
          }
          #expect(try Truncation.google.lengths(a, b, room: room) == google)
          #expect(try Truncation.bert4keras.lengths(a, b, room: room) == keras)
        }
      }
    }
  }

  @Test func `head and tail keep the indices of the reference`() throws {
    let tokenizer = try TokenizerFixture.tokenizer(.google, lowercase: true)
    for c in try TokenizerFixture.shared.get().head_tail.cases {
      let input = try tokenizer.assemble(
        text(c.tokens), limit: c.room + 2, truncation: .headTail(head: c.head))
      #expect(input.ids[input.first].map(Int.init) == c.kept)
      #expect(input.spans[input.first].map(\.lowerBound) == c.kept)
      #expect(input.cutFirst == c.tokens - c.kept.count)
    }
    let pair = try tokenizer.assemble(
      text(8), text(6, from: 100), limit: 12, truncation: .headTail(head: 2))
    #expect(pair.ids[pair.first] == [0, 1, 5, 6, 7])
    #expect(pair.ids[pair.second] == [100, 101, 104, 105])
  }

  @Test func `windows of a text and of the second of a pair are those of the reference`() throws {
    let tokenizer = try TokenizerFixture.tokenizer(.huggingface, lowercase: true)
    let fixture = try TokenizerFixture.shared.get()
    for c in fixture.windows.single {
      let windows = try tokenizer.windows(text(c.tokens), limit: c.max_length, overlap: c.stride)
      #expect(windows.map { bounds($0, $0.first) } == c.windows)
    }
    for c in fixture.windows.only_second {
      let windows = try tokenizer.windows(
        text(c.question, from: 500), text(c.context), limit: c.max_length, overlap: c.stride)
      #expect(windows.map { bounds($0, $0.second) } == c.windows)
      #expect(windows.allSatisfy { $0.first.count == c.question })
      #expect(windows.allSatisfy { $0.ids.count <= c.max_length })
    }
    for c in fixture.doc_spans.cases {
      let windows = try tokenizer.windows(
        text(1, from: 500), text(c.tokens), limit: c.room + 4, step: c.doc_stride)
      let spans = windows.map { bounds($0, $0.second) }
      #expect(spans == c.spans)
      let best = Tokenizer.bestWindows(of: c.tokens, in: spans.map { $0[0]..<$0[1] })
      #expect(best == c.best_span_of_token)
    }

    func bounds(_ input: AssembledInput, _ range: Range<Int>) -> [Int] {
      #expect(Int(input.ids[range.lowerBound]) == input.windowStart)
      return [input.windowStart, input.windowStart + range.count]
    }
  }

  @Test func `an empty text has one window`() throws {
    let tokenizer = try TokenizerFixture.tokenizer(.google, lowercase: true)
    #expect(try tokenizer.windows(text(0), limit: 8, overlap: 2).map(\.ids.count) == [2])
    #expect(try tokenizer.windows(text(3), text(0), limit: 8, overlap: 1).map(\.ids.count) == [6])
  }

  @Test(arguments: [
    Truncation.google, .bert4keras, .huggingface, .onlyFirst, .onlySecond, .headTail(head: 128),
    .error,
  ])
  func `a policy is read back from its recipe spelling`(_ policy: Truncation) {
    #expect(Truncation(rawValue: policy.rawValue) == policy)
  }

  @Test(arguments: ["", "Google", "head+tail", "head+tail(-1)", "head+tail(x)", "longest"])
  func `an unknown spelling is no policy`(_ text: String) {
    #expect(Truncation(rawValue: text) == nil)
  }

  @Test func `what cannot fit is refused with the numbers and the way out`() throws {
    let tokenizer = try TokenizerFixture.tokenizer(.google, lowercase: true)
    func message(_ body: () throws -> some Any) -> String {
      #expect(throws: TruncationError.self, performing: { _ = try body() })?.description ?? ""
    }
    #expect(
      message { try tokenizer.assemble(text(9), limit: 8, truncation: .error) }
        == "9 tokens where 6 fit, and truncation error cuts nothing: choose another truncation or a "
        + "larger maximum length")
    #expect(
      message { try tokenizer.assemble(text(9), limit: 8, truncation: .onlySecond) }
        == "9 tokens where 6 fit, and truncation only-second cuts the second text, which is "
        + "missing: choose only-first or give pairs")
    #expect(
      message { try tokenizer.assemble(text(2), text(9), limit: 8, truncation: .onlyFirst) }
        == "the second text's 9 tokens leave no room where 5 fit, and truncation only-first does "
        + "not cut it: choose google, or a larger maximum length")
    #expect(
      message { try tokenizer.assemble(text(9), limit: 8, truncation: .headTail(head: 7)) }
        == "truncation head+tail(7) keeps 7 tokens where only 6 fit: use head+tail(6) or less, or a "
        + "larger maximum length")
    #expect(
      message { try tokenizer.assemble(text(9), text(1), limit: 2, truncation: .google) }
        == "a maximum length of 2 has no room for the 3 special tokens of a pair: use a larger "
        + "maximum length")
    #expect(
      message { try tokenizer.windows(text(4), text(9), limit: 10, overlap: 3) }
        == "windows with a maximum length of 10 behind a first text of 4 tokens have room for 3 "
        + "tokens, and 3 of them overlap: use a larger maximum length or a smaller overlap")
  }

  @Test func `the report counts rows, cut rows, cut tokens and the longest row`() throws {
    let tokenizer = try TokenizerFixture.tokenizer(.google, lowercase: true)
    var (report, other) = (TruncationReport(), TruncationReport())
    report.add(try tokenizer.assemble(text(3), limit: 6, truncation: .google))
    report.add(try tokenizer.assemble(text(9), limit: 6, truncation: .google))
    other.add(try tokenizer.assemble(text(4), text(4), limit: 7, truncation: .google))
    report.add(other)
    #expect(report.description == "2 of 3 rows cut, 9 tokens lost; the longest row had 11 tokens")
  }
}
