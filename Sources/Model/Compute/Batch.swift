/// One tokenised sequence, special tokens included.
package struct SequenceInput: Sendable, Equatable {
  /// Token ids `[S]`.
  package var ids: [Int32]
  /// Segment ids `[S]`.
  package var segments: [Int32]
  /// The example's number in its data set: dropout depends on it, and on no place in a batch.
  package var exampleID: UInt64
  /// The head's target `[C]`: one class number for softmax, `C` values otherwise; empty when unknown.
  package var target: [Float]

  package init(ids: [Int32], segments: [Int32], exampleID: UInt64, target: [Float] = []) {
    precondition(ids.count == segments.count, "\(ids.count) ids, \(segments.count) segments")
    self.ids = ids
    self.segments = segments
    self.exampleID = exampleID
    self.target = target
  }
}

/// A packed batch: sequences dealt to leaves, in leaf order, without padding.
package struct PackedBatch: Sendable {
  package let sequences: [SequenceInput]
  /// For each leaf its range of `sequences`; contiguous, possibly empty.
  package let leaves: [Range<Int>]
  /// Position of each sequence's first token; `[B + 1]`.
  package let offsets: [Int]

  package init(leaves: [[SequenceInput]]) {
    sequences = leaves.flatMap { $0 }
    var start = 0
    self.leaves = leaves.map { leaf in
      defer { start += leaf.count }
      return start..<start + leaf.count
    }
    var offsets = [0]
    for sequence in sequences { offsets.append(offsets[offsets.count - 1] + sequence.ids.count) }
    self.offsets = offsets
  }

  /// Tokens `T` of the batch.
  package var tokenCount: Int { offsets[offsets.count - 1] }
}
