/// A tensor in a file: what the file says about it.
package struct TensorDescription: Sendable, Equatable {
  /// The name in the file.
  package let name: String
  /// Nil for types that hold no numbers Lockstep knows (strings, quantised numbers).
  package let elementType: ElementType?
  /// The type as errors and tables name it.
  package let typeName: String
  /// Row-major.
  package let shape: [Int]
  package let byteCount: Int
}

/// A file, or a set of files, that holds named tensors.
package protocol TensorSource: Sendable {
  /// The file, or the prefix of the set, as the user would name it.
  var location: String { get }
  /// In the order of the file format (names sorted by bytes for checkpoints, offsets for safetensors).
  var tensors: [TensorDescription] { get }
  /// The description of the tensor called `name`.
  func tensor(_ name: String) -> TensorDescription?
  /// Calls `body` with the tensor's bytes in order, in pieces of whole elements, after which any checksum was verified.
  func stream(
    _ tensor: TensorDescription, _ body: (UnsafeRawBufferPointer) throws -> Void) throws
}

extension TensorSource {
  /// Reads the floating-point tensor `name` into `destination`, widened or rounded to float32.
  ///
  /// Throws when a value is not finite, naming the tensor and the flat index in the file.
  package func read(_ name: String, into destination: UnsafeMutableBufferPointer<Float>) throws {
    try read(name, transposed: false, into: destination)
  }

  /// Reads a tensor; a `transposed` matrix of shape `[in, out]` in the file arrives as `[out, in]`.
  package func read(
    _ name: String, transposed: Bool, into destination: UnsafeMutableBufferPointer<Float>
  ) throws {
    guard let tensor = tensor(name) else {
      throw WeightsError(
        .missing, location, "holds no tensor \"\(name)\"", "name a file that holds it")
    }
    guard let type = tensor.elementType, type.isFloatingPoint else {
      throw WeightsError(
        .elementType, location,
        "the tensor \"\(name)\" is of type \(tensor.typeName) where floating-point numbers are expected",
        "name a file whose weights are F64, F32, F16 or BF16")
    }
    let count = tensor.byteCount / type.byteCount
    guard count == destination.count, !transposed || tensor.shape.count == 2 else {
      throw WeightsError(
        .shape, location,
        "the tensor \"\(name)\" has the shape \(tensor.shape) where \(destination.count) elements are expected",
        "name a file whose configuration fits")
    }
    let columns = transposed ? tensor.shape[1] : 1
    let rows = transposed ? tensor.shape[0] : count
    var scratch: UnsafeMutableBufferPointer<Float>?
    defer { scratch?.deallocate() }
    var index = 0
    try stream(tensor) { bytes in
      let pieceCount = bytes.count / type.byteCount
      guard pieceCount <= count - index else {
        throw WeightsError.malformed(location, "the tensor \"\(name)\" is longer than its shape")
      }
      let piece: UnsafeMutableBufferPointer<Float>
      if transposed {
        if (scratch?.count ?? 0) < pieceCount {
          scratch?.deallocate()
          scratch = .allocate(capacity: pieceCount)
        }
        piece = .init(rebasing: (scratch ?? destination)[0..<pieceCount])
      } else {
        piece = .init(rebasing: destination[index..<index + pieceCount])
      }
      type.convert(bytes, to: piece)
      if let bad = Finiteness.firstBad(UnsafeBufferPointer(piece)) {
        throw WeightsError(
          .notFinite, location,
          "the tensor \"\(name)\" holds \(piece[bad]) at flat index \(index + bad)",
          "use weights from before training diverged")
      }
      if transposed {
        Transposition.scatter(
          UnsafeBufferPointer(piece), from: index, rows: rows, columns: columns, to: destination)
      }
      index += pieceCount
    }
    guard index == count else {
      throw WeightsError.malformed(
        location, "the tensor \"\(name)\" holds \(index) of \(count) elements")
    }
  }
}

enum Finiteness {
  /// The index of the first infinity or NaN.
  static func firstBad(_ values: UnsafeBufferPointer<Float>) -> Int? {
    let mask: UInt32 = 0x7F80_0000
    var start = 0
    // Blocks without an early exit vectorise; the block that holds a bad value is searched again.
    while start < values.count {
      let end = min(start + 4096, values.count)
      var largest: UInt32 = 0
      for i in start..<end { largest = max(largest, values[i].bitPattern & mask) }
      if largest == mask { return (start..<end).first { !values[$0].isFinite } }
      start = end
    }
    return nil
  }
}

enum Transposition {
  /// Writes a run of the row-major matrix `[rows, columns]`, from flat index `start` on, to its
  /// places in the transposed `destination` `[columns, rows]`.
  @inline(__always)
  static func scatter<Element>(
    _ run: UnsafeBufferPointer<Element>, from start: Int, rows: Int, columns: Int,
    to destination: UnsafeMutableBufferPointer<Element>
  ) {
    precondition(
      destination.count == rows * columns && start + run.count <= rows * columns,
      "\(run.count) elements at \(start) of [\(rows), \(columns)] into \(destination.count)")
    guard let source = run.baseAddress, let target = destination.baseAddress else { return }
    var done = 0
    while done < run.count {
      let row = (start + done) / columns, column = (start + done) % columns
      if column > 0 || run.count - done < columns {
        // A part of a row: the start or the end of a piece.
        let count = min(columns - column, run.count - done)
        for j in 0..<count { target[(column + j) * rows + row] = source[done + j] }
        done += count
        continue
      }
      // Whole rows, in tiles of 16 × 16 so that both sides stay in the first-level cache.
      let full = (run.count - done) / columns
      for top in stride(from: 0, to: full, by: 16) {
        let bottom = min(top + 16, full)
        for left in stride(from: 0, to: columns, by: 16) {
          for j in left..<min(left + 16, columns) {
            let out = target + j * rows + row
            let from = source + done + j
            for i in top..<bottom { out[i] = from[i * columns] }
          }
        }
      }
      done += full * columns
    }
  }
}
