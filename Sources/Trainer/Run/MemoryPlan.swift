import Collective
import Model

/// What a run will take on one rank, known before its first step.
package struct MemoryPlan: Sendable, Equatable {
  /// Leaves computed together.
  package let leavesAtOnce: Int
  /// Whether layers are computed again in backward instead of being kept.
  package let recomputes: Bool
  /// Parameters, gradient and two moments.
  package let stateBytes: Int
  /// Activations and partial sums of the largest step of the run.
  package let stepBytes: Int

  /// What the process held when the plan was made: program, libraries and rows.
  package let heldBytes: Int

  package var totalBytes: Int { stateBytes + stepBytes }
  /// What the process will hold at most.
  package var peakBytes: Int { heldBytes + totalBytes }

  /// Chooses as many leaves at once as fit into `limit` bytes, and only where not even one fits, to compute layers again in
  /// backward; or what the recipe says.
  ///
  /// - Throws: `RunError` if not even one leaf at a time fits.
  package init(
    _ run: PreparedRun, engine: Engine, limit: Int, held: Int = 0, group: RankGroup? = nil,
    isSharded: Bool = false
  ) throws {
    heldBytes = held
    let recipe = run.recipe
    let subtrees = group?.subtrees.map(\.leaves) ?? [0..<recipe.batch.leaves]
    let gradientBytes = run.gradientBytes
    stateBytes = Self.stateBytes(run, group, isSharded: isSharded)
    let steps = run.largestSteps().map { rows in
      let leaves = run.leaves(of: rows.map { run.train.sequences[$0] })
      return subtrees.map {
        PackedBatch(leaves: Array(leaves[$0]), copies: run.definition.head.copies)
      }
    }
    var choices: [Int] = []
    if let fixed = recipe.batch.leavesAtOnce {
      choices = [fixed]
    } else {
      var size = recipe.batch.leaves
      while size >= 1 {
        choices.append(size)
        size /= 2
      }
    }
    // Leaf by leaf costs a few percent of the time, computing layers again a third.
    let evaluated =
      [run.dev, run.test].compactMap { $0 }.map { set in
        engine.inferenceBytes(of: group?.share(of: set.sequences) ?? set.sequences)
      }.max() ?? 0
    let ways = recipe.batch.recomputes.map { [$0] } ?? [false, true]
    let needs = ways.flatMap { recomputes in
      choices.map { size in
        let bytes = steps.flatMap { batches in
          batches.map {
            engine.workingBytes(
              of: $0, leavesAtOnce: size, recomputes: recomputes, gradientBytes: gradientBytes,
              inferenceBytes: evaluated)
          }
        }
        return (size: size, recomputes: recomputes, bytes: bytes.max() ?? 0)
      }
    }
    let state = stateBytes
    if let choice = needs.first(where: { state + $0.bytes <= limit }) {
      (leavesAtOnce, recomputes, stepBytes) = choice
      return
    }
    let least = needs.min { $0.bytes < $1.bytes }
    throw RunError(
      .environment,
      "The run needs \(Self.text(state + (least?.bytes ?? 0))) of memory and may use \(Self.text(limit)). "
        + "Lower data.maxLength or batch.size, use a smaller model, or raise memoryLimit.")
  }

  /// Parameters, the sum of each subtree, and two moments: all of them where the optimizer is whole.
  ///
  /// A moving average is whole at rank 0, which collects it for evaluations; what is evaluated is a copy.
  private static func stateBytes(
    _ run: PreparedRun, _ group: RankGroup?, isSharded: Bool
  ) -> Int {
    let whole = run.table.count * MemoryLayout<Float>.stride
    let gradient = run.gradientBytes
    // The best model is scored from a gradient's memory.
    let best = run.test == nil ? 0 : whole - gradient
    let chunks = (run.table.count + Optimizer.chunkSize - 1) / Optimizer.chunkSize
    let ranks = isSharded ? group?.size ?? 1 : 1
    let share = Double((chunks + ranks - 1) / ranks) / Double(chunks)
    let training = run.recipe.training, subtrees = group?.subtrees.count ?? 1
    // LAMB reads and writes every element, and so does whoever cannot go through the word table row by row.
    let readsAll =
      run.optimizer.method.adaptsLayers || Optimizer.WordTable(run.table) == nil
    let moment = readsAll ? whole : gradient
    let average =
      training.ema == nil
      ? 0 : whole + (group?.isRoot == false ? Int(Double(whole) * share) : whole)
    let adversary = training.adversarial == nil ? 0 : subtrees * run.touchedWordBytes
    // The rows that are sent lie side by side.
    let words = Double(run.configuration.vocabularySize * run.configuration.hiddenSize * 4)
    let sent =
      isSharded
      ? min(Double(run.touchedWordBytes), UpdatedParameters.rowsShare * words) : 0
    // The others' parts of a checkpoint.
    let window =
      isSharded && ranks > 1 && group?.isRoot == true
      ? PartStream.windowParts * Optimizer.chunkSize * MemoryLayout<Float>.stride : 0
    return whole + subtrees * gradient + adversary + 2 * Int(Double(moment) * share) + average
      + Int(sent) + best + window
  }

  /// Such as `812 MB`, `3.1 GB`.
  package static func text(_ bytes: Int) -> String {
    bytes < 1_000_000_000
      ? "\((bytes + 999_999) / 1_000_000) MB" : "\(Progress.fixed(Double(bytes) / 1e9, 1)) GB"
  }
}

