import Testing
import Trainer

@Suite struct EpochOrderTests {
  // Computed by an independent program from the definition in EpochOrder's comments.
  @Test func `orders are the same on every machine`() {
    #expect(
      EpochOrder.permutation(count: 10, seed: 42, epoch: 0) == [2, 9, 0, 1, 8, 5, 7, 6, 4, 3])
    #expect(
      EpochOrder.permutation(count: 10, seed: 42, epoch: 1) == [4, 8, 0, 9, 5, 3, 7, 1, 6, 2])
    #expect(
      EpochOrder.permutation(count: 7, seed: 0x1234_5678_9ABC_DEF0, epoch: 3)
        == [6, 0, 4, 1, 3, 5, 2])
    let long = EpochOrder.permutation(count: 100_003, seed: 7, epoch: 2)
    let hash = long.reduce(UInt64(0)) { $0 &* 31 &+ UInt64($1) }
    #expect(hash == 5_505_862_306_624_179_757)
  }

  @Test(arguments: [0, 1, 2, 3, 31, 1000]) func `an order holds every row once`(count: Int) {
    for epoch in 0..<3 {
      #expect(
        EpochOrder.permutation(count: count, seed: 5, epoch: epoch).sorted() == Array(0..<count))
    }
  }

  @Test func `seeds and epochs have orders of their own`() {
    let orders = [(0, 0), (0, 1), (1, 0), (1 << 32, 0)].map { seed, epoch in
      EpochOrder.permutation(count: 50, seed: UInt64(seed), epoch: epoch)
    }
    #expect(Set(orders).count == orders.count)
  }

  // 6,000 draws of 6 orders: each about 1,000 times, standard deviation 29.
  @Test func `every order is equally likely`() {
    var seen: [[Int]: Int] = [:]
    for epoch in 0..<6000 {
      seen[EpochOrder.permutation(count: 3, seed: 11, epoch: epoch), default: 0] += 1
    }
    #expect(seen.count == 6)
    #expect(seen.values.allSatisfy { abs($0 - 1000) < 120 })
  }
}

@Suite struct BatchPlanTests {
  @Test(arguments: [(1, 1), (7, 3), (9, 3), (5, 8), (1000, 32)], [true, false])
  func `an epoch's steps see every row once`(shape: (count: Int, batch: Int), shuffles: Bool) {
    let plan = BatchPlan(
      count: shape.count, batchSize: shape.batch, shuffles: shuffles, seed: 3)
    #expect(plan.stepsPerEpoch == (shape.count + shape.batch - 1) / shape.batch)
    var rows = BatchRows(plan)
    for epoch in 0..<2 {
      var seen: [Int] = []
      for step in 0..<plan.stepsPerEpoch {
        let batch = rows.rows(ofStep: epoch * plan.stepsPerEpoch + step)
        #expect(batch.count == shape.batch || step == plan.stepsPerEpoch - 1)
        seen += batch
      }
      #expect(seen == plan.order(ofEpoch: epoch))
      #expect(seen.sorted() == Array(0..<shape.count))
      if !shuffles { #expect(seen == Array(0..<shape.count)) }
    }
  }

  @Test func `without the short last step all steps are full`() {
    let plan = BatchPlan(count: 10, batchSize: 4, dropsLast: true, seed: 3)
    #expect(plan.stepsPerEpoch == 2)
    #expect(plan.place(ofStep: 5) == .init(epoch: 2, stepInEpoch: 1, positions: 4..<8))
    #expect(BatchPlan(count: 3, batchSize: 4, dropsLast: true, seed: 3).stepsPerEpoch == 0)
  }

  @Test func `a step's rows do not depend on the steps before it`() {
    let plan = BatchPlan(count: 23, batchSize: 4, seed: 9)
    var undisturbed = BatchRows(plan)
    let all = (0..<15).map { undisturbed.rows(ofStep: $0) }
    for start in [1, 5, 6, 11, 14] {
      var resumed = BatchRows(plan)
      #expect((start..<15).map { resumed.rows(ofStep: $0) } == Array(all[start...]))
    }
    #expect(plan.place(ofStep: 11) == .init(epoch: 1, stepInEpoch: 5, positions: 20..<23))
  }
}

@Suite struct LeafPlanTests {
  /// Lengths from 2 to 128 that look like noise.
  private static func lengths(_ count: Int) -> [Int] {
    EpochOrder.permutation(count: max(count, 127), seed: 21, epoch: count).prefix(count)
      .map { 2 + $0 % 127 }
  }

  @Test(arguments: [0, 1, 3, 7, 8, 9, 32, 257], [1, 2, 8, 64])
  func `every sequence is dealt once, in rising positions`(count: Int, leaves: Int) {
    let dealt = LeafPlan.deal(lengths: Self.lengths(count), leaves: leaves)
    #expect(dealt.count == leaves)
    #expect(dealt.joined().sorted() == Array(0..<count))
    #expect(dealt.allSatisfy { $0 == $0.sorted() })
  }

  @Test(arguments: [1, 3, 7, 8, 9, 32, 257], [2, 8, 64])
  func `aligned runs of leaves differ by one sequence's cost at most`(count: Int, leaves: Int) {
    let lengths = Self.lengths(count)
    let cost = SequenceCost(hiddenSize: 32)
    let loads = LeafPlan.deal(lengths: lengths, leaves: leaves, cost: cost).map { leaf in
      leaf.reduce(0) { $0 + cost(lengths[$1]) }
    }
    let dearest = lengths.map { cost($0) }.max() ?? 0
    var run = 1
    while run < leaves {
      let runs = stride(from: 0, to: leaves, by: run).map { loads[$0..<$0 + run].reduce(0, +) }
      #expect((runs.max() ?? 0) - (runs.min() ?? 0) <= dearest, "runs of \(run)")
      run *= 2
    }
  }

  @Test func `fewer sequences than leaves are spread over the ranks`() {
    let dealt = LeafPlan.deal(lengths: [9, 9, 9, 9], leaves: 8)
    for ranks in [2, 4] {
      let leaves = 8 / ranks
      for rank in 0..<ranks {
        let owned = dealt[rank * leaves..<(rank + 1) * leaves].reduce(0) { $0 + $1.count }
        #expect(owned == 4 / ranks)
      }
    }
  }

  @Test func `the deal depends on lengths alone`() {
    let lengths = Self.lengths(40)
    let dealt = LeafPlan.deal(lengths: lengths, leaves: 8)
    #expect(LeafPlan.deal(lengths: lengths, leaves: 8) == dealt)
    // In another order the leaves hold other positions of the same lengths.
    let order = EpochOrder.permutation(count: 40, seed: 1, epoch: 0)
    let permuted = order.map { lengths[$0] }
    let again = LeafPlan.deal(lengths: permuted, leaves: 8)
    #expect(
      again.map { $0.map { permuted[$0] }.sorted() }
        == dealt.map { $0.map { lengths[$0] }.sorted() }
    )
  }

  @Test func `cost grows with attention as well as with tokens`() {
    let cost = SequenceCost(hiddenSize: 10, intermediateSize: 30)
    #expect(cost(0) == 0 && cost(1) == 51 && cost(100) == 100 * 150)
    #expect(SequenceCost().perToken == 6 * 768)
    // One sequence of 100 costs more than two of 50.
    #expect(LeafPlan.deal(lengths: [50, 50, 100], leaves: 2, cost: cost) == [[2], [0, 1]])
  }
}
