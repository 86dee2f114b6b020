/// One example: a tokenised sequence, special tokens included, or two that are encoded apart.
package struct SequenceInput: Sendable, Equatable {
  /// A second sequence that the same encoder reads by itself (siamese pairs).
  package struct Second: Sendable, Equatable {
    /// Token ids and segment ids `[S]`.
    package var ids: [Int32]
    package var segments: [Int32]

    package init(ids: [Int32], segments: [Int32]) {
      precondition(ids.count == segments.count, "\(ids.count) ids, \(segments.count) segments")
      self.ids = ids
      self.segments = segments
    }
  }

  /// Token ids `[S]`.
  package var ids: [Int32]
  /// Segment ids `[S]`.
  package var segments: [Int32]
  package var second: Second?
  /// The example's number in its data set: dropout depends on it, and on no place in a batch.
  package var exampleID: UInt64
  /// What the head learns of it, as `Head.Kind` and `Head.Loss` say; empty when unknown.
  package var target: [Float]

  package init(
    ids: [Int32], segments: [Int32], second: Second? = nil, exampleID: UInt64, target: [Float] = []
  ) {
    precondition(ids.count == segments.count, "\(ids.count) ids, \(segments.count) segments")
    self.ids = ids
    self.segments = segments
    self.second = second
    self.exampleID = exampleID
    self.target = target
  }

  /// Tokens of the example.
  package var tokenCount: Int { ids.count + (second?.ids.count ?? 0) }

  /// The example as the sequences that the encoder reads, `copies` times with dropout of their own.
  ///
  /// The two top bits of a dropout number tell them apart.
  fileprivate func parts(copies: Int) -> [SequenceInput] {
    if second == nil && copies == 1 { return [self] }
    precondition(exampleID < 1 << 30, "example \(exampleID) is past the 30 bits of its kind")
    return (0..<copies).flatMap { copy in
      var first = self
      first.second = nil
      first.exampleID |= UInt64(copy) << 30
      guard let second else { return [first] }
      let other = SequenceInput(
        ids: second.ids, segments: second.segments, exampleID: first.exampleID | 1 << 31,
        target: target)
      return [first, other]
    }
  }
}

/// A packed batch: examples dealt to leaves, in leaf order, without padding.
package struct PackedBatch: Sendable {
  /// What the encoder reads; an example's sequences are neighbours.
  package let sequences: [SequenceInput]
  /// Sequences of each example.
  package let sequencesPerExample: Int
  /// For each leaf its range of `sequences`; contiguous, possibly empty.
  package let leaves: [Range<Int>]
  /// Position of each sequence's first token; `[B + 1]`.
  package let offsets: [Int]

  /// The examples of each leaf, each `copies` times: all have a second sequence, or none has.
  package init(leaves: [[SequenceInput]], copies: Int = 1) {
    let isDouble = leaves.lazy.flatMap { $0 }.first?.second != nil
    precondition(
      leaves.allSatisfy { $0.allSatisfy { ($0.second != nil) == isDouble } },
      "examples of one and of two sequences in a batch")
    self.init(
      parts: leaves.map { $0.flatMap { $0.parts(copies: copies) } },
      perExample: copies * (isDouble ? 2 : 1))
  }

  private init(parts: [[SequenceInput]], perExample: Int) {
    sequences = parts.flatMap { $0 }
    sequencesPerExample = perExample
    var start = 0
    leaves = parts.map { leaf in
      defer { start += leaf.count }
      return start..<start + leaf.count
    }
    var offsets = [0]
    for sequence in sequences { offsets.append(offsets[offsets.count - 1] + sequence.ids.count) }
    self.offsets = offsets
  }

  /// The batch of some of its leaves.
  func leaves(_ range: Range<Int>) -> PackedBatch {
    range.count == leaves.count
      ? self
      : PackedBatch(
        parts: range.map { Array(sequences[leaves[$0]]) }, perExample: sequencesPerExample)
  }

  /// Tokens `T` of the batch.
  package var tokenCount: Int { offsets[offsets.count - 1] }
  /// Examples of the batch.
  package var exampleCount: Int { sequences.count / sequencesPerExample }

  /// The examples of leaf `leaf`.
  func examples(ofLeaf leaf: Int) -> Range<Int> {
    leaves[leaf].lowerBound / sequencesPerExample..<leaves[leaf].upperBound / sequencesPerExample
  }

  /// First example of each leaf; `[M + 1]`.
  var exampleStarts: [Int] {
    leaves.map { $0.lowerBound / sequencesPerExample } + [exampleCount]
  }

  /// What the head learns of example `example`.
  func target(_ example: Int) -> [Float] { sequences[example * sequencesPerExample].target }
}
