import Foundation

/// One line a step border, fixed keys in fixed order, on whatever `write` leads to.
package final class Progress {
  private let isTerminal: Bool
  private let write: (String) -> Void
  private let totalSteps: Int
  private let firstStep: Int
  private let clock = ContinuousClock()
  private let started: ContinuousClock.Instant
  private var shown: ContinuousClock.Instant?
  private var losses: [Double] = []
  private var tokens = 0
  private var pausedSeconds = 0.0
  private var isOpen = false

  /// Shows one line that is written over again on a terminal, and otherwise a plain line every few seconds.
  ///
  /// `write` takes text, line ends included.
  package init(
    firstStep: Int, totalSteps: Int, isTerminal: Bool, write: @escaping (String) -> Void
  ) {
    self.firstStep = firstStep
    self.totalSteps = totalSteps
    self.isTerminal = isTerminal
    self.write = write
    started = clock.now
  }

  /// Notes that step `step` (counted from 1) is done; shows it if it is time or `isLast`.
  package func step(
    _ step: Int, loss: Double, learningRate: Double, norm: Double, tokens: Int, isLast: Bool
  ) {
    losses.append(loss)
    self.tokens += tokens
    let now = clock.now
    let pause = isTerminal ? 0.2 : 5
    if let shown, !isLast, (now - shown).seconds < pause { return }
    shown = now
    let seconds = max((now - started).seconds - pausedSeconds, 1e-9)
    let mean = losses.reduce(0, +) / Double(losses.count)
    losses.removeAll(keepingCapacity: true)
    let left = seconds / Double(step - firstStep) * Double(totalSteps - step)
    let line =
      "step \(step)/\(totalSteps)  loss \(Self.fixed(mean, 4))  lr \(Self.scientific(learningRate))"
      + "  norm \(Self.fixed(norm, 2))  tokens/s \(Int(Double(self.tokens) / seconds))"
      + "  left \(Self.duration(left))"
    if isTerminal {
      write("\r\u{1B}[K" + line)
      isOpen = true
    } else {
      write(line + "\n")
    }
  }

  /// Writes a line of its own.
  package func message(_ text: String) {
    if isOpen { write("\n") }
    isOpen = false
    write(text + "\n")
  }

  /// Leaves the time that `body` takes out of the speed.
  package func pausing<T>(_ body: () throws -> T) rethrows -> T {
    let start = clock.now
    defer { pausedSeconds += (clock.now - start).seconds }
    return try body()
  }

  static func fixed(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }

  static func scientific(_ value: Double) -> String { String(format: "%.2e", value) }

  /// Such as `45s`, `3m12s`, `2h05m`.
  package static func duration(_ seconds: Double) -> String {
    let whole = Int(min(max(seconds, 0), 1e9).rounded(.up))
    if whole < 60 { return "\(whole)s" }
    if whole < 3600 { return "\(whole / 60)m" + String(format: "%02ds", whole % 60) }
    return "\(whole / 3600)h" + String(format: "%02dm", whole / 60 % 60)
  }
}

extension Duration {
  /// As a number.
  package var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
