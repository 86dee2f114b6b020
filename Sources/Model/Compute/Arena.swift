/// A flat block of floats, zeroed and 64-byte aligned: parameters, gradients or moments.
///
/// Kernels write disjoint parts of it from several threads; who writes what is the step's plan.
package final class Arena: @unchecked Sendable {
  package let base: UnsafeMutablePointer<Float>
  package let count: Int
  /// The rows of the word table (ascending) outside which a gradient's word table is zero; nil when unknown.
  ///
  /// A step touches some hundred of tens of thousands of rows. Whoever writes other rows of a gradient
  /// sets this anew.
  package var touchedRows: [Int32]?

  package convenience init(count: Int) {
    self.init(uninitialized: count)
    base.initialize(repeating: 0, count: max(count, 1))
    touchedRows = []
  }

  /// Memory of any content, for a workspace that writes before it reads.
  init(uninitialized count: Int) {
    let raw = UnsafeMutableRawPointer.allocate(
      byteCount: max(count, 1) * MemoryLayout<Float>.stride, alignment: 64)
    base = raw.bindMemory(to: Float.self, capacity: max(count, 1))
    self.count = count
  }

  deinit { base.deallocate() }

  /// The elements of `range`.
  package subscript(range: Range<Int>) -> UnsafeMutableBufferPointer<Float> {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "range \(range) of \(count) elements")
    return UnsafeMutableBufferPointer(start: base + range.lowerBound, count: range.count)
  }

  /// All elements.
  package var elements: UnsafeMutableBufferPointer<Float> { self[0..<count] }
}
