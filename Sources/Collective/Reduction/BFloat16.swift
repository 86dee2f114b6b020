/// The upper half of a float: the optional format of the wire.
package enum BFloat16 {
  /// Rounds to nearest, ties to even; a NaN stays a NaN.
  @inline(__always) package static func round(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let rounded = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
    // Rounding could carry a NaN's payload into infinity: keep its upper half and make it quiet.
    return value.isNaN ? UInt16(truncatingIfNeeded: bits >> 16) | 0x40 : rounded
  }

  @inline(__always) package static func widen(_ value: UInt16) -> Float {
    Float(bitPattern: UInt32(value) << 16)
  }

  static func round(
    _ values: UnsafePointer<Float>, count: Int, into result: UnsafeMutablePointer<UInt16>
  ) {
    for i in 0..<count { result[i] = round(values[i]) }
  }

  static func widen(
    _ values: UnsafePointer<UInt16>, count: Int, into result: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<count { result[i] = widen(values[i]) }
  }
}
