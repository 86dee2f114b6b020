import Foundation
import Model
import Text

/// One model, or several whose outputs are averaged: model fusion.
///
/// Probabilities are averaged where the head gives them (labels, tokens, pointers, masked words), values of regressions, the scores of
/// GlobalPointer, and emissions and transitions of conditional random fields, whose decoding then is one for all. Of relations first the
/// probabilities of subjects (GPLinker: the scores of subjects and objects); what is found in the mean is given to every model, and what they
/// say of its objects (its pairs) is averaged.
package final class Ensemble {
  private let models: [SavedModel]
  package var definition: TaskDefinition { models[0].definition }
  /// What makes inputs of rows, the same for all models.
  package var reader: InputReader { models[0].reader }
  /// SHA-256 of each model's file of weights.
  package func weightsDigests() throws -> [String] { try models.map { try $0.weightsDigest() } }

  /// Opens the best models of `runs`, which must have been trained for the same task and labels.
  package init(runs: [URL], threads: Int) throws {
    precondition(!runs.isEmpty, "no run")
    models = try runs.map { try SavedModel(run: $0, threads: threads) }
    guard models.count > 1 else { return }
    let first = models[0].definition
    for (run, model) in zip(runs, models).dropFirst() {
      let other = model.definition
      let differences: [(String, Bool)] = [
        ("another task", first.task == other.task), ("other labels", first.labels == other.labels),
        ("another head", first.head.kind == other.head.kind && first.head.loss == other.head.loss),
        ("other columns", first.columns == other.columns),
        ("another tokenizer", model.readsLike(models[0])),
      ]
      if let different = differences.first(where: { !$0.1 }) {
        throw RunError(
          .usage,
          "\(run.path) has \(different.0) than \(runs[0].path). Average runs of one task, labels and tokenizer."
        )
      }
    }
  }

  /// Scores the labelled rows of `url`.
  package func evaluate(_ url: URL) throws -> (evaluation: Evaluation, examples: ExampleSet) {
    let examples = try reader.examples(url, withLabel: true)
    let outputs = outputs(of: examples.sequences)
    return (
      Evaluation(outputs: outputs, examples: examples, definition: definition), examples
    )
  }

  /// Predicts the rows of `input` into `output`, one JSON object a line, in the order of the rows; for event subjects and
  /// an `output` that ends in `.csv`, the result file of their recipe.
  ///
  /// Rows are read as in training, by the file's ending, but need no label; in a `.txt` file each line
  /// is a text, and a tab separates the second one. `output` appears when it is complete; a pipe or device is
  /// written to as predictions come.
  package func predict(_ input: URL, to output: URL) throws -> ExampleSet {
    let examples = try reader.examples(input, withLabel: false)
    let isTable = output.pathExtension.lowercased() == "csv"
    let writer = try ResultFile(output, input: input)
    // Some thousand rows at a time: enough to batch by length, little to hold.
    for start in stride(from: 0, to: examples.rows.count, by: 4096) {
      let rows = start..<min(start + 4096, examples.rows.count)
      let part = examples.sequences[examples.sequences(ofRows: rows)]
      for line in try examples.answers(
        ofRows: rows, from: outputs(of: Array(part)), asTable: isTable)
      {
        try writer.write(line)
      }
    }
    try writer.commit()
    return examples
  }

  // MARK: Averages

  /// What the models say of each of `sequences`; one's bits do not depend on the others.
  package func outputs(of sequences: [SequenceInput]) -> [HeadOutput] {
    guard models.count > 1 else { return models[0].outputs(of: sequences) }
    switch definition.head.kind {
    case .sentence, .siamese, .tokens, .chain, .subjectPointer, .span:
      return averages(of: sequences, as: .found)
    case .relation, .gplinker, .globalPointer, .maskedLanguageModel:
      // What is averaged here is large: every span, or every word of the vocabulary.
      return stride(from: 0, to: sequences.count, by: 32).flatMap {
        found(in: Array(sequences[$0..<min($0 + 32, sequences.count)]))
      }
    }
  }

  /// The means of what the models say.
  private func averages(
    of sequences: [SequenceInput], as form: Engine.OutputForm
  ) -> [HeadOutput] {
    let all = models.map { $0.outputs(of: sequences, as: form) }
    return sequences.indices.map { number in
      let outputs = all.map { $0[number] }
      let losses = outputs.compactMap(\.loss)
      return HeadOutput(
        values: Self.average(outputs.map(\.values), definition.head),
        // Of the models' losses, the mean: that of the average is not defined for every head.
        loss: losses.isEmpty ? nil : losses.reduce(0, +) / Double(losses.count))
    }
  }

  /// What is found in the means, for heads whose outputs are lists.
  private func found(in sequences: [SequenceInput]) -> [HeadOutput] {
    let head = definition.head
    var outputs = averages(of: sequences, as: .scores)
    switch head.kind {
    case .relation:
      let subjects = outputs.map { head.relationSubjects($0.values) }
      let objects = averages(of: sequences, as: .objectScores(of: subjects))
      for i in outputs.indices {
        outputs[i].values = head.relationTriples(subjects[i], objects[i].values)
      }
    case .gplinker:
      let spans = outputs.indices.map {
        Head.linkerSpans(outputs[$0].values, tokens: sequences[$0].ids.count)
      }
      let pairs = averages(of: sequences, as: .objectScores(of: spans))
      for i in outputs.indices {
        outputs[i].values = head.linkerTriples(spans[i], pairs[i].values)
      }
    case .globalPointer:
      for i in outputs.indices {
        outputs[i].values = head.globalPointerEntities(
          outputs[i].values, tokens: sequences[i].ids.count)
      }
    case .maskedLanguageModel:
      for i in outputs.indices { outputs[i].values = head.likeliestWords(outputs[i].values) }
    case .sentence, .siamese, .tokens, .chain, .subjectPointer, .span:
      preconditionFailure("the outputs of \(head.kind) are averaged as they are")
    }
    return outputs
  }

  /// The mean of outputs, as outputs: logits of the mean probabilities where the head has probabilities.
  package static func average(_ values: [[Float]], _ head: Head) -> [Float] {
    func mean(_ rows: [[Double]]) -> [Double] {
      rows[0].indices.map { i in rows.reduce(0) { $0 + $1[i] } / Double(rows.count) }
    }
    /// Mean probabilities of softmaxes over `width` neighbouring outputs each.
    func softmaxes(_ width: Int) -> [Float] {
      let probabilities = values.map { row in
        stride(from: 0, to: row.count, by: width).flatMap {
          TaskDefinition.softmax(Array(row[$0..<$0 + width]))
        }
      }
      return mean(probabilities).map { Float(log(max($0, 1e-30))) }
    }
    switch head.kind {
    case .tokens: return softmaxes(head.outputs)
    case .subjectPointer, .span: return softmaxes(max(values[0].count / 2, 1))
    case .sentence, .siamese:
      switch head.loss {
      case .softmax: return softmaxes(head.outputs)
      case .sigmoid, .sigmoidClipped:
        return mean(values.map { $0.map(TaskDefinition.sigmoid) }).map {
          Float(log(max($0, 1e-30) / max(1 - $0, 1e-30)))
        }
      case .squaredError: return mean(values.map { $0.map(Double.init) }).map(Float.init)
      }
    case .chain, .globalPointer, .relation, .gplinker, .maskedLanguageModel:
      return mean(values.map { $0.map(Double.init) }).map(Float.init)
    }
  }
}
