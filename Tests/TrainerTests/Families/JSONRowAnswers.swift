import Foundation
import TestSupport
import Testing
import Text
import Trainer

extension MadeUpFamily {
  /// The rows of `bare` as JSON objects, as a program would send them.
  func objects() throws -> [String] {
    func object(_ members: [(String, String)]) -> String {
      let text = members.map { "\"\($0.0)\":\(JSONText.quoted($0.1))" }
      return "{\(text.joined(separator: ","))}"
    }
    let lines = bare.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    switch (bareFile as NSString).pathExtension {
    case "jsonl": return lines.filter { !$0.isEmpty }
    case "txt": return lines.filter { !$0.isEmpty }.map { object([("text", $0)]) }
    case "bio":
      return bare.components(separatedBy: "\n\n").filter { !$0.isEmpty }.map {
        object([("text", $0.split(separator: "\n").joined(separator: " "))])
      }
    case "json":
      let file = try JSONSerialization.jsonObject(with: Data(bare.utf8)) as? [String: Any]
      let article = (file?["data"] as? [[String: Any]])?.first
      let paragraphs = try #require(article?["paragraphs"] as? [[String: Any]])
      return try paragraphs.map { paragraph in
        let question = try #require((paragraph["qas"] as? [[String: String]])?.first)
        return object(
          try ["id", "question"].map { ($0, try #require(question[$0])) }
            + [("context", try #require(paragraph["context"] as? String))])
      }
    case let ending:
      let separator = ending == "csv" ? "," : "\t"
      let rows = lines.filter { !$0.isEmpty }.map {
        $0.replacing("\"", with: "").components(separatedBy: separator)
      }
      return rows.dropFirst().map { object(Array(zip(rows[0], $0))) }
    }
  }

  /// What `model` answers to these objects in memory, in every form of a message.
  func answers(of model: Ensemble) throws -> [JSONForm: String] {
    let objects = try objects()
    let bodies = [
      objects[0].replacing("{", with: "{\n", maxReplacements: 1),
      "[\(objects.joined(separator: ",\n"))]", objects.joined(separator: "\n") + "\n",
    ]
    var answers: [JSONForm: String] = [:]
    for body in bodies {
      let data = Data(body.utf8), form = JSONForm(of: data)
      let examples = try model.reader.examples(form.rows(data, name: "m"), withLabel: false)
      answers[form] = form.text(
        try examples.answers(
          ofRows: examples.rows.indices, from: model.outputs(of: examples.sequences)))
    }
    return answers
  }
}