extension PreparedRun {
  /// The word table's rows that the run's steps touch, in pages: elsewhere gradients and moments are zeros that take no memory.
  var touchedWordBytes: Int {
    let width = configuration.hiddenSize * MemoryLayout<Float>.stride
    guard !definition.head.readsWordTable else { return configuration.vocabularySize * width }
    var isTouched = [Bool](repeating: false, count: configuration.vocabularySize)
    var rows = BatchRows(batches)
    for step in 0..<min(totalSteps, batches.stepsPerEpoch) {
      for sequence in rows.rows(ofStep: step).map({ train.sequences[$0] }) {
        for id in sequence.ids { isTouched[Int(id)] = true }
        for id in sequence.second?.ids ?? [] { isTouched[Int(id)] = true }
      }
    }
    let page = 4096
    var bytes = 0, end = 0
    for (row, _) in isTouched.enumerated() where isTouched[row] {
      let first = max(end, row * width / page * page)
      end = max(end, ((row + 1) * width + page - 1) / page * page)
      bytes += max(0, end - first)
    }
    return bytes
  }

  /// Bytes of one arena of which only touched rows of the word table are written.
  var gradientBytes: Int {
    let width = MemoryLayout<Float>.stride
    let words = configuration.vocabularySize * configuration.hiddenSize * width
    return table.count * width - words + touchedWordBytes
  }

  /// The rows of the steps with the most tokens that this run will make.
  ///
  /// Of every epoch's order the first sixteen epochs are looked at: each has its longest steps, and they are alike.
  func largestSteps(_ count: Int = 8) -> [[Int]] {
    var rows = BatchRows(batches)
    let lengths = train.sequences.map(\.tokenCount)
    var found: [(tokens: Int, rows: [Int])] = []
    for step in 0..<min(totalSteps, 16 * batches.stepsPerEpoch) {
      let rows = rows.rows(ofStep: step)
      found.append((rows.reduce(0) { $0 + lengths[$1] }, rows))
      if found.count > 4 * count {
        found.sort { $0.tokens > $1.tokens }
        found.removeLast(found.count - count)
      }
    }
    return found.sorted { $0.tokens > $1.tokens }.prefix(count).map(\.rows)
  }

  /// What the rows `rows` of the training set are at step `step`: for some tasks a draw by (seed, step, example).
  func inputs(ofRows rows: [Int], step: Int) -> [SequenceInput] {
    rows.map { train.decoder.input(train.sequences[$0], step: step, seed: recipe.seed) }
  }

