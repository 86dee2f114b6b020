/// The candidate that `name` was probably meant to be, or nil if none is near.
///
/// Case, underscores, hyphens and spaces do not count, so `learning_rate` finds `learningRate`; otherwise at most one edit in three
/// letters is forgiven. The first of equally near candidates wins.
package func suggestion(for name: String, among candidates: some Sequence<String>) -> String? {
  let wanted = letters(of: name)
  var best: (distance: Int, name: String)?
  for candidate in candidates where candidate != name {
    let other = letters(of: candidate)
    let allowed = max(1, max(wanted.count, other.count) / 3)
    // A name of one or two letters is one edit away from every other.
    guard abs(wanted.count - other.count) <= allowed else { continue }
    let distance = editDistance(wanted, other)
    guard distance <= allowed, distance < min(wanted.count, other.count) || distance == 0 else {
      continue
    }
    if distance < best?.distance ?? .max { best = (distance, candidate) }
  }
  return best?.name
}

/// What counts of a name: its scalars in lower case without separators.
private func letters(of name: String) -> [Unicode.Scalar] {
  name.unicodeScalars.flatMap { scalar -> [Unicode.Scalar] in
    switch scalar {
    case "_", "-", " ", "\u{FEFF}": []
    default: Array(scalar.properties.lowercaseMapping.unicodeScalars)
    }
  }
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
///
/// The optimal string alignment distance, in rows of `b.count + 1` cells.
package func editDistance<Element: Equatable>(_ a: [Element], _ b: [Element]) -> Int {
  var beforeLast = [Int](repeating: 0, count: b.count + 1)
  var last = Array(0...b.count)
  for i in a.indices {
    var row = last
    row[0] = i + 1
    for j in b.indices {
      let substituted = last[j] + (a[i] == b[j] ? 0 : 1)
      row[j + 1] = min(substituted, last[j + 1] + 1, row[j] + 1)
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
        row[j + 1] = min(row[j + 1], beforeLast[j - 1] + 1)
      }
    }
    (beforeLast, last) = (last, row)
  }
  return last[b.count]
}
