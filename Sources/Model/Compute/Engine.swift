/// Forward and backward passes of one model over packed batches.
package final class Engine {
  package let configuration: BertConfiguration
  package let head: Head?
  package let table: ParameterTable
  package let pool: ThreadPool

  package init(configuration: BertConfiguration, head: Head?, pool: ThreadPool) {
    self.configuration = configuration
    self.head = head
    self.table = ParameterTable(configuration, head: head)
    self.pool = pool
  }

  /// The sum of a step's losses, undivided.
  package struct StepLoss: Sendable, Equatable {
    /// Sum over the batch's sequences of each one's loss, folded by the canonical tree over leaves.
    package var numerator: Double
  }

  /// What makes a step's dropout: nil switches it off.
  package struct Randomness: Sendable {
    package var seed: UInt64
    /// The global step.
    package var step: Int
    package init(seed: UInt64, step: Int) {
      self.seed = seed
      self.step = step
    }
  }

  /// Writes the gradient of the *summed* loss of `batch` (undivided) into `gradient`.
  ///
  /// - Parameters:
  ///   - trainable: one flag for each of `table.parameters`; the gradient of a frozen tensor is zero
  ///     and costs nothing.
  ///   - leavesAtOnce: leaves computed together (a power of two); fewer need less memory and give the same bits.
  package func gradient(
    of batch: PackedBatch, parameters: Arena, into gradient: Arena, randomness: Randomness?,
    trainable: [Bool]? = nil, leavesAtOnce: Int? = nil
  ) -> StepLoss {
    fatalError("the engine has not landed")
  }

  /// The head's outputs (logits, or values) for each sequence, `[B][C]`, without dropout. A sequence's
  /// numbers do not depend on its neighbours. Batches are formed inside.
  package func outputs(of sequences: [SequenceInput], parameters: Arena) -> [[Float]] {
    fatalError("the engine has not landed")
  }

  /// The output of layer `layer` (0: embeddings; nil: the last) for each sequence, `[B][S·H]`.
  package func hiddenStates(
    of sequences: [SequenceInput], layer: Int? = nil, parameters: Arena
  ) -> [[Float]] {
    fatalError("the engine has not landed")
  }

  /// The pooler's output `tanh(W [CLS] + b)` for each sequence, `[B][H]`; needs a table with a pooler.
  package func pooled(of sequences: [SequenceInput], parameters: Arena) -> [[Float]] {
    fatalError("the engine has not landed")
  }

  /// Loss of each output row as the head computes it (for evaluation), undivided.
  package static func loss(of outputs: [Float], target: [Float], head: Head) -> Double {
    fatalError("the engine has not landed")
  }
}