  /// `sequences` dealt to the leaves of one step.
  func leaves(of sequences: [SequenceInput]) -> [[SequenceInput]] {
    let dealt = LeafPlan.deal(
      lengths: sequences.map(\.tokenCount), leaves: recipe.batch.leaves,
      cost: SequenceCost(
        hiddenSize: configuration.hiddenSize, intermediateSize: configuration.intermediateSize))
    return dealt.map { $0.map { sequences[$0] } }
  }

  /// By rank of `group` the cost of its sequences in a step whose sequences are dealt to `leaves`.
  func work(of leaves: [[SequenceInput]], in group: RankGroup) -> [Double] {
    let cost = SequenceCost(
      hiddenSize: configuration.hiddenSize, intermediateSize: configuration.intermediateSize)
    return (0..<group.size).map { rank in
      group.ownership.subtrees(of: rank).reduce(0.0) { sum, subtree in
        leaves[subtree.leaves].reduce(sum) { $1.reduce($0) { $0 + Double(cost($1.tokenCount)) } }
      }
    }
  }

  /// `sequences` as the batch of one step.
  func packed(_ sequences: [SequenceInput]) -> PackedBatch {
    PackedBatch(leaves: leaves(of: sequences))
  }

  /// Of the tokens that padding to each step's longest row would make, the share that is never made.
  package var paddingAvoided: Double {
    var real = 0
    var padded = 0
    var rows = BatchRows(batches)
    for step in 0..<min(batches.stepsPerEpoch, totalSteps) {
      let lengths = rows.rows(ofStep: step).map { train.sequences[$0].tokenCount }
      real += lengths.reduce(0, +)
      padded += lengths.count * (lengths.max() ?? 0)
    }
    return padded == 0 ? 0 : 1 - Double(real) / Double(padded)
  }

  /// What will be done, in lines for a person.
  package func summary(_ memory: MemoryPlan, threads: Int) -> String {
    let c = configuration
    let parameters = table.count
    let trained = zip(table.parameters, trainable).filter(\.1).reduce(0) { $0 + $1.0.range.count }
    var lines = [
      "model      \(c.layerCount) layers, hidden \(c.hiddenSize), \(parameters) parameters"
        + (trained < parameters ? ", \(trained) of them trained" : ""),
      "head       \(definition.head.summary)"
        + (definition.labels.isEmpty ? "" : ": \(Self.list(definition.labels))"),
    ]
    for (name, set) in [("train", train), ("dev", dev), ("test", test)] {
      if let set {
        lines.append(
          "\(name.padded(to: 11))\(set.sequences.count) rows, \(set.tokenCount) tokens (\(set.file))"
        )
      }
    }
    let epochs = Double(totalSteps) / Double(batches.stepsPerEpoch)
    let avoided = Int((100 * paddingAvoided).rounded())
    lines += [
      "steps      \(totalSteps) of \(batches.batchSize) rows, \(batches.stepsPerEpoch) an epoch, \(Self.short(epochs)) epochs",
      "padding    \(avoided) % of the tokens of padded batches avoided",
      "optimizer  \(recipe.optimizer.name.rawValue) \(recipe.optimizer.learningRate), schedule \(recipe.schedule.name.rawValue)",
      "memory     \(MemoryPlan.text(memory.peakBytes)) planned, \(memory.leavesAtOnce) of \(recipe.batch.leaves) leaves at once\(memory.recomputes ? ", layers computed again in backward" : "")",
      "threads    \(threads)",
    ]
    return lines.joined(separator: "\n")
  }

  private static func list(_ labels: [String]) -> String {
    labels.prefix(8).joined(separator: ", ")
      + (labels.count > 8 ? " and \(labels.count - 8) more" : "")
  }

  private static func short(_ value: Double) -> String {
    value == value.rounded() ? "\(Int(value))" : Progress.fixed(value, 2)
  }
}

extension String {
  /// The text with spaces behind it up to `width` characters.
  func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
}
