import Foundation

/// One physical line without its line end.
struct TextLine {
  /// Counted from 1.
  let number: Int
  /// Byte offsets in the file; neither the line feed nor one carriage return before it belongs to it.
  let range: Range<Int>
}

/// Walks a file line by line; a line ends at byte 0x0A and nowhere else.
///
/// U+2028, U+0085 and a carriage return alone are text: editors and Python's `splitlines` break lines there, and line numbers then disagree.
struct LineScanner {
  private(set) var offset: Int
  private(set) var number = 0

  init(from offset: Int) { self.offset = offset }

  /// The next line, or nil at the end; a line feed at the very end starts no further line.
  mutating func next(_ bytes: Span<UInt8>) -> TextLine? {
    guard offset < bytes.count else { return nil }
    let feed = bytes.firstIndex(of: 0x0A, from: offset) ?? bytes.count
    var end = feed
    if end > offset, bytes[end - 1] == 0x0D { end -= 1 }
    number += 1
    defer { offset = feed + 1 }
    return TextLine(number: number, range: offset..<end)
  }
}

extension Span<UInt8> {
  /// The first place of `byte` in `start ..< end` (the end of the span if nil), or nil.
  func firstIndex(of byte: UInt8, from start: Int, to end: Int? = nil) -> Int? {
    let end = end ?? count
    precondition(0 <= start && start <= end && end <= count, "\(start)..<\(end) of \(count) bytes")
    return withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress, end > start,
        let hit = memchr(base + start, Int32(byte), end - start)
      else { return nil }
      return UnsafeRawPointer(hit) - UnsafeRawPointer(base)
    }
  }

  /// How often `byte` occurs in `range`.
  func occurrences(of byte: UInt8, in range: Range<Int>) -> Int {
    var (count, start) = (0, range.lowerBound)
    while let hit = firstIndex(of: byte, from: start, to: range.upperBound) {
      count += 1
      start = hit + 1
    }
    return count
  }

  /// The bytes of `range`, which are known to be UTF-8, as text.
  func string(_ range: Range<Int>) -> String {
    String(copying: unsafe UTF8Span(unchecked: extracting(range)))
  }

  /// The bytes of `range` as text for a message; what is not UTF-8 becomes U+FFFD.
  func excerpt(_ range: Range<Int>) -> String {
    extracting(range.clamped(to: range.lowerBound..<(range.lowerBound + 400)))
      .withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
  }
}

/// What every reader of rows knows of its file.
struct RowSource {
  let file: String
  /// The longest row that is accepted, in bytes.
  let rowLimit: Int

  /// What forbids the bytes of a row, whatever the format: its length, a NUL, bytes that are not UTF-8.
  ///
  /// Other control characters are let through: the tokenizers say what becomes of them.
  func problem(in range: Range<Int>, line: Int, of bytes: Span<UInt8>) -> DataProblem? {
    if range.count > rowLimit {
      return DataProblem(
        file: file, line: line, value: bytes.excerpt(range),
        rule: "the row has \(range.count) bytes, the limit is \(rowLimit)",
        remedy: "split or remove the row")
    }
    if let place = bytes.firstIndex(of: 0, from: range.lowerBound, to: range.upperBound) {
      return problem(
        at: place, in: range, line: line, of: bytes, rule: "is NUL, which is no text",
        remedy: "remove the byte, or convert the file if it is UTF-16 (iconv -f UTF-16 -t UTF-8)")
    }
    do throws(UTF8.ValidationError) {
      _ = try UTF8Span(validating: bytes.extracting(range))
      return nil
    } catch {
      return problem(
        at: range.lowerBound + error.byteOffsets.lowerBound, in: range, line: line, of: bytes,
        rule: "is not UTF-8",
        remedy:
          "save the file as UTF-8: iconv -f GB18030 -t UTF-8 for Chinese, iconv -f WINDOWS-1252 -t UTF-8 for Western European text"
      )
    }
  }

  private func problem(
    at place: Int, in range: Range<Int>, line: Int, of bytes: Span<UInt8>, rule: String,
    remedy: String
  ) -> DataProblem {
    // A quoted CSV field may have carried the row over several lines.
    var (line, start) = (line, range.lowerBound)
    while let feed = bytes.firstIndex(of: 0x0A, from: start, to: place) {
      line += 1
      start = feed + 1
    }
    let hexadecimal = String(bytes[place], radix: 16, uppercase: true)
    let byte = "byte 0x" + (hexadecimal.utf8.count < 2 ? "0" : "") + hexadecimal
    return DataProblem(
      file: file, line: line,
      rule: "\(byte) at byte \(place - start + 1) of the line (\(place + 1) of the file) \(rule)",
      remedy: remedy)
  }
}
