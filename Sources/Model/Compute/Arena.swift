import Foundation

/// `MADV_HUGEPAGE` and `MADV_NOHUGEPAGE` (`madvise(2)`), which Swift's Glibc does not show.
private let hugePages: Int32 = 14, smallPages: Int32 = 15
/// `MADV_POPULATE_WRITE`, of Linux 5.14 and newer.
private let populateForWriting: Int32 = 23

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

  /// An arena of zeros.
  ///
  /// Of the first `partial` elements this process may use only some, as a rank does of sharded state: their memory comes in small
  /// pages, so that what is not used is not there. For the others the system is asked for huge ones.
  package convenience init(count: Int, partial: Int = 0) {
    if count >= Self.mappedCount {
      self.init(mapped: count, partial: partial)
    } else {
      self.init(allocated: count)
      base.initialize(repeating: 0, count: max(count, 1))
    }
    touchedRows = []
  }

  /// Zeros for a gradient of `table`; rows of the word table that no step touches take no memory.
  package convenience init(gradientOf table: ParameterTable) {
    self.init(
      count: table.count, partial: table[ParameterTable.wordTable]?.range.upperBound ?? 0)
  }

  /// From so many elements on memory comes from the system, page by page as it is first written: an arena of which a rank uses a share
  /// takes the memory of that share, and one that is given up is gone, whatever the heap holds beside it.
  private static let mappedCount = 1 << 18
  private let isMapped: Bool

  private init(mapped count: Int, partial: Int) {
    let bytes = count * MemoryLayout<Float>.stride
    let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory, memory != MAP_FAILED else {
      preconditionFailure("the system has no memory for \(count) elements")
    }
    // A product walks down columns that are pages apart: with small pages the address translations cost some per cent of a step.
    // Some systems give huge pages to whoever does not refuse them; one that has none ignores both, and all works with small ones.
    let page = Int(getpagesize())
    let small = (partial * MemoryLayout<Float>.stride + page - 1) / page * page
    if small > 0 { madvise(memory, min(small, bytes), smallPages) }
    if small < bytes { madvise(memory + small, bytes - small, hugePages) }
    base = memory.bindMemory(to: Float.self, capacity: count)
    self.count = count
    isMapped = true
  }

  /// Memory of any content, for a workspace that writes before it reads.
  convenience init(uninitialized count: Int) {
    if count >= Self.mappedCount {
      self.init(mapped: count, partial: 0)
    } else {
      self.init(allocated: count)
    }
  }

  private init(allocated count: Int) {
    let raw = UnsafeMutableRawPointer.allocate(
      byteCount: max(count, 1) * MemoryLayout<Float>.stride, alignment: 64)
    base = raw.bindMemory(to: Float.self, capacity: max(count, 1))
    self.count = count
    isMapped = false
  }

  deinit {
    if isMapped {
      munmap(base, count * MemoryLayout<Float>.stride)
    } else {
      base.deallocate()
    }
  }

  /// Gives the memory of the elements of `range` back where the system can take it: they are zero then, or what they were.
  ///
  /// For what another rank holds and nobody reads here.
  package func discard(_ range: Range<Int>) {
    guard isMapped, !range.isEmpty else { return }
    let page = Int(getpagesize())
    let first = (range.lowerBound * MemoryLayout<Float>.stride + page - 1) / page * page
    let end = range.upperBound * MemoryLayout<Float>.stride / page * page
    if end > first { madvise(UnsafeMutableRawPointer(base) + first, end - first, MADV_DONTNEED) }
  }

  /// Has the memory of the elements of `range`, which are read and written next, ready where the system can do that; no element changes.
  ///
  /// A page that is read before it is written is made twice: as a page of zeros that all share and, when it is written, as one of its own,
  /// of which every other core is told. That is most of a first step's update.
  package func prepareForWriting(_ range: Range<Int>) {
    guard isMapped, !range.isEmpty else { return }
    let page = Int(getpagesize())
    let first = range.lowerBound * MemoryLayout<Float>.stride / page * page
    let end = range.upperBound * MemoryLayout<Float>.stride
    // An older system knows nothing of it, and makes the pages as they are used.
    madvise(UnsafeMutableRawPointer(base) + first, end - first, populateForWriting)
  }

  /// The elements of `range`.
  package subscript(range: Range<Int>) -> UnsafeMutableBufferPointer<Float> {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "range \(range) of \(count) elements")
    return UnsafeMutableBufferPointer(start: base + range.lowerBound, count: range.count)
  }

  /// All elements.
  package var elements: UnsafeMutableBufferPointer<Float> { self[0..<count] }
}
