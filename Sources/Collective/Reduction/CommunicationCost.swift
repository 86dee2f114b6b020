/// What the exchanges cost, stated so that the engine's counters can be held against it.
///
/// `n` is the number of elements, `P` the ranks, `κ` the subtrees a rank contributes (1 where `P` is a power
/// of two), `s` the elements a rank owns (`n / P` where it divides), `w` the bytes of an element on the
/// wire (4, or 2 for bf16). Payload only: before the first payload of an operation two ranks that exchange
/// anything also exchange one header of 40 bytes. Empty messages are not sent.
package enum CommunicationCost {
  /// Messages and payload bytes of one rank for one segment.
  package struct Traffic: Sendable, Equatable {
    package var sentMessages: Int
    package var sentBytes: Int
    package var receivedBytes: Int

    package init(sentMessages: Int = 0, sentBytes: Int = 0, receivedBytes: Int = 0) {
      self.sentMessages = sentMessages
      self.sentBytes = sentBytes
      self.receivedBytes = receivedBytes
    }

    package static func + (a: Traffic, b: Traffic) -> Traffic {
      Traffic(
        sentMessages: a.sentMessages + b.sentMessages, sentBytes: a.sentBytes + b.sentBytes,
        receivedBytes: a.receivedBytes + b.receivedBytes)
    }

    package static func * (a: Traffic, times: Int) -> Traffic {
      Traffic(
        sentMessages: a.sentMessages * times, sentBytes: a.sentBytes * times,
        receivedBytes: a.receivedBytes * times)
    }
  }

  /// Recursive halving: `log₂ P` messages, `w·(n − s)` bytes out, the same in where `P` divides `n`.
  package static func treeReduceScatter(elements n: Int, ranks: Int) -> Traffic {
    let moved = 4 * (n - n / ranks)
    return Traffic(sentMessages: levels(ranks), sentBytes: moved, receivedBytes: moved)
  }

  /// Recursive doubling: `log₂ P` messages, `w·(n − s)` bytes in, the same out where `P` divides `n`.
  package static func treeAllGather(elements n: Int, ranks: Int) -> Traffic {
    treeReduceScatter(elements: n, ranks: ranks)
  }

  /// Recursive halving and doubling: `2·log₂ P` messages and `2·(P − 1)/P·w·n` bytes.
  package static func treeAllReduce(elements n: Int, ranks: Int) -> Traffic {
    treeReduceScatter(elements: n, ranks: ranks) + treeAllGather(elements: n, ranks: ranks)
  }

  /// Every rank sends each owner its slice of each of its subtrees: `κ·(P − 1)` messages, `κ·w·(n − s)`
  /// bytes out, and in `w·s` for each subtree of the others.
  package static func directReduceScatter(
    elements n: Int, ownership: LeafOwnership, rank: Int, bytesPerElement w: Int = 4
  ) -> Traffic {
    let ranks = ownership.ranks
    let own = ownership.subtrees(of: rank).count
    let others = ownership.allSubtrees.count - own
    return Traffic(
      sentMessages: own * (ranks - 1), sentBytes: own * w * (n - n / ranks),
      receivedBytes: others * w * (n / ranks))
  }

  /// Every owner sends its slice to the others: `P − 1` messages, `(P − 1)·w·s` bytes out, `w·(n − s)` in.
  package static func directAllGather(
    elements n: Int, ranks: Int, bytesPerElement w: Int = 4
  )
    -> Traffic
  {
    Traffic(
      sentMessages: ranks - 1, sentBytes: (ranks - 1) * w * (n / ranks),
      receivedBytes: w * (n - n / ranks))
  }

  /// The two halves of the direct exchange: `(κ + 1)·(P − 1)` messages.
  package static func directAllReduce(
    elements n: Int, ownership: LeafOwnership, rank: Int, bytesPerElement w: Int = 4
  ) -> Traffic {
    directReduceScatter(
      elements: n, ownership: ownership, rank: rank, bytesPerElement: w)
      + directAllGather(elements: n, ranks: ownership.ranks, bytesPerElement: w)
  }

  /// A binomial tree: a rank receives once and sends to its children, the root to `⌈log₂ P⌉` of them.
  package static func broadcast(bytes: Int, ranks: Int, rank: Int, root: Int = 0) -> Traffic {
    let place = (rank - root + ranks) % ranks
    let children = Binomial.children(of: place, ranks: ranks).count
    return Traffic(
      sentMessages: children, sentBytes: children * bytes, receivedBytes: place == 0 ? 0 : bytes)
  }

  /// Every rank sends its blob to every other: `P − 1` messages of its own length.
  package static func allGather(blobBytes: [Int], rank: Int) -> Traffic {
    let others = blobBytes.count - 1
    return Traffic(
      sentMessages: others, sentBytes: others * blobBytes[rank],
      receivedBytes: blobBytes.reduce(0, +) - blobBytes[rank])
  }

  /// Every rank sends its blob to the root: one message, none from the root.
  package static func gather(blobBytes: [Int], rank: Int, root: Int) -> Traffic {
    rank == root
      ? Traffic(receivedBytes: blobBytes.reduce(0, +) - blobBytes[root])
      : Traffic(sentMessages: 1, sentBytes: blobBytes[rank])
  }

  /// Every rank sends the root each of its parts: as many messages, none from the root.
  package static func stream(
    partBytes: [(owner: Int, bytes: Int)], rank: Int, root: Int
  ) -> Traffic {
    partBytes.filter { $0.owner != root }.reduce(Traffic()) { sum, part in
      if rank == root { return sum + Traffic(receivedBytes: part.bytes) }
      return part.owner == rank ? sum + Traffic(sentMessages: 1, sentBytes: part.bytes) : sum
    }
  }

  /// A dissemination barrier: `⌈log₂ P⌉` empty messages.
  package static func barrier(ranks: Int) -> Traffic { Traffic(sentMessages: levels(ranks)) }

  /// `⌈log₂ P⌉`.
  static func levels(_ ranks: Int) -> Int {
    var levels = 0
    while 1 << levels < ranks { levels += 1 }
    return levels
  }
}

/// The tree of a broadcast: rank 0 is the root; the parent of a rank is the rank without its lowest set bit.
enum Binomial {
  static func parent(of rank: Int) -> Int { rank & (rank - 1) }

  /// Farthest first: they have the most to pass on.
  static func children(of rank: Int, ranks: Int) -> [Int] {
    var result: [Int] = []
    var distance = 1
    while distance < ranks && (rank == 0 || distance < rank & -rank) {
      if rank + distance < ranks { result.append(rank + distance) }
      distance <<= 1
    }
    return result.reversed()
  }
}
