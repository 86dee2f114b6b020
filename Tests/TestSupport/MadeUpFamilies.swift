import Foundation

/// Small made-up data sets in words of the tiny model, one for each task, that a model can learn by heart.
package struct MadeUpFamily: Sendable, CustomStringConvertible {
  package let name: String
  /// What belongs to the task in its recipe, without the model and the files.
  package let sections: String
  /// The training file: its name and text.
  package let file: String
  package let rows: String
  /// The same rows without labels, for prediction.
  package let bare: String
  package let bareFile: String
  /// Steps in which the training rows are learnt to above 99 %, and the metric that says so.
  package let steps: Int
  package let metric: String
  package let learningRate: Double

  package var description: String { name }

  /// What each row of `bare` is to be told, in words: the label, the labels with commas, the number with one digit, the tags, the triple, the entity,
  /// the answer, the hidden word.
  package let expected: [String]

  private init(
    _ name: String, _ sections: String, file: String, rows: String, bare: String,
    bareFile: String, expected: [String], steps: Int, metric: String, learningRate: Double = 5e-3
  ) {
    self.name = name
    self.sections = sections
    self.file = file
    self.rows = rows
    self.bare = bare
    self.bareFile = bareFile
    self.expected = expected
    self.steps = steps
    self.metric = metric
    self.learningRate = learningRate
  }

  package static let all: [MadeUpFamily] =
    [
      tagging("crf"), tagging("softmax"), tagging("global-pointer"), relation("mean"),
      relation("layer-norm"),
      relation("powers", section: "conditioning: pre-norm, subjectPower: 2, objectPower: 4"),
      relation("gplinker", section: "method: gplinker"), eventSubject, reading,
      maskedLM, classification, multiLabel,
      pair("joined pair", "", steps: 80), pair("siamese", "difference", steps: 120),
      pair("siamese [u; v]", "concatenation", steps: 80),
      regression("joined regression", "", steps: 80),
      regression("similarity", "cosine", steps: 150),
    ]

  package static func named(_ name: String) -> MadeUpFamily {
    guard let family = all.first(where: { $0.name == name }) else {
      preconditionFailure("no made-up family \(name)")
    }
    return family
  }

  /// Writes the rows and the recipe, with `more` lines of YAML, into a new folder.
  package func written(
    dropout: Double, more: String = ""
  ) throws -> (
    folder: TemporaryFolder, recipe: URL
  ) {
    let folder = try TemporaryFolder()
    func write(_ text: String, _ name: String) throws {
      try Data(text.utf8).write(to: folder.url.appending(path: name))
    }
    try write(rows, file)
    try write(bare, bareFile)
    let columns =
      switch name {
      case "similarity", "joined regression": ", columns: {text: text1, text2: text2}"
      case "event-subject": ", columns: {id: id}"
      default: ""
      }
    let recipe = """
      \(sections)
      model: {path: "\(Fixtures.url("tiny_hf").path)", hiddenDropout: \(dropout), attentionDropout: \(dropout)}
      data: {train: \(file), dev: \(file), tokenizer: google, lowercase: true, maxLength: 40\(columns)}
      optimizer: {learningRate: \(learningRate)}
      batch: {size: 16}
      threads: 1
      \(more)

      """
    try write(recipe, "recipe.yaml")
    return (folder, folder.url.appending(path: "recipe.yaml"))
  }

  // MARK: The tasks

  private static let persons = ["book", "film", "movie", "train"]
  private static let places = ["hotel", "room", "water", "stone"]
  private static let fillers = ["the", "very", "good", "is", "was", "not"]

  private static func tagging(_ head: String) -> MadeUpFamily {
    var rows = "", bare = "", expected: [String] = []
    for i in 0..<32 {
      var lines: [(String, String)] = [(fillers[i % 6], "O")]
      lines += [
        (persons[i % 4], "B-PER"), (i % 3 == 0 ? "good" : "is", i % 3 == 0 ? "I-PER" : "O"),
      ]
      lines += [("in", "O"), (places[(i / 4) % 4], "B-LOC")]
      if i % 2 == 0 { lines.append(("bad", "I-LOC")) }
      lines.append((fillers[(i + 2) % 6], "O"))
      rows += lines.map { "\($0.0) \($0.1)\n" }.joined() + "\n"
      bare += lines.map { "\($0.0)\n" }.joined() + "\n"
      expected.append(lines.map(\.1).joined(separator: " "))
    }
    return MadeUpFamily(
      "tagging \(head)", "task: tagging\ntagging: {head: \(head)}", file: "rows.bio", rows: rows,
      bare: bare, bareFile: "bare.bio", expected: expected, steps: 120, metric: "f1")
  }

  private static func relation(_ name: String, section: String? = nil) -> MadeUpFamily {
    let section = section ?? "conditioning: \(name)"
    let cities = ["北京", "上海", "山城"], countries = ["中国", "大国", "小国"]
    var rows = "", bare = "", expected: [String] = []
    for i in 0..<32 {
      let (city, other, country) = (cities[i % 3], cities[(i + 1) % 3], countries[(i / 3) % 3])
      let text: String, triples: String
      if i % 2 == 0 {
        text = "\(city)是\(country)的城市"
        triples = "[\"\(city)\",\"属于\",\"\(country)\"]"
      } else {
        text = "\(city)在\(country)，\(other)不是"
        triples = "{\"subject\":\"\(city)\",\"predicate\":\"位于\",\"object\":\"\(country)\",\"x\":1}"
      }
      rows += "{\"text\":\"\(text)\",\"spo_list\":[\(triples)]}\n"
      bare += "{\"text\":\"\(text)\"}\n"
      expected.append("\(city) \(i % 2 == 0 ? "属于" : "位于") \(country)")
    }
    return MadeUpFamily(
      "relation \(name)", "task: relation\nrelation: {\(section)}",
      file: "rows.jsonl", rows: rows, bare: bare, bareFile: "bare.jsonl", expected: expected,
      steps: 200, metric: "f1", learningRate: 1e-2)
  }

  private static let eventSubject: MadeUpFamily = {
    let firms = ["大山", "小火", "老天", "新海"], types = ["高价", "低价"]
    var rows = "id,text,type,entity\n", bare = "id,text,type\n", expected: [String] = []
    for i in 0..<32 {
      let (firm, other, type) = (firms[i % 4], firms[(i / 4 + 1 + i) % 4], types[i % 2])
      let text =
        i % 2 == 0 ? "\(firm)公司高价买\(other)公司" : "\(other)公司卖，\(firm)公司低价买"
      rows += "\"\(i)\",\"\(text)\",\"\(type)\",\"\(firm)公司\"\n"
      bare += "\"\(i)\",\"\(text)\",\"\(type)\"\n"
      expected.append("\(firm)公司")
    }
    return MadeUpFamily(
      "event-subject", "task: event-subject", file: "rows.csv", rows: rows, bare: bare,
      bareFile: "bare.csv", expected: expected, steps: 120, metric: "accuracy")
  }()

  private static let reading: MadeUpFamily = {
    var questions: [String] = [], bare: [String] = [], expected: [String] = []
    let things = ["hotel", "room", "book", "film"],
      values = ["good", "bad", "very good", "not bad"]
    for i in 0..<32 {
      let (a, b) = (things[i % 4], things[(i + 1) % 4])
      let (x, y) = (values[(i / 4) % 4], values[(i / 2) % 4])
      let context = "the \(a) is \(x) . the \(b) was \(y) ."
      let asked = i % 2 == 0 ? a : b, answer = i % 2 == 0 ? x : y
      let start =
        i % 2 == 0
        ? "the \(a) is ".unicodeScalars.count
        : "the \(a) is \(x) . the \(b) was ".unicodeScalars.count
      let head =
        "{\"context\":\"\(context)\",\"qas\":[{\"id\":\"q\(i)\",\"question\":\"the \(asked) ?\""
      questions.append(
        "\(head),\"answers\":[{\"text\":\"\(answer)\",\"answer_start\":\(start)}]}]}")
      bare.append("\(head)}]}")
      expected.append(answer)
    }
    func file(_ paragraphs: [String]) -> String {
      "{\"data\":[{\"paragraphs\":[\(paragraphs.joined(separator: ","))]}]}"
    }
    return MadeUpFamily(
      "reading", "task: reading\nreading: {stride: 4, maxQuestion: 8}", file: "rows.json",
      rows: file(questions), bare: file(bare), bareFile: "bare.json", expected: expected,
      steps: 150, metric: "exact")
  }()

  private static let maskedLM: MadeUpFamily = {
    let texts = [
      "the hotel is very good and the room is not bad", "北京是中国的城市，上海在大国",
      "we read this book in the train and it was good", "他在山城吃饭，你在天上看书",
    ]
    return MadeUpFamily(
      "masked-lm", "task: masked-lm", file: "rows.txt",
      rows: (0..<32).map { texts[$0 % 4] + "\n" }.joined(),
      bare: """
        the hotel is [MASK] good and the room is not bad
        北京是中[MASK]的城市，上海在大国
        we read this [MASK] in the train and it was good
        他在山城吃[MASK]，你在天上看书

        """, bareFile: "bare.txt", expected: ["very", "国", "book", "饭"], steps: 250,
      metric: "accuracy")
  }()

  /// Texts of 2 to 14 words, the lengths in no order.
  private static func text(_ i: Int) -> String {
    var words = [persons[i % 4]]
    for k in 0..<(i * 5 % 13) { words.append(fillers[(i + k) % 6]) }
    words.append(i % 3 == 0 ? "good" : "bad")
    return words.joined(separator: " ")
  }

  private static let classification: MadeUpFamily = {
    let labels = (0..<32).map { $0 % 3 == 0 ? "pos" : "neg" }
    let rows = (0..<32).map { "\(text($0))\t\(labels[$0])\n" }
    let bare = (0..<32).map { "\(text($0))\n" }
    return MadeUpFamily(
      "classification", "task: classification", file: "rows.tsv",
      rows: "text\tlabel\n" + rows.joined(), bare: "text\n" + bare.joined(), bareFile: "bare.tsv",
      expected: labels, steps: 80, metric: "accuracy")
  }()

  private static let multiLabel: MadeUpFamily = {
    let labels = (0..<32).map { (i: Int) -> String in
      var names: [String] = []
      if i % 3 > 0 { names.append("bad") }
      if i % 4 == 0 { names.append("book") }
      if i * 5 % 13 > 6 { names.append("long") }
      return names.joined(separator: ",")
    }
    let rows = (0..<32).map { "\(text($0))\t\(labels[$0])\n" }
    let bare = (0..<32).map { "\(text($0))\n" }
    return MadeUpFamily(
      "multi-label", "task: classification\nclassification: {kind: multi-label}", file: "rows.tsv",
      rows: "text\tlabel\n" + rows.joined(), bare: "text\n" + bare.joined(), bareFile: "bare.tsv",
      expected: labels, steps: 100, metric: "accuracy")
  }()

  private static func pairs(
    _ label: (Bool) -> String
  ) -> (
    rows: String, bare: String, labels: [String]
  ) {
    var rows = "text1\ttext2\tlabel\n", bare = "text1\ttext2\n", labels: [String] = []
    for i in 0..<32 {
      let (a, b) = (i % 2 == 0, (i / 2) % 2 == 0)
      // Lengths in no order.
      let (very, not) = (
        String(repeating: "very ", count: i * 3 % 5), String(repeating: "not ", count: i * 5 % 7)
      )
      let texts = [
        "the \(places[i % 4]) is \(very)\(a ? "good" : "bad")",
        "this \(persons[(i / 4) % 4]) was \(not)\(b ? "good" : "bad") !",
      ]
      labels.append(label(a == b))
      rows += "\(texts[0])\t\(texts[1])\t\(labels[i])\n"
      bare += "\(texts[0])\t\(texts[1])\n"
    }
    return (rows, bare, labels)
  }

  /// Two texts and their label, joined or compared.
  private static func pair(_ name: String, _ comparison: String, steps: Int) -> MadeUpFamily {
    let (rows, bare, labels) = pairs { $0 ? "same" : "other" }
    let mode = comparison.isEmpty ? "" : "\npair: {mode: siamese, comparison: \(comparison)}"
    return MadeUpFamily(
      name, "task: pair\(mode)", file: "rows.tsv", rows: rows, bare: bare, bareFile: "bare.tsv",
      expected: labels, steps: steps, metric: "accuracy")
  }

  /// Two texts and a number.
  private static func regression(_ name: String, _ comparison: String, steps: Int) -> MadeUpFamily {
    let (rows, bare, labels) = pairs { $0 ? "0.9" : "0.1" }
    let mode = comparison.isEmpty ? "" : "\npair: {mode: siamese, comparison: \(comparison)}"
    return MadeUpFamily(
      name, "task: regression\(mode)", file: "rows.tsv", rows: rows, bare: bare,
      bareFile: "bare.tsv", expected: labels, steps: steps, metric: "pearson")
  }
}
