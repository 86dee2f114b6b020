import Foundation
import Trainer

/// Standard input, output and error of this process.
enum Console {
  /// Writes a line to standard error; a closed one is no reason to stop.
  static func message(_ text: String) { write(text + "\n") }

  /// Writes `text` to standard error as it is.
  static func write(_ text: String) {
    try? FileDescriptorOutput.write(Data(text.utf8), to: 2, name: "standard error")
  }

  static var isTerminal: Bool { isatty(2) == 1 }

  /// Writes `text` to standard output.
  static func print(_ text: String) throws {
    try FileDescriptorOutput.write(Data((text + "\n").utf8), to: 1, name: "standard output")
  }
}

/// The lines of standard input, in batches of what is there.
///
/// Lines end at byte 0x0A; a carriage return before it is dropped. A batch ends when no more input is
/// waiting, so that a program which writes a line and reads the answer is not kept waiting.
struct LineReader {
  struct Line {
    /// Counted from 1.
    let number: Int
    let text: String
  }

  private var buffer: [UInt8] = []
  private var start = 0
  private var number = 0
  private var isAtEnd = false

  /// The next lines, at most `limit`; nil at the end.
  ///
  /// - Throws: `RunError` naming the line that is not UTF-8.
  mutating func next(limit: Int) throws -> [Line]? {
    var lines: [Line] = []
    while lines.count < limit {
      if let end = buffer[start...].firstIndex(of: 0x0A) {
        lines.append(try line(buffer[start..<end]))
        start = end + 1
      } else if isAtEnd {
        if start < buffer.count {
          lines.append(try line(buffer[start...]))
          start = buffer.count
        }
        break
      } else if lines.isEmpty || Self.isInputWaiting {
        try fill()
      } else {
        break
      }
    }
    return lines.isEmpty ? nil : lines
  }

  private mutating func fill() throws {
    buffer.removeFirst(start)
    start = 0
    let size = 1 << 16
    let old = buffer.count
    buffer.append(contentsOf: repeatElement(0, count: size))
    var count = -1
    repeat {
      count = buffer.withUnsafeMutableBytes { read(0, $0.baseAddress.map { $0 + old }, size) }
    } while count < 0 && errno == EINTR
    guard count >= 0 else {
      throw RunError(
        .inputOutput, "standard input cannot be read: \(String(cString: strerror(errno))).")
    }
    buffer.removeLast(size - count)
    isAtEnd = count == 0
  }

  private static var isInputWaiting: Bool {
    var descriptor = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
    return poll(&descriptor, 1, 0) > 0
  }

  private mutating func line(_ bytes: ArraySlice<UInt8>) throws -> Line {
    number += 1
    let bytes = bytes.last == 0x0D ? bytes.dropLast() : bytes
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw RunError(
        .data, "standard input:\(number): the line is not valid UTF-8. Convert it to UTF-8.")
    }
    return Line(number: number, text: text)
  }
}
