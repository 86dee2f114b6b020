import Foundation

/// Canonical decomposition (NFD) of single scalars, without the order of marks.
///
/// The Unicode Standard, sections 3.11 and 3.12.
enum UnicodeDecomposition {
  /// The scalar's full canonical decomposition; itself if it has none.
  static func scalars(of scalar: Unicode.Scalar) -> [Unicode.Scalar] {
    let value = scalar.value
    if hangul.contains(value) { return jamo(of: value) }
    return table[value] ?? [scalar]
  }

  /// Whether the scalar's decomposition is something else than itself.
  static func exists(for scalar: Unicode.Scalar) -> Bool {
    hangul.contains(scalar.value) || table[scalar.value] != nil
  }

  /// The precomposed Hangul syllables, whose decomposition is arithmetic.
  static let hangul: ClosedRange<UInt32> = 0xAC00...0xD7A3

  private static func jamo(of syllable: UInt32) -> [Unicode.Scalar] {
    let index = syllable - hangul.lowerBound
    let trailing = index % 28
    let parts = [0x1100 + index / 588, 0x1161 + index % 588 / 28, 0x11A7 + trailing]
    return parts.prefix(trailing == 0 ? 2 : 3).compactMap(Unicode.Scalar.init)
  }

  /// The decompositions that are not arithmetic.
  ///
  /// All candidates are decomposed in one call, each on a line of its own, because a call costs far
  /// more than a scalar.
  private static let table: [UInt32: [Unicode.Scalar]] = {
    let ranges: [Range<UInt32>] = [
      0xC0..<0x3400, 0xF900..<0xFB50, 0x10000..<0x12000, 0x16000..<0x17000, 0x1D000..<0x1D200,
      0x2F800..<0x2FA20,
    ]
    let candidates = ranges.joined().compactMap(Unicode.Scalar.init)
    var lines = String.UnicodeScalarView()
    for scalar in candidates {
      lines.append(scalar)
      lines.append("\n")
    }
    var table: [UInt32: [Unicode.Scalar]] = [:]
    let decomposed = String(lines).decomposedStringWithCanonicalMapping.unicodeScalars
    for (scalar, parts) in zip(candidates, decomposed.split(separator: "\n"))
    where parts.count != 1 || parts.first != scalar {
      table[scalar.value] = Array(parts)
    }
    return table
  }()
}
