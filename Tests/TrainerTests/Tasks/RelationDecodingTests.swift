import Foundation
import Model
import Testing
import Trainer

/// Triples of outputs and gold triples that were worked out by hand.
@Suite struct RelationDecodingTests {
  // Of this text 北京 is tokens 1–2, 上海 4–5, 山城 7–8, 中国 10–11.
  static let text = "北京，上海，山城在中国"
  static let places: [String: [Float]] = [
    "北京": [1, 2], "上海": [4, 5], "山城": [7, 8], "中国": [10, 11],
  ]

  /// The head's output for triples of subject, predicate's number, object.
  static func values(_ triples: [(String, Float, String)]) throws -> [Float] {
    try triples.flatMap {
      try #require(places[$0.0]) + (try #require(places[$0.2])) + [$0.1, 0.9]
    }
  }

  @Test func `symmetric predicates are mirrored both ways, and a triple is said once`() throws {
    let task = try DecodedTask(
      ["task=relation", "relation.symmetric={妻子: 丈夫}"], labels: ["丈夫", "位于", "妻子"])
    let set = try task.examples("{\"text\":\"\(Self.text)\"}\n", "rows.jsonl")
    let said = try set.said(
      Self.values([
        ("北京", 2, "上海"), ("上海", 0, "北京"), ("山城", 0, "北京"), ("上海", 1, "中国"),
      ]))
    #expect(
      said["spo_list_pred"] as? [[String]] == [
        ["北京", "妻子", "上海"], ["上海", "丈夫", "北京"], ["山城", "丈夫", "北京"], ["北京", "妻子", "山城"],
        ["上海", "位于", "中国"],
      ])
  }

  @Test func `an album that is no song is not sung, also after mirroring`() throws {
    let task = try DecodedTask(
      ["task=relation", "relation.excludedSubjects={歌手: 所属专辑}", "relation.symmetric={歌手: 演唱}"],
      labels: ["作词", "所属专辑", "歌手", "演唱"])
    let set = try task.examples("{\"text\":\"\(Self.text)\"}\n", "rows.jsonl")
    // 上海 is an album, 山城 an album and a song of one; 作词 has no rule.
    let said = try set.said(
      Self.values([
        ("北京", 1, "上海"), ("山城", 1, "上海"), ("北京", 1, "山城"), ("上海", 2, "中国"), ("北京", 2, "中国"),
        ("山城", 2, "中国"), ("上海", 0, "中国"), ("北京", 3, "上海"),
      ]))
    #expect(
      said["spo_list_pred"] as? [[String]] == [
        ["北京", "所属专辑", "上海"], ["山城", "所属专辑", "上海"], ["北京", "所属专辑", "山城"],
        ["中国", "演唱", "上海"], ["北京", "歌手", "中国"], ["中国", "演唱", "北京"], ["山城", "歌手", "中国"],
        ["中国", "演唱", "山城"], ["上海", "作词", "中国"], ["北京", "演唱", "上海"],
      ])
  }

  @Test func `predictions tell new and missing triples where the rows have theirs`() throws {
    let task = try DecodedTask(["task=relation"], labels: ["位于"])
    let set = try task.examples(
      """
      {"text":"\(Self.text)","spo_list":[["北京","位于","中国"],["上海","不知","中国"]]}
      {"text":"\(Self.text)"}
      {"text":"\(Self.text)","spo_list":null}
      {"text":"\(Self.text)","spo_list":[["北京","位于"]]}
      {"text":"\(Self.text)","spo_list":[]}

      """, "rows.jsonl")
    let values = try Self.values([("北京", 0, "中国"), ("山城", 0, "中国")])
    let first = try set.said(values)
    #expect(first["new"] as? [[String]] == [["山城", "位于", "中国"]])
    #expect(first["lack"] as? [[String]] == [["上海", "不知", "中国"]])
    #expect(
      first["spo_list"] as? [[String]] == [["北京", "位于", "中国"], ["上海", "不知", "中国"]])
    for row in 1...3 {
      let said = try set.said(values, row: row)
      #expect(said["new"] == nil && said["lack"] == nil && said["spo_list"] == nil)
      #expect((said["spo_list_pred"] as? [[String]])?.count == 2)
    }
    #expect((try set.said(values, row: 4)["new"] as? [[String]])?.count == 2)
    #expect(set.notes.count == 1)
    #expect(
      set.notes[0].hasSuffix(
        "the spo_list of 1 rows, the first in line 4, is no list of triples; their predictions have no new and lack"
      ))
    // Nothing to learn is made of them.
    #expect(set.sequences.allSatisfy { $0.target.isEmpty })
  }

  @Test func `titles are repaired as in 2019`() throws {
    let task = try DecodedTask(["task=relation", "relation.repairTitles=true"], labels: ["歌手"])
    let set = try task.examples(
      """
      {"text":"歌曲《 Big City》在《Old 山城》，山城大","spo_list":[["City","歌手","《国人》"],["山城","作词","上海"],\
      ["《Big City》","所属专辑"," 《Old 山城》"],["Old 山城","作曲","北京"],["Old 山城","位于","北京"]]}

      """, "rows.jsonl")
    let said = try set.said([])
    #expect(said["text"] as? String == "歌曲《 big city》在《old 山城》，山城大")
    // "city" stands once, in a title; 山城 stands twice. An album was not composed. The marks behind a space stay, as in the recipe.
    #expect(
      said["lack"] as? [[String]] == [
        ["big city", "歌手", "国人"], ["山城", "作词", "上海"], ["big city", "所属专辑", "《old 山城"],
        ["old 山城", "作曲", "北京"], ["old 山城", "位于", "北京"],
      ])
  }

  @Test func `what an album is, is known by its title`() throws {
    let task = try DecodedTask(["task=relation", "relation.repairTitles=true"], labels: ["歌手"])
    let set = try task.examples(
      """
      {"text":"《新》在《老》","spo_list":[["新","所属专辑","《老》"],["老","作曲","北京"],["新","歌手","上海"]]}

      """, "rows.jsonl")
    #expect(
      try set.said([])["lack"] as? [[String]] == [["新", "所属专辑", "老"], ["新", "歌手", "上海"]])
  }

  @Test func `the recipe of 2019 cuts what it learns and nothing else`() throws {
    let task = try DecodedTask(
      ["task=relation", "model.dialect=seed2019", "data.maxLength=null"], labels: ["位于"])
    func count(_ characters: Int, isTraining: Bool) throws -> Int {
      let text = String(repeating: "的", count: characters - 2)
      return try task.examples(
        "{\"text\":\"北京\(text)\",\"spo_list\":[[\"北京\",\"位于\",\"北京\"]]}\n", "rows.jsonl",
        withLabel: true, isTraining: isTraining
      ).sequences[0].ids.count
    }
    #expect(try count(300, isTraining: true) == 162)
    #expect(try count(300, isTraining: false) == 302)
    #expect(try count(600, isTraining: false) == 512)
    #expect(try count(100, isTraining: true) == 102)
  }
}
