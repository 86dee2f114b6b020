import Foundation
import Model
import TestSupport
import Testing
import Text
import Trainer

/// Which subject of a row is asked for its objects.
@Suite struct SubjectSamplingTests {
  // Characters 0, 3 and 6 begin subjects of two characters, in tokens 1–2, 4–5 and 7–8. The second row says more of the
  // first subject than of the others, and names it again between them.
  @Test(arguments: [
    #"[["北京","位于","中国"],["上海","位于","中国"],["山城","位于","中国"]]"#,
    #"[["北京","位于","中国"],["北京","位于","上海"],["上海","位于","中国"],["北京","位于","山城"],["山城","位于","中国"]]"#,
  ])
  func `every subject of a row is drawn as often, whatever its triples`(triples: String) throws {
    let task = try MadeUpTask(train: 2, dev: 1, test: 1)
    try task.write(#"{"text":"北京，上海，山城在中国","spo_list":\#(triples)}"# + "\n", to: "rows.jsonl")
    let file = task.url.appending(path: "rows.jsonl")
    let recipe = try Recipe(
      contentsOf: task.recipe,
      overrides: ["task=relation"] + ["train", "dev", "test"].map { "data.\($0)=\(file.path)" })
    let definition = TaskDefinition(
      recipe, labels: ["位于"], lowercase: true, configuration: tinyConfiguration())
    let tokenizer = Tokenizer(
      vocabulary: try Vocabulary(contentsOf: Fixtures.url("tiny_hf/vocab.txt")),
      kind: definition.tokenizer, lowercase: true)
    let set = try definition.examples(file, tokenizer: tokenizer, threads: 1, withLabel: true)
    var counts: [[Int]: Int] = [:]
    for step in 0..<3600 {
      let target = set.decoder.input(set.sequences[0], step: step, seed: 4).target
      counts[target.prefix(2).map { Int($0) }, default: 0] += 1
    }
    // A start is drawn with a chance of a third, then an end behind it among those that are left.
    let expected: [[Int]: Double] = [
      [1, 2]: 400, [1, 5]: 400, [1, 8]: 400, [4, 5]: 600, [4, 8]: 600, [7, 8]: 1200,
    ]
    #expect(Set(counts.keys) == Set(expected.keys))
    // Within five standard deviations, at most √(3600 · 1/3 · 2/3) = 28 each.
    for (pair, count) in counts { #expect(abs(Double(count) - (expected[pair] ?? 0)) < 142) }
  }
}
