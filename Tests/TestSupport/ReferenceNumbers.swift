/// Numbers nested to any depth, flattened row by row.
package struct Numbers: Decodable {
  package let values: [Double]

  package init(from decoder: any Decoder) throws {
    if let number = try? decoder.singleValueContainer().decode(Double.self) {
      values = [number]
    } else {
      values = try decoder.singleValueContainer().decode([Numbers].self).flatMap(\.values)
    }
  }

  /// The same in single precision.
  package var floats: [Float] { values.map(Float.init) }
}

/// A tensor's numbers in TensorFlow's layout: dense kernels are transposed.
package func tensorFlowLayout(_ values: [Float], shape: [Int], transposed: Bool) -> [Float] {
  guard transposed else { return values }
  let (rows, columns) = (shape[0], shape[1])
  return (0..<columns).flatMap { j in (0..<rows).map { values[$0 * columns + j] } }
}

/// `‖a − b‖ / ‖b‖`.
package func relativeDistance(_ a: [Float], _ b: [Double]) -> Double {
  var difference = 0.0, norm = 0.0
  for (x, y) in zip(a, b) {
    difference += (Double(x) - y) * (Double(x) - y)
    norm += y * y
  }
  return (difference / norm).squareRoot()
}
