import Collective
import Model

/// A loss or a gradient that is not finite in the step of a run of one process; nothing was updated.
package struct StepNotFinite: Error, Equatable, CustomStringConvertible {
  /// What was found, such as "the loss is nan".
  package let finding: String
  /// Numbers of the examples that it comes from, or of those that it may come from.
  package let rows: [UInt64]
  /// Whether each of `rows` by itself gives what was found.
  package let namesCulprits: Bool

  package var description: String { "\(finding); \(origin())." }

  /// What to do about it: a resume has the same recipe and comes to the same numbers.
  static let remedy =
    "A resume would come to the same. Start another run (--run) with a lower optimizer.learningRate or with optimizer.clipNorm, or look at these rows."

  /// Which rows it comes from, in words.
  package func origin(_ places: ExamplePlaces? = nil) -> String {
    let numbers = places?.numbers ?? []
    let shown = rows.prefix(8).map {
      "\($0 < UInt64(numbers.count) ? numbers[Int($0)] : Int($0) + 1)"
    }.joined(separator: ", ")
    let more = rows.count > 8 ? " and \(rows.count - 8) more" : ""
    let file = places.map { " of \($0.file)" } ?? ""
    let unit = numbers.isEmpty ? "row" : places?.unit ?? "row"
    guard namesCulprits else { return "its \(unit)s\(file) are \(shown)\(more)" }
    return "it comes from \(unit)\(rows.count == 1 ? "" : "s") \(shown)\(more)\(file)"
  }
}

/// Where the examples of a file stand in it, by their numbers (`exampleID`).
package struct ExamplePlaces: Sendable {
  package let file: String
  /// What `numbers` count, such as `line`.
  package let unit: String
  package let numbers: [Int]
}

/// An element of a gradient that is neither finite nor explained yet.
struct GradientNotFinite: Error {
  let parameter: Parameter
  /// Of the parameter.
  let element: Int
  let value: Float
  /// The number of the rank's subtree that has it.
  let subtree: Int

  var description: String {
    let shape = parameter.shape.map(String.init).joined(separator: " × ")
    return "the gradient of \(parameter.name) [\(shape)] is \(value) at element \(element)"
  }
}

/// A step as the exchange was given it: enough to compute its examples one by one.
struct StepInput {
  let leaves: [[SequenceInput]]
  let parameters: Arena
  let randomness: Engine.Randomness?
  let step: Int
}

extension GradientExchange {
  /// The last tensor of `range` whose gradient is not finite: backward goes from the last tensor to the first, and so does what went wrong.
  func notFinite(
    _ values: UnsafePointer<Float>, _ range: Range<Int>, subtree: Int
  ) -> GradientNotFinite? {
    guard !Finiteness.holds(values + range.lowerBound, count: range.count) else { return nil }
    return zip(engine.table.parameters, trainable).reversed().lazy.filter(\.1).compactMap {
      parameter, _ in
      parameter.range.clamped(to: range).first { !values[$0].isFinite }.map {
        GradientNotFinite(
          parameter: parameter, element: $0 - parameter.range.lowerBound, value: values[$0],
          subtree: subtree)
      }
    }.first
  }

  /// What to throw for a loss that is not finite, of subtree `subtree`.
  func fault(ofLoss loss: Double, subtree: Int, _ input: StepInput) -> any Error {
    let gradient = notFinite(
      arenas[subtree].base, 0..<engine.table.count, subtree: subtree)
    let tensor = gradient.map { ", \($0.description)" } ?? ""
    return fault(
      "the loss is \(loss)\(tensor)", tensor: gradient?.parameter, subtree: subtree, input)
  }

  /// What to throw for `found`.
  func fault(of found: GradientNotFinite, _ input: StepInput) -> any Error {
    fault(found.description, tensor: found.parameter, subtree: found.subtree, input)
  }

  /// What to throw for what the optimizer found in the gradient of a group of one.
  func fault(of found: OptimizerError, _ input: StepInput) -> any Error {
    guard let parameter = engine.table[found.tensor] else { return found }
    return fault(
      of: GradientNotFinite(
        parameter: parameter, element: found.index, value: found.value, subtree: 0), input)
  }

  /// What to throw for `finding`, with the examples of the subtree that it comes from.
  private func fault(
    _ finding: String, tensor: Parameter?, subtree: Int, _ input: StepInput
  ) -> any Error {
    let leaves = group.subtrees[subtree].leaves.map { input.leaves[$0] }
    let (rows, areCulprits) = origins(of: tensor, in: leaves, input)
    let found = StepNotFinite(finding: finding, rows: rows, namesCulprits: areCulprits)
    guard group.size > 1 else { return found }
    return RankError(
      exitCode: ExitCode.notFinite,
      "\(group.collective.name(of: group.rank)), step \(input.step + 1): \(finding); \(found.origin(places)). "
        + StepNotFinite.remedy)
  }

  /// The examples of `leaves` whose loss, or gradient in `tensor`, is not finite by itself; where none is, those that together make it so.
  ///
  /// Computes leaf by leaf, then the examples of the first leaf that has it: no more than two steps' work, and memory for one tensor.
  private func origins(
    of tensor: Parameter?, in leaves: [[SequenceInput]], _ input: StepInput
  ) -> (rows: [UInt64], areCulprits: Bool) {
    let scratch = Arena(gradientOf: engine.table)
    let trained = engine.table.parameters.map { $0.name == tensor?.name }
    func isFinite(_ examples: [SequenceInput]) -> Bool {
      let loss = engine.gradient(
        of: PackedBatch(leaves: [examples], copies: engine.head?.copies ?? 1),
        parameters: input.parameters, into: scratch, randomness: input.randomness,
        trainable: trained)
      group.collective.noteProgress()
      return loss.numerator.isFinite
        && tensor.map {
          Finiteness.holds(scratch.base + $0.range.lowerBound, count: $0.range.count)
        } ?? true
    }
    guard let leaf = leaves.first(where: { !$0.isEmpty && !isFinite($0) }) else {
      return (leaves.flatMap { $0 }.map(\.exampleID), false)
    }
    let culprits = leaf.filter { !isFinite([$0]) }
    return culprits.isEmpty
      ? (leaf.map(\.exampleID), false) : (culprits.map(\.exampleID), true)
  }
}
