/// Comma-separated values of RFC 4180.
///
/// A field that begins with a quote ends at the next quote that is not doubled, and may hold commas and line breaks; line breaks inside it
/// are kept as they are. Spaces belong to the field.
struct CSVFields: FieldReader {
  private var offset: Int
  private var line = 1

  init(from offset: Int) { self.offset = offset }

  mutating func next(
    _ bytes: Span<UInt8>, _ source: RowSource, into fields: inout [FieldRange]
  ) -> FieldRow? {
    guard offset < bytes.count else { return nil }
    fields.removeAll(keepingCapacity: true)
    let (start, firstLine) = (offset, line)
    var fault: Fault?
    var position = start
    repeat {
      (fault, position) = field(at: position, in: bytes, into: &fields)
    } while fault == nil && position < bytes.count && bytes[position - 1] == 0x2C
    // A comma as the very last byte of the file: one more field, and it is empty.
    if fault == nil, position == bytes.count, bytes[position - 1] == 0x2C {
      fields.append(FieldRange(range: position..<position))
    }
    if fault != nil {
      // What follows on the line cannot be told apart; the next line can.
      position = bytes.firstIndex(of: 0x0A, from: position).map { $0 + 1 } ?? bytes.count
    }
    var end = position
    if end > start, bytes[end - 1] == 0x0A { end -= 1 }
    if end > start, bytes[end - 1] == 0x0D { end -= 1 }
    line += bytes.occurrences(of: 0x0A, in: start..<position)
    offset = position
    let range = start..<end
    var problem: DataProblem?
    if let fault {
      let fieldLine = firstLine + bytes.occurrences(of: 0x0A, in: start..<fault.field.lowerBound)
      problem = DataProblem(
        file: source.file, line: firstLine, column: String(fields.count + 1),
        value: bytes.excerpt(fault.field),
        rule: fault.kind.rule(line: fieldLine), remedy: fault.kind.remedy)
    } else {
      problem = source.problem(in: range, line: firstLine, of: bytes)
    }
    return FieldRow(line: firstLine, range: range, problem: problem)
  }

  /// Reads one field and steps behind the comma or line feed that ends it.
  private func field(
    at start: Int, in bytes: Span<UInt8>, into fields: inout [FieldRange]
  ) -> (Fault?, Int) {
    guard start < bytes.count, bytes[start] == 0x22 else {
      return plainField(at: start, in: bytes, into: &fields)
    }
    var (position, hasDoubled) = (start + 1, false)
    while let quote = bytes.firstIndex(of: 0x22, from: position) {
      let next = quote + 1
      if next < bytes.count, bytes[next] == 0x22 {
        hasDoubled = true
        position = next + 1
        continue
      }
      let field = FieldRange(range: (start + 1)..<quote, hasDoubledQuotes: hasDoubled)
      var end = next
      if end < bytes.count, bytes[end] == 0x0D, end + 1 == bytes.count || bytes[end + 1] == 0x0A {
        end += 1
      }
      guard end == bytes.count || bytes[end] == 0x2C || bytes[end] == 0x0A else {
        return (Fault(kind: .textAfterQuote, field: start..<min(next + 20, bytes.count)), next)
      }
      fields.append(field)
      return (nil, min(end + 1, bytes.count))
    }
    return (Fault(kind: .unclosed, field: start..<bytes.count), bytes.count)
  }

  private func plainField(
    at start: Int, in bytes: Span<UInt8>, into fields: inout [FieldRange]
  ) -> (Fault?, Int) {
    var end = start
    scan: while end < bytes.count {
      switch bytes[end] {
      case 0x2C, 0x0A: break scan
      case 0x22: return (Fault(kind: .quoteInside, field: start..<(end + 1)), end)
      default: end += 1
      }
    }
    let next = min(end + 1, bytes.count)
    let endsLine = end == bytes.count || bytes[end] == 0x0A
    if endsLine, end > start, bytes[end - 1] == 0x0D { end -= 1 }
    fields.append(FieldRange(range: start..<end))
    return (nil, next)
  }

  static let remedies = (
    tooFew: "add the missing fields, or remove the row",
    tooMany: "put every text that holds a comma in double quotes"
  )
}

extension CSVFields {
  /// A breach of RFC 4180 and the bytes that show it.
  private struct Fault {
    let kind: Kind
    let field: Range<Int>
  }

  private enum Kind {
    case unclosed, quoteInside, textAfterQuote

    func rule(line: Int) -> String {
      switch self {
      case .unclosed: "the quote opened in line \(line) is not closed before the file ends"
      case .quoteInside: "a quote inside a field that does not begin with one"
      case .textAfterQuote: "text after the quote that closes the field"
      }
    }

    var remedy: String {
      switch self {
      case .unclosed: "close the field with a quote"
      case .quoteInside: "put the whole field in quotes and double the quotes inside it"
      case .textAfterQuote: "double the quotes inside the field"
      }
    }
  }
}
