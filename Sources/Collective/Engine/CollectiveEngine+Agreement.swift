import Foundation

/// What ranks must share before and during a run.
extension CollectiveEngine {
  /// Tells every rank this one's host and process number, so that messages can name them.
  ///
  /// All ranks call it first.
  package func introduce() throws(CommunicationError) {
    let own = Array("\(settings.process) \(settings.host)".utf8)
    let all = try allGather(own).wait()
    progressLock.withLock {
      for (rank, bytes) in all.enumerated() {
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ", maxSplits: 1)
        guard words.count == 2, let process = Int(words[0]) else { continue }
        table.rename(rank, host: String(words[1]), process: process)
      }
    }
  }

  /// The ranks whose host has the name of this one's, this one among them, ascending.
  ///
  /// Known once they have been introduced.
  package var ranksOfThisHost: [Int] {
    progressLock.withLock { (0..<size).filter { table.host(of: $0) == table.host(of: rank) } }
  }

  /// Settles who moves messages where the settings leave it open, for ranks that compute with `threads` threads each.
  ///
  /// Without a core to spare on a host of `processors` a thread of its own takes time from computing: it is given up where all ranks
  /// are on that host. Over a network it is kept, because a link is used evenly only by who looks at it all the time (both were
  /// measured: `Documentation/Communication.md`). Ranks have been introduced; each decides for itself, and any mixture works.
  package func settleProgress(
    threads: Int, processors: Int
  ) {
    guard settings.progress == .automatic, size > 1, ranksOfThisHost.count == size,
      size * threads >= processors
    else { return }
    becomeCooperative()
  }

  /// Something every rank must hold the same value of, such as the hash of the recipe.
  package struct SharedItem: Sendable, Equatable {
    package let name: String
    package let value: String
    package init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// Compares `items` over all ranks, in order; the first one that differs is an error on every
  /// rank that says which ranks hold which value.
  ///
  /// No number in `items` may depend on the rank.
  package func agree(on items: [SharedItem]) throws(CommunicationError) {
    // Each string is preceded by its length, so that no value can look like the next name.
    let own = items.flatMap { item in
      [item.name, item.value].flatMap { text in
        Array("\(text.utf8.count):".utf8) + Array(text.utf8)
      }
    }
    let all = try allGather(own).wait().map(Self.items(from:))
    for place in 0..<(all.map(\.count).max() ?? 0) {
      let held = all.map { place < $0.count ? $0[place] : nil }
      guard held.contains(where: { $0 != held[0] }) else { continue }
      let item = held.compactMap { $0?.name }.first ?? ""
      var values: [(value: String, ranks: [Int])] = []
      for (rank, entry) in held.enumerated() {
        let value =
          entry.map { $0.name == item ? $0.value : "\($0.name) = \($0.value)" } ?? "absent"
        if let index = values.firstIndex(where: { $0.value == value }) {
          values[index].ranks.append(rank)
        } else {
          values.append((value, [rank]))
        }
      }
      throw .disagreement(
        item: item, values: values.map { "\($0.value) on \(rankList($0.ranks))" })
    }
  }

  private func rankList(_ ranks: [Int]) -> String {
    // The many are counted, the few are named with their hosts.
    ranks.count > 4
      ? "\(ranks.count) ranks (\(ranks[0]), \(ranks[1]), …)"
      : ranks.map { name(of: $0) }.joined(separator: ", ")
  }

  private static func items(from bytes: [UInt8]) -> [SharedItem] {
    var texts: [String] = []
    var rest = bytes[...]
    while let colon = rest.firstIndex(of: UInt8(ascii: ":")),
      let count = Int(String(decoding: rest[..<colon], as: UTF8.self)), count >= 0,
      count <= rest.endIndex - colon - 1
    {
      let start = colon + 1
      texts.append(String(decoding: rest[start..<start + count], as: UTF8.self))
      rest = rest[(start + count)...]
    }
    return stride(from: 0, to: texts.count - 1, by: 2).map { SharedItem(texts[$0], texts[$0 + 1]) }
  }
}
