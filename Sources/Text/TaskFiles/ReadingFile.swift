import Foundation

/// Questions on texts with their answers: SQuAD 1.1, SQuAD 2.0 and CMRC.
///
/// `{"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}`; offsets count
/// Unicode scalars. A question with `is_impossible` or without answers has none. A question may also be a row of its own, in JSON Lines or one
/// array: `{"context", "question"}`, with the other keys as above; without an `id` it is named by its number.
package struct ReadingFile: Sendable {
  package struct Answer: Sendable, Equatable {
    package var text: String
    /// Its first scalar in the context.
    package var start: Int

    package init(text: String, start: Int) {
      self.text = text
      self.start = start
    }
  }

  package struct Question: Sendable, Equatable {
    package let id: String
    package let question: String
    /// The number of its context in `contexts`.
    package let context: Int
    /// Those that stand where they say, to learn from; several annotators may have given several.
    package let answers: [Answer]
    /// The texts of all answers, to score with: the official scripts of SQuAD and CMRC never look at an offset.
    package let texts: [String]
    /// Whether the text has no answer.
    package let isImpossible: Bool

    package init(
      id: String, question: String, context: Int, answers: [Answer], texts: [String],
      isImpossible: Bool
    ) {
      self.id = id
      self.question = question
      self.context = context
      self.answers = answers
      self.texts = texts
      self.isImpossible = isImpossible
    }
  }

  package let file: String
  package let contexts: [String]
  package let questions: [Question]
  /// Answers whose text does not stand at their offset, in words, all of them.
  package let misplaced: [String]

  package init(file: String, contexts: [String], questions: [Question], misplaced: [String] = []) {
    self.file = file
    self.contexts = contexts
    self.questions = questions
    self.misplaced = misplaced
  }

  private struct Document: Decodable { let data: [Article] }
  private struct Article: Decodable { let paragraphs: [Paragraph] }
  private struct Paragraph: Decodable { let context: String, qas: [Entry] }
  private struct Entry: Decodable {
    let id: Identifier, question: String, answers: Answers?, is_impossible: Bool?
  }
  /// A question with its context.
  private struct QuestionRow: Decodable {
    let context: String, id: Identifier?, question: String, answers: Answers?,
      is_impossible: Bool?
  }
  /// A text or a number.
  private struct Identifier: Decodable {
    let text: String
    init(from decoder: any Decoder) throws {
      let value = try decoder.singleValueContainer()
      if let number = try? value.decode(Int.self) {
        text = "\(number)"
      } else {
        text = try value.decode(String.self)
      }
    }
  }
  /// A list of answers, or one (some versions of CMRC).
  private struct Answers: Decodable {
    let list: [Raw]
    struct Raw: Decodable { let text: String, answer_start: Int }
    init(from decoder: any Decoder) throws {
      let value = try decoder.singleValueContainer()
      if let one = try? value.decode(Raw.self) {
        list = [one]
      } else {
        list = try value.decode([Raw].self)
      }
    }
  }

  private static let expected =
    "give SQuAD's form: {\"data\": [{\"paragraphs\": [{\"context\", \"qas\": [{\"id\", \"question\", \"answers\"}]}]}]}"

  private static let expectedRow =
    "write {\"context\": \"…\", \"question\": \"…\"}, and \"id\" and \"answers\" as SQuAD has them"

  /// Reads `input`; without `withAnswers` answers are passed over.
  ///
  /// Throws where the file is not of that form, an id occurs twice, or a question is empty. Misplaced answers are collected in
  /// `misplaced` and are in no question's `answers`.
  package static func read(
    _ input: any RowInput, withAnswers: Bool
  ) throws(DataErrors) -> ReadingFile {
    let (data, start, source) = try RowFile.contents(of: input, rowLimit: .max)
    let text = data[data.startIndex + start..<data.endIndex]
    var builder = Builder(file: source.file, withAnswers: withAnswers)
    // SQuAD's form is an object.
    let isArray =
      text.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) } == UInt8(ascii: "[")
    if isArray || ["jsonl", "ndjson"].contains(input.rowEnding) {
      let rows = try JSONObjects.read(
        input, as: QuestionRow.self, expected: expectedRow, keepsUnread: false)
      for (number, row) in rows.items.map(\.value).enumerated() {
        let context = builder.add(row.context)
        builder.add(
          id: row.id?.text ?? "\(number + 1)", question: row.question, answers: row.answers,
          isImpossible: row.is_impossible, context)
      }
    } else {
      for paragraph in try document(text, source.file).data.flatMap(\.paragraphs) {
        let context = builder.add(paragraph.context)
        for entry in paragraph.qas {
          builder.add(
            id: entry.id.text, question: entry.question, answers: entry.answers,
            isImpossible: entry.is_impossible, context)
        }
      }
    }
    try builder.problems.check()
    guard !builder.questions.isEmpty else {
      throw DataErrors(
        DataProblem(file: source.file, rule: "there is no question in it", remedy: expected))
    }
    return ReadingFile(
      file: source.file, contexts: builder.contexts, questions: builder.questions,
      misplaced: builder.misplaced)
  }

  private static func document(_ text: Data, _ file: String) throws(DataErrors) -> Document {
    do {
      return try JSONDecoder().decode(Document.self, from: text)
    } catch {
      throw DataErrors(
        DataProblem(file: file, rule: JSONObjects.sentence(error), remedy: expected))
    }
  }

  private struct Builder {
    let file: String
    let withAnswers: Bool
    var contexts: [String] = []
    var questions: [Question] = []
    var misplaced: [String] = []
    var problems = DataProblemCollector()
    private var scalars: [Unicode.Scalar] = []
    private var ids: Set<String> = []

    init(file: String, withAnswers: Bool) {
      self.file = file
      self.withAnswers = withAnswers
    }

    mutating func add(_ context: String) -> Int {
      contexts.append(context)
      scalars = Array(context.unicodeScalars)
      return contexts.count - 1
    }

    mutating func add(
      id: String, question: String, answers raw: Answers?, isImpossible: Bool?, _ context: Int
    ) {
      let isImpossible = isImpossible ?? false
      let answers = (raw?.list ?? []).map { Answer(text: $0.text, start: $0.answer_start) }
      if !ids.insert(id).inserted {
        problems.add(
          DataProblem(
            file: file, column: "id", value: id, rule: "is the id of two questions",
            remedy: "give each question its own"))
      }
      if question.isEmpty {
        problems.add(
          DataProblem(
            file: file, column: "question", rule: "the question \(id) is empty",
            remedy: "write it, or remove the entry"))
      }
      var placed: [Answer] = [], texts: [String] = []
      if withAnswers, !isImpossible {
        for answer in answers where !answer.text.isEmpty {
          texts.append(answer.text)
          let text = Array(answer.text.unicodeScalars)
          let end = answer.start.addingReportingOverflow(text.count)
          if answer.start >= 0, !end.overflow, end.partialValue <= scalars.count,
            scalars[answer.start..<end.partialValue].elementsEqual(text)
          {
            placed.append(answer)
          } else {
            misplaced.append(
              "question \(id): the answer \(DataProblem.quoted(answer.text)) does not stand at scalar \(answer.start) of its context"
            )
          }
        }
      }
      questions.append(
        Question(
          id: id, question: question, context: context, answers: placed, texts: texts,
          isImpossible: isImpossible || answers.allSatisfy { $0.text.isEmpty }))
    }
  }
}
