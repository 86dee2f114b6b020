/// What this machine's kernels make of fixed inputs.
///
/// Machines whose results are equal here may still differ elsewhere; machines whose results differ cannot train together.
package enum KernelResults {
  /// The bits of every result, in a fixed order: products of each class of shapes, attention with its softmax, layer norm, GELU;
  /// forward and backward.
  ///
  /// A few milliseconds on one thread.
  package static func bits() -> [UInt32] {
    let memory = Memory()
    // The kernels have pointers into it, which keep nothing alive.
    return withExtendedLifetime(memory) {
      products(memory) + attention(memory) + firstTokens(memory) + rows(memory)
    }
  }

  /// `[outputs, inputs]` of a weight that runs on the packed kernels, with more inputs than they take at once, and of one that runs on
  /// `MicroProduct`.
  private static let weights = [(192, 768), (3, 256)]

  /// `RowProduct` with few rows (padded) and many; weight gradients, plain and folded, of leaves of three lengths.
  private static func products(_ memory: Memory) -> [UInt32] {
    var bits: [UInt32] = []
    for (outputs, inputs) in weights {
      let w = memory.numbers(outputs * inputs, salt: 11)
      for rows in [5, 37] {
        let x = memory.numbers(rows * inputs, salt: 12)
        let y = memory.numbers(rows * outputs, salt: 13)
        let dx = memory.numbers(rows * inputs, salt: 14)
        RowProduct.forward(
          rows, outputs, inputs, x.base, inputs, w.base, y.base, outputs)
        RowProduct.backward(
          rows, inputs, outputs, y.base, outputs, w.base, accumulate: true, dx.base, inputs)
        bits += y.bits + dx.bits
      }
    }
    let outputs = 48, inputs = 768
    for rows in [3, 37, 400] {
      let dy = memory.numbers(rows * outputs, salt: 15)
      let x = memory.numbers(rows * inputs, salt: 16)
      for beta: Float in [0, 1] {
        let dw = memory.numbers(outputs * inputs, salt: 17)
        MatrixProduct.multiply(
          outputs, inputs, rows, dy.base, outputs, transposeA: true, x.base, inputs, beta: beta,
          dw.base, inputs)
        bits += dw.bits
      }
    }
    return bits
  }

  /// One head of width 32 over 70 tokens: two tiles of queries, and keys that fill no whole lanes.
  private static func attention(_ memory: Memory) -> [UInt32] {
    let tokens = 70, width = 32
    let attention = Attention(width: width, scale: 1 / Float(width).squareRoot(), dropout: nil)
    let inputs = (21...24).map { memory.numbers(tokens * width, salt: $0) }
    let outputs = (0..<4).map { _ in memory.zeros(tokens * width) }
    let statistics = memory.zeros(2 * tokens)
    let scratch = memory.zeros(Attention.scratch(keys: tokens, width: width))
    let work = Attention.Work(
      queries: tokens, keys: tokens, q: inputs[0].base, ldq: width, k: inputs[1].base,
      v: inputs[2].base, ldk: width, context: outputs[0].base, ldc: width,
      maximum: statistics.base, inverse: statistics.base + tokens, stride: 1, head: 0, example: 0,
      purpose: RandomPurpose.attentionDropout.word())
    attention.forward(work, scratch: scratch.base)
    attention.backward(
      work, dContext: inputs[3].base, width, dq: outputs[1].base, width, dk: outputs[2].base,
      dv: outputs[3].base, width, scratch: scratch.base)
    return (outputs + [statistics]).flatMap(\.bits)
  }

  /// Two heads of width 32 of one [CLS] query over 37 tokens.
  private static func firstTokens(_ memory: Memory) -> [UInt32] {
    let tokens = 37, heads = 2, hidden = 64
    let c = BertConfiguration(
      vocabularySize: 1, hiddenSize: hidden, layerCount: 1, headCount: heads, intermediateSize: 1)
    let ids = [Int32](repeating: 0, count: tokens)
    let batch = PackedBatch(leaves: [[SequenceInput(ids: ids, segments: ids, exampleID: 0)]])
    let attention = Attention(
      width: c.headWidth, scale: 1 / Float(c.headWidth).squareRoot(), dropout: nil)
    let workspace = Workspace()
    let first = workspace.lay {
      FirstTokenAttention(c, batch, trains: true, drops: false, plan: &$0)
    }
    return withExtendedLifetime(workspace) {
      let gradients = first.gradients
      let x = memory.numbers(tokens * hidden, salt: 41), dx = memory.zeros(tokens * hidden)
      let rows = (42...44).map { memory.numbers(hidden, salt: $0) }
      let size = heads * hidden
      first.absorbed.update(from: memory.numbers(size, salt: 45).base, count: size)
      gradients.mixture.update(from: memory.numbers(size, salt: 46).base, count: size)
      first.forward(
        0, inputs: x.base, attention: attention, example: 0,
        purpose: RandomPurpose.attentionDropout.word(), mask: dx.base)
      first.backward(
        0, inputs: x.base, attention: attention, dContext: rows[0].base, context: rows[1].base,
        valueBias: rows[2].base)
      first.backward(0, intoInputs: dx.base)
      let results = [first.mixture, gradients.absorbed].map { Scratch(base: $0, count: size) }
      return (results + [dx]).flatMap(\.bits)
    }
  }

  /// Layer norm and both kinds of GELU on rows that fill no whole lanes.
  private static func rows(_ memory: Memory) -> [UInt32] {
    let width = 777
    let gamma = memory.numbers(width, salt: 31), beta = memory.numbers(width, salt: 32)
    let z = memory.numbers(width, salt: 33), y = memory.zeros(width)
    let dy = memory.numbers(width, salt: 34)
    let r = LayerNorm.forward(
      y: y.base, z: z.base, width: width, gamma: gamma.base, beta: beta.base, epsilon: 1e-12)
    LayerNorm.backward(
      dz: dy.base, dy: dy.base, normal: z.base, r: r, gamma: gamma.base, width: width)
    var bits = [r.bitPattern] + y.bits + dy.bits
    for kind in [BertConfiguration.Activation.geluErf, .geluTanh] {
      let x = memory.numbers(width, salt: 35), d = memory.numbers(width, salt: 36)
      // Past ±0.5, where the functions bend.
      for i in 0..<width { x.base[i] *= 12 }
      let value = memory.zeros(width)
      Gelu.forward(value.base, x: x.base, count: width, kind: kind)
      Gelu.backward(d.base, x: x.base, count: width, kind: kind)
      bits += value.bits + x.bits + d.bits
    }
    return bits
  }

  /// Memory of one result.
  private struct Scratch {
    let base: UnsafeMutablePointer<Float>
    let count: Int
    var bits: [UInt32] { UnsafeBufferPointer(start: base, count: count).map(\.bitPattern) }
  }

  /// The memory of all results, until the last is read.
  private final class Memory {
    private var blocks: [UnsafeMutablePointer<Float>] = []

    func zeros(_ count: Int) -> Scratch {
      let base = UnsafeMutablePointer<Float>.allocate(capacity: count)
      base.initialize(repeating: 0, count: count)
      blocks.append(base)
      return Scratch(base: base, count: count)
    }

    /// Numbers in [-0.5, 0.5) without structure, the same everywhere.
    func numbers(_ count: Int, salt: UInt32) -> Scratch {
      let scratch = zeros(count)
      let philox = Philox(seed: 0x10C5)
      for block in 0..<(count + 3) / 4 {
        let words = philox.block(SIMD4(UInt32(block), salt, 0, 0))
        for lane in 0..<min(4, count - 4 * block) {
          scratch.base[4 * block + lane] = Philox.unit(words[lane]) - 0.5
        }
      }
      return scratch
    }

    deinit { for block in blocks { block.deallocate() } }
  }
}
