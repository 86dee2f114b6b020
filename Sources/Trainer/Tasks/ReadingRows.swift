import Foundation
import Model
import Text

/// Questions on texts.
package struct ReadingRows: TaskRows {
  private let reading: ReadingFile
  /// Of each question its number in the file, from 1.
  private let numbers: [Int]

  package var file: String { reading.file }
  package var count: Int { reading.questions.count }
  /// Files are often a single line.
  package var unit: RowUnit { .question }

  /// Whether some question has no answer in its text.
  var hasUnanswerable: Bool { reading.questions.contains(where: \.isImpossible) }

  package init(_ reading: ReadingFile) {
    self.init(reading, numbers: reading.questions.indices.map { $0 + 1 })
  }

  private init(_ reading: ReadingFile, numbers: [Int]) {
    self.reading = reading
    self.numbers = numbers
  }

  package func labels(_ recipe: Recipe) throws -> [String] { [] }

  /// A row is a question by its number, from 1; those on one text belong together.
  package var reported: [DataReport.Row] {
    zip(numbers, reading.questions).map { number, question in
      DataReport.Row(
        line: number, text: "\(question.question)\u{1F}\(reading.contexts[question.context])",
        label: question.isImpossible ? "" : question.texts.first,
        classes: [], group: reading.contexts[question.context])
    }
  }

  package func filtered(_ isKept: (Int) -> Bool) -> ReadingRows {
    let kept = reading.questions.indices.filter(isKept)
    return ReadingRows(
      ReadingFile(
        file: file, contexts: reading.contexts, questions: kept.map { reading.questions[$0] },
        misplaced: reading.misplaced), numbers: kept.map { numbers[$0] })
  }

  package func examples(_ context: TaskContext, withLabel: Bool) throws -> ExampleSet {
    let definition = context.definition, tokenizer = context.tokenizer
    guard let section = definition.reading else {
      preconditionFailure("reading without its section")
    }
    let contexts = try context.tokenize(reading.contexts)
    let questions = try context.tokenize(reading.questions.map(\.question))
    var problems = DataProblemCollector()
    var report = TruncationReport()
    var fingerprint = RowFingerprint()
    var sequences: [SequenceInput] = [], rows: [Range<Int>] = []
    var windows: [ReadingDecoder.Window] = []
    for (place, (question, tokens)) in zip(reading.questions, questions).enumerated() {
      let number = numbers[place]
      if withLabel, reading.contexts[question.context].isBlank {
        problems.add(.empty(file, row: number, unit: .question, column: "context"))
      }
      let text = contexts[question.context]
      let first = sequences.count
      do {
        let asked = tokens.prefix(section.maxQuestion)
        // The stride of Google's run_squad.py goes from window to window, Hugging Face's is what they share.
        let inputs =
          definition.dialect == .google
          ? try tokenizer.windows(asked, text, limit: definition.maxLength, step: section.stride)
          : try tokenizer.windows(
            asked, text, limit: definition.maxLength, overlap: section.stride)
        report.add(
          tokens: tokens.count + text.count, cut: max(0, tokens.count - section.maxQuestion),
          row: number)
        let ranges = inputs.map { $0.windowStart..<$0.windowStart + $0.second.count }
        let best = Tokenizer.bestWindows(of: text.count, in: ranges)
        for (part, input) in inputs.enumerated() {
          windows.append(
            ReadingDecoder.Window(
              tokens: input.second, start: input.windowStart, spans: text.spans,
              isBest: ranges[part].map { best[$0] == part }))
          sequences.append(
            SequenceInput(
              ids: input.ids, segments: input.segments, exampleID: UInt64(sequences.count),
              target: withLabel ? target(question, input, text.spans) : []))
        }
      } catch let error as TruncationError {
        problems.add(
          DataProblem(
            file: file, row: number, unit: .question, column: "question", value: question.id,
            rule: error.description,
            remedy: "raise data.maxLength, or lower reading.maxQuestion or reading.stride"))
      }
      rows.append(first..<sequences.count)
      fingerprint.add(question.question)
      fingerprint.add(reading.contexts[question.context])
      question.answers.forEach { fingerprint.add("\($0.start) \($0.text)") }
      if question.texts.count > question.answers.count {
        question.texts.forEach { fingerprint.add($0) }
      }
    }
    try problems.check()
    let lost = reading.questions.indices.filter {
      withLabel && reading.questions[$0].answers.isEmpty && !reading.questions[$0].isImpossible
    }
    let notes =
      lost.isEmpty && !reading.misplaced.isEmpty
      ? [
        "\(file): \(reading.misplaced.count) answers do not stand where they say and are not learnt from, and others of their questions do; the first: \(reading.misplaced[0])"
      ] : []
    let finding = DataReport.Finding(
      kind: "entities", file: file, unit: .question, rows: lost.map { numbers[$0] },
      total: reading.questions.count,
      sentence:
        "\(reading.misplaced.count) answers do not stand where they say and are not learnt from, and \(lost.count) questions have no other and are not learnt from; the first: \(reading.misplaced.first ?? "a question without an answer")",
      remedy: "correct answer_start (Unicode scalars of the context, from 0), or the text")
    return ExampleSet(
      file: file, sequences: sequences, rows: rows, truncation: report,
      fingerprint: fingerprint.text, notes: notes,
      findings: lost.isEmpty ? [] : [finding],
      decoder: ReadingDecoder(
        section, mayBeNone: definition.hasUnanswerable ?? true, reading, rows: rows,
        windows: windows))
  }

  /// Start and end of the first answer; [CLS], which says "none", where the window does not hold it; empty where there should be
  /// one and none is known.
  private func target(
    _ question: ReadingFile.Question, _ input: AssembledInput, _ spans: [Range<Int>]
  ) -> [Float] {
    if question.isImpossible { return [0, 0] }
    guard let answer = question.answers.first else { return [] }
    let range = answer.start..<answer.start + answer.text.unicodeScalars.count
    guard let first = spans.firstIndex(where: { $0.contains(range.lowerBound) }),
      let last = spans.lastIndex(where: { $0.contains(range.upperBound - 1) })
    else { return [] }
    let window = input.windowStart..<input.windowStart + input.second.count
    guard window.contains(first), window.contains(last), first <= last else { return [0, 0] }
    let shift = input.second.lowerBound - input.windowStart
    return [Float(first + shift), Float(last + shift)]
  }
}

extension TokenizedText {
  /// The first `count` tokens.
  func prefix(_ count: Int) -> TokenizedText {
    guard count < self.count else { return self }
    return TokenizedText(
      ids: Array(ids.prefix(count)), spans: Array(spans.prefix(count)),
      byteSpans: Array(byteSpans.prefix(count)), scalarCount: scalarCount)
  }
}
