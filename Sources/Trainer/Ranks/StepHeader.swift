import Collective

/// What every rank tells the others in a step, once its share of the gradient is summed.
struct StepHeader: Equatable {
  /// The global step.
  var step: Int
  /// A hash of the examples of the step, leaf by leaf.
  var plan: UInt64
  /// A digest of a part of the parameters, another part each step.
  var parameters: UInt64
  /// Loss sums of the rank's subtrees.
  var losses: [Double]
  /// Loss sums of the rank's leaves.
  var leafLosses: [Double]
  /// Sums of squares of the gradient in the rank's chunks; empty unless the optimizer is sharded.
  var squareSums: [Double]
  var computeSeconds: Double
  var waitSeconds: Double

  private static let fixedWords = 8

  var bytes: [UInt8] {
    let words =
      [
        UInt64(step), plan, parameters, computeSeconds.bitPattern, waitSeconds.bitPattern,
        UInt64(losses.count), UInt64(leafLosses.count), UInt64(squareSums.count),
      ] + (losses + leafLosses + squareSums).map(\.bitPattern)
    return words.withUnsafeBytes { Array($0) }
  }

  /// nil if the bytes are no header with `losses` losses of `leaves` leaves and `squareSums` sums.
  init?(_ bytes: [UInt8], losses: Int, leaves: Int, squareSums: Int) {
    guard bytes.count == 8 * (Self.fixedWords + losses + leaves + squareSums) else { return nil }
    let words = bytes.withUnsafeBytes { memory in
      (0..<bytes.count / 8).map { memory.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self) }
    }
    guard let step = Int(exactly: words[0]), words[5] == UInt64(losses),
      words[6] == UInt64(leaves), words[7] == UInt64(squareSums)
    else { return nil }
    let numbers = words[Self.fixedWords...].map { Double(bitPattern: $0) }
    self.init(
      step: step, plan: words[1], parameters: words[2], losses: Array(numbers.prefix(losses)),
      leafLosses: Array(numbers.dropFirst(losses).prefix(leaves)),
      squareSums: Array(numbers.dropFirst(losses + leaves)),
      computeSeconds: Double(bitPattern: words[3]),
      waitSeconds: Double(bitPattern: words[4]))
  }

  init(
    step: Int, plan: UInt64, parameters: UInt64, losses: [Double], leafLosses: [Double],
    squareSums: [Double], computeSeconds: Double, waitSeconds: Double
  ) {
    self.step = step
    self.plan = plan
    self.parameters = parameters
    self.losses = losses
    self.leafLosses = leafLosses
    self.squareSums = squareSums
    self.computeSeconds = computeSeconds
    self.waitSeconds = waitSeconds
  }

  /// FNV-1a over the examples' numbers and the leaves' lengths.
  static func planHash(_ leaves: [[UInt64]]) -> UInt64 {
    leaves.reduce(0xCBF2_9CE4_8422_2325) { hash, leaf in
      leaf.reduce((hash ^ UInt64(leaf.count)) &* 0x100_0000_01B3) {
        ($0 ^ $1) &* 0x100_0000_01B3
      }
    }
  }
}

/// What every rank tells the others at the border between two steps; the decisions there are functions of all of them.
struct BorderHeader: Equatable {
  /// This rank's part of the digest of the parameters.
  var digest: UInt64 = 0
  /// Whether the rank was asked to stop.
  var stops = false
  /// Whether it was asked to save a checkpoint, or knows that one is due.
  var saves = false

  var bytes: [UInt8] {
    let flags = (stops ? 1 : 0 as UInt64) | (saves ? 2 : 0)
    return [digest, flags].withUnsafeBytes { Array($0) }
  }

  init(digest: UInt64, stops: Bool, saves: Bool) {
    self.digest = digest
    self.stops = stops
    self.saves = saves
  }

  init?(_ bytes: [UInt8]) {
    guard bytes.count == 16 else { return nil }
    let words = bytes.withUnsafeBytes { memory in
      [0, 8].map { memory.loadUnaligned(fromByteOffset: $0, as: UInt64.self) }
    }
    guard words[1] < 4 else { return nil }
    self.init(digest: words[0], stops: words[1] & 1 != 0, saves: words[1] & 2 != 0)
  }

  /// What all ranks together decide.
  static func joined(_ headers: [BorderHeader]) -> BorderHeader {
    BorderHeader(
      digest: headers.reduce(0) { $0 &+ $1.digest }, stops: headers.contains(where: \.stops),
      saves: headers.contains(where: \.saves))
  }
}
