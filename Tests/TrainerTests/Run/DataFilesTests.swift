import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

/// Rows that are left out or dealt to splits before a run.
@Suite struct DataFilesTests {
  static func prepared(_ task: MadeUpTask, _ overrides: [String]) throws -> PreparedRun {
    try PreparedRun(Recipe(contentsOf: task.recipe, overrides: overrides), threads: 1)
  }

  @Test func `duplicates and rows of other splits are left out of the training rows`() throws {
    let task = try MadeUpTask()
    try task.write(
      "text\tlabel\ngood\tpos\nbad\tneg\ngood\tneg\nfilm good\tpos\nbook bad\tneg\n",
      to: "train.tsv")
    try task.write("text\tlabel\nfilm good\tpos\n", to: "dev.tsv")
    let plain = try Self.prepared(task, [])
    #expect(plain.train.sequences.count == 5)
    let clean = try Self.prepared(task, ["data.dropDuplicates=true", "data.dropLeaked=true"])
    #expect(clean.train.sequences.count == 3)
    #expect(
      clean.notes.contains { $0.contains("1 of 5 training rows whose text stands in the dev") })
    #expect(clean.notes.contains { $0.contains("1 of 4 training rows that repeat") })
    #expect(plain.report.findings.map(\.kind).contains("leakage"))
    #expect(!clean.report.findings.map(\.kind).contains("leakage"))
  }

  @Test func `a split keeps equal texts together and is a function of its own seed`() throws {
    let task = try MadeUpTask()
    // A digit and a letter: every text has tokens of its own.
    let rows = (0..<200).map { number in
      let letter = "abcdefghi".map(String.init)[number % 90 / 10]
      return "the movie \(number % 10) \(letter) good\tpos\n"
    }.joined()
    try task.write("text\tlabel\n" + rows + "bad\tneg\n", to: "train.tsv")
    func split(_ seed: Int, run: Int = 1) throws -> PreparedRun {
      try Self.prepared(
        task,
        [
          "data.dev=null", "data.test=null", "data.split.dev=0.2", "data.split.test=0.1",
          "data.split.seed=\(seed)", "seed=\(run)", "data.labels=[neg, pos]",
        ])
    }
    let (a, again, b) = (try split(1), try split(1, run: 7), try split(2))
    func texts(_ set: ExampleSet?) -> Set<[Int32]> { Set(set?.sequences.map(\.ids) ?? []) }
    #expect(texts(a.dev) == texts(again.dev) && texts(a.dev) != texts(b.dev))
    #expect(texts(a.train).isDisjoint(with: texts(a.dev)))
    #expect(texts(a.train).isDisjoint(with: texts(a.test)))
    #expect(texts(a.dev).isDisjoint(with: texts(a.test)))
    let counts = [a.train, a.dev, a.test].map { $0?.sequences.count ?? 0 }
    #expect(counts.reduce(0, +) == 201 && counts.allSatisfy { $0 > 5 } && counts[0] > 100)
  }

  @Test func `a split keeps the questions on one text together`() throws {
    let (folder, recipe) = try MadeUpFamily.named("reading").written(dropout: 0)
    defer { withExtendedLifetime(folder) {} }
    let paragraphs = (0..<30).map { number in
      let questions = ["good", "bad", "very"].enumerated().map { place, word in
        "{\"id\":\"\(number)-\(place)\",\"question\":\"\(word) ?\",\"answers\":[{\"text\":\"the\",\"answer_start\":0}]}"
      }
      return
        "{\"context\":\"the hotel \(number / 10) \(number % 10)\",\"qas\":[\(questions.joined(separator: ","))]}"
    }
    try Data("{\"data\":[{\"paragraphs\":[\(paragraphs.joined(separator: ","))]}]}".utf8).write(
      to: folder.url.appending(path: "rows.json"))
    let run = try PreparedRun(
      Recipe(contentsOf: recipe, overrides: ["data.dev=null", "data.split.dev=0.4"]), threads: 1)
    let dev = try #require(run.dev)
    // The texts stand behind the question.
    func texts(_ set: ExampleSet) -> Set<[Int32]> {
      Set(set.sequences.map { Array($0.ids[($0.segments.firstIndex(of: 1) ?? 0)...]) })
    }
    #expect(texts(run.train).isDisjoint(with: texts(dev)))
    #expect(texts(run.train).count + texts(dev).count == 30 && !texts(dev).isEmpty)
    #expect(dev.sequences.count == 3 * texts(dev).count)
    #expect(run.notes.contains { $0.hasSuffix("test rows; questions on one text stay together") })
  }

  @Test func `wrong rows up to a limit are left out and listed, more are an error`() throws {
    let task = try MadeUpTask()
    try task.write(
      "text\tlabel\ngood\tpos\nbad\tneg\nfilm\tmaybe\nbook\tpos\nroom\twell\n", to: "train.tsv")
    let labels = "data.labels=[neg, pos]"
    let run = try Self.prepared(task, [labels, "data.skipBad=2"])
    #expect(run.train.sequences.count == 3)
    let note = try #require(run.notes.first { $0.contains("2 rows are left out (data.skipBad)") })
    #expect(note.contains(":4: column \"label\": \"maybe\": is not a label of this model"))
    #expect(throws: PreparationErrors.self) { try Self.prepared(task, [labels, "data.skipBad=1"]) }
    #expect(throws: PreparationErrors.self) { try Self.prepared(task, [labels]) }
  }

  @Test func `the rates of tensors follow their depth or their names`() throws {
    let task = try MadeUpTask()
    func rates(_ overrides: [String]) throws -> [String: Double] {
      let run = try Self.prepared(task, overrides)
      return Dictionary(zip(run.table.parameters.map(\.name), run.rateFactors)) { $1 }
    }
    let depth = try rates(["optimizer.layerDecay=0.5"])
    #expect(depth["classifier.weight"] == 1)
    #expect(depth["bert.encoder.layer.1.output.dense.bias"] == 0.5)
    #expect(depth["bert.encoder.layer.0.output.dense.bias"] == 0.25)
    #expect(depth["bert.embeddings.LayerNorm.weight"] == 0.125)
    let names = try rates(["optimizer.multipliers={classifier: 10, bias: 2}"])
    #expect(names["classifier.bias"] == 20 && names["classifier.weight"] == 10)
    let prefixes = try rates(["optimizer.prefixMultipliers={bert: 0.1, bert.pooler: 3}"])
    #expect(
      prefixes["bert.pooler.dense.weight"] == 3 && prefixes["bert.embeddings.LayerNorm.bias"] == 0.1
    )
    #expect(prefixes["classifier.bias"] == 1)
    #expect(throws: RecipeErrors.self) {
      try rates(["optimizer.layerDecay=0.5", "optimizer.multipliers={a: 1}"])
    }
  }
}
