/// What a rank is doing, as it says itself.
package struct Phase {
  var name = "starting"
  var step = 0
  var since: Double
  /// When it last got on: at its start, after a collective, at each piece of something long.
  var progressed: Double
  /// The collective it waits for, and since when.
  var waiting: String?
  var waitingSince = 0.0

  package init(now: Double) { (since, progressed) = (now, now) }

  package mutating func enter(_ name: String, step: Int, now: Double) {
    self.name = name
    self.step = step
    (since, progressed) = (now, now)
  }

  package mutating func advance(now: Double) { progressed = now }

  package mutating func startWaiting(for operation: String, now: Double) -> Bool {
    guard waiting == nil else { return false }
    waiting = operation
    waitingSince = now
    return true
  }

  package mutating func stopWaiting(now: Double) {
    waiting = nil
    progressed = now
  }
}

/// A sign of life: what a rank is doing and for how long.
///
/// Fixed size.
package struct Heartbeat: Equatable {
  static let byteCount = 104
  private static let words = 5
  private static let nameBytes = 64

  var step = 0
  var phaseSeconds = 0.0
  /// Since the last progress.
  var idleSeconds = 0.0
  /// Negative when the rank is not waiting.
  var waitingSeconds = -1.0
  var name = ""

  package init(_ phase: Phase, now: Double) {
    step = phase.step
    phaseSeconds = now - phase.since
    idleSeconds = now - phase.progressed
    if let waiting = phase.waiting {
      waitingSeconds = now - phase.waitingSince
      name = "\(phase.name), waiting in \(waiting)"
    } else {
      name = phase.name
    }
  }

  /// Nil when the bytes are no heartbeat.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.byteCount else { return nil }
    let words = bytes.withUnsafeBytes { memory in
      (0..<Self.words).map {
        UInt64(littleEndian: memory.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self))
      }
    }
    guard words[4] <= UInt64(Self.nameBytes) else { return nil }
    step = Int(truncatingIfNeeded: words[0])
    phaseSeconds = Double(bitPattern: words[1])
    waitingSeconds = Double(bitPattern: words[2])
    idleSeconds = Double(bitPattern: words[3])
    let start = 8 * Self.words
    name = String(decoding: bytes[start..<start + Int(words[4])], as: UTF8.self)
  }

  package var bytes: [UInt8] {
    let text = Array(name.utf8.prefix(Self.nameBytes))
    let words = [
      UInt64(bitPattern: Int64(step)), phaseSeconds.bitPattern, waitingSeconds.bitPattern,
      idleSeconds.bitPattern, UInt64(text.count),
    ]
    var result = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
    }
    result += text
    result += [UInt8](repeating: 0, count: Self.byteCount - result.count)
    return result
  }

  var isWaiting: Bool { waitingSeconds >= 0 }
}

/// What is known of every rank: who it is, when it was last heard of, what it was doing then.
///
/// Rank 0 hears from all and judges them; the others hear from rank 0 and judge it.
package struct PhaseTable {
  package struct Entry {
    var host = ""
    var process = 0
    var lastHeard: Double
    var beat: Heartbeat?
    /// When the beat came.
    var beatTime = 0.0
    /// Age in seconds at which this rank is named next; doubles, so that a long stall is not a flood.
    var nextNotice = 0.0
  }

  /// What to say, and whether it ends the run.
  package struct Verdict {
    package var notices: [String] = []
    package var stall: String?
  }

  package private(set) var entries: [Entry]
  /// When this rank beats next.
  var nextBeat = 0.0
  /// Peers that have not taken the last beat: no second one is sent before.
  private var underWay: Set<Int> = []

  package init(ranks: Int, now: Double) {
    entries = .init(repeating: Entry(lastHeard: now), count: ranks)
  }

  func host(of rank: Int) -> String { entries[rank].host }

  mutating func rename(_ rank: Int, host: String, process: Int) {
    entries[rank].host = host
    entries[rank].process = process
  }

  mutating func heard(from rank: Int, now: Double) { entries[rank].lastHeard = now }

  package mutating func note(_ beat: Heartbeat, of rank: Int, now: Double) {
    entries[rank].beat = beat
    entries[rank].beatTime = now
    entries[rank].lastHeard = now
  }

  /// Takes `seconds` during which this rank did not look out of every age.
  mutating func forgive(_ seconds: Double) {
    for rank in entries.indices {
      entries[rank].lastHeard += seconds
      entries[rank].beatTime += seconds
    }
  }

  func isBeatUnderWay(to peer: Int) -> Bool { underWay.contains(peer) }
  mutating func startBeat(to peer: Int) { underWay.insert(peer) }
  mutating func endBeat(to peer: Int) { underWay.remove(peer) }

  func name(of rank: Int) -> String {
    let entry = entries[rank]
    return entry.host.isEmpty
      ? "rank \(rank)" : "rank \(rank) (\(entry.host), process \(entry.process))"
  }

  /// Judges `judged`, ranks that beat towards this one, at time `now`.
  ///
  /// A stall is no sign of life, or no progress while another rank waits, for more than `stall` seconds.
  package mutating func verdict(
    judged: [Int], now: Double, silence: Double, notice: Double, stall: Double
  ) -> Verdict {
    var verdict = Verdict()
    // The longest that anyone has waited: a long phase harms only when someone waits.
    let waits = entries.compactMap { entry -> Double? in
      guard let beat = entry.beat, beat.isWaiting else { return nil }
      return beat.waitingSeconds + (now - entry.beatTime)
    }
    let waiters = waits.filter { $0 > notice }.count
    let longestWait = waits.max() ?? 0
    for rank in judged {
      let entry = entries[rank]
      let silent = now - entry.lastHeard
      let age = (entry.beat?.phaseSeconds ?? 0) + (now - entry.beatTime)
      let idle = (entry.beat?.idleSeconds ?? 0) + (now - entry.beatTime)
      let doing = entry.beat.map { "\($0.name), step \($0.step)" } ?? "starting"
      if silent > silence {
        let sentence =
          "\(name(of: rank)) has given no sign of life for \(Int(silent)) s; it was last seen in \(doing)."
        if silent > stall { verdict.stall = verdict.stall ?? sentence }
        mention(rank, age: silent, first: silence, sentence, in: &verdict)
      } else if let beat = entry.beat, !beat.isWaiting, min(age, longestWait) > notice {
        let progress = idle < age ? ", its last progress \(Int(idle)) s ago" : ""
        let plural = waiters == 1 ? "1 rank waits" : "\(waiters) ranks wait"
        let sentence =
          "\(name(of: rank)) is still in \(doing), since \(Int(age)) s\(progress); \(plural) for it."
        if min(idle, longestWait) > stall { verdict.stall = verdict.stall ?? sentence }
        mention(rank, age: age, first: notice, sentence, in: &verdict)
      } else {
        entries[rank].nextNotice = 0
      }
    }
    if verdict.stall == nil, waits.count == entries.count, let least = waits.min(), least > stall {
      let list = entries.indices.map {
        "\(name(of: $0)) in \(entries[$0].beat?.name ?? "starting")"
      }
      verdict.stall = "Every rank has waited for \(Int(least)) s: \(list.joined(separator: "; "))."
    }
    return verdict
  }

  private mutating func mention(
    _ rank: Int, age: Double, first: Double, _ sentence: String, in verdict: inout Verdict
  ) {
    guard age >= entries[rank].nextNotice else { return }
    entries[rank].nextNotice = 2 * max(age, first)
    verdict.notices.append(sentence)
  }
}
