/// All memory of a pass, planned before it starts and reused by the next one.
///
/// The layout is written once, as code that takes pieces from a `Plan`: run without memory it
/// measures, run with memory it hands out the pieces.
final class Workspace {
  private var arena: Arena?

  /// Hands out consecutive pieces, each starting on a cache line.
  struct Plan {
    fileprivate let base: UnsafeMutablePointer<Float>?
    /// Floats taken so far.
    private(set) var used = 0

    /// A plan that only measures; its pieces must not be touched.
    static var measuring: Plan { Plan(base: nil) }

    fileprivate init(base: UnsafeMutablePointer<Float>?) { self.base = base }

    mutating func take(_ count: Int) -> UnsafeMutablePointer<Float> {
      let start = used
      used += (count + 15) / 16 * 16
      guard let base else { return Plan.nowhere }
      return base + start
    }

    private static var nowhere: UnsafeMutablePointer<Float> {
      UnsafeMutablePointer(bitPattern: 64).unsafelyUnwrapped
    }
  }

  /// Lays out memory by `layout`, growing the arena when it is too small.
  func lay<Result>(out layout: (inout Plan) -> Result) -> Result {
    var measure = Plan.measuring
    _ = layout(&measure)
    if (arena?.count ?? 0) < measure.used {
      arena = nil  // free before allocating: never two at once
      arena = Arena(uninitialized: measure.used)
    }
    var plan = Plan(base: arena?.base)
    return layout(&plan)
  }

  /// Bytes held.
  var bytes: Int { (arena?.count ?? 0) * MemoryLayout<Float>.stride }
}
