import Collective
import Testing

/// What all ranks must share is compared before anything else travels.
@Suite(.serialized) struct HandshakeTests {
  typealias Item = CollectiveEngine.SharedItem

  private func errors(ranks: Int, items: @escaping @Sendable (Int) -> [Item]) throws -> [String] {
    try onRanks(ranks) { engine in
      do {
        try engine.agree(on: items(engine.rank))
        return ""
      } catch { return "\(error)" }
    }
  }

  @Test(arguments: 1...5) func `equal items agree, whatever is in them`(ranks: Int) throws {
    let items = [Item("recipe", "1:a"), Item("", ""), Item("data", "ü\n7:x"), Item("recipe", "b")]
    #expect(try errors(ranks: ranks) { _ in items } == .init(repeating: "", count: ranks))
    #expect(try errors(ranks: ranks) { _ in [] } == .init(repeating: "", count: ranks))
  }

  @Test func `the first item that differs is named with its values and ranks, on every rank`()
    throws
  {
    let all = try errors(ranks: 3) { rank in
      [
        Item("recipe", "ab12"), Item("vocabulary", rank == 1 ? "f00" : "ba5"),
        Item("kernels", "\(rank)"),
      ]
    }
    let sentence =
      "The ranks disagree about vocabulary: ba5 on rank 0, rank 2; f00 on rank 1. Make it the same on every rank."
    #expect(all == [sentence, sentence, sentence])
  }

  @Test func `many ranks with one value are counted and the odd one is named`() throws {
    let all = try errors(ranks: 6) { [Item("data", $0 == 4 ? "y" : "x")] }
    #expect(
      all[0]
        == "The ranks disagree about data: x on 5 ranks (0, 1, …); y on rank 4. Make it the same on every rank."
    )
  }

  @Test func `an item that a rank does not have is a disagreement`() throws {
    let all = try errors(ranks: 2) {
      $0 == 0 ? [Item("a", "1"), Item("b", "2")] : [Item("a", "1")]
    }
    #expect(
      all[1]
        == "The ranks disagree about b: 2 on rank 0; absent on rank 1. Make it the same on every rank."
    )
  }
}
