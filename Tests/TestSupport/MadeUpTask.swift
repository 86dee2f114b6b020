import Foundation

/// A folder with made-up rows in words of the tiny model, and a recipe for them: `pos` rows praise, `neg` rows do not.
package final class MadeUpTask {
  package let folder: TemporaryFolder
  package var url: URL { folder.url }
  package var recipe: URL { url.appending(path: "recipe.yaml") }

  private static let filler = [
    "the", "an", "is", "was", "very", "movie", "film", "book", "read", "this", "that", "it",
  ]

  package init(train: Int = 44, dev: Int = 10, test: Int = 10) throws {
    folder = try TemporaryFolder()
    var state: UInt64 = 7
    for (name, count) in [("train", train), ("dev", dev), ("test", test)] {
      var text = "text\tlabel\n"
      for _ in 0..<count {
        let length = 1 + Self.next(&state, below: 14)
        var words = (0..<length).map { _ in Self.filler[Self.next(&state, below: 12)] }
        let isGood = Self.next(&state, below: 2) == 1
        words.insert(isGood ? "good" : "bad", at: Self.next(&state, below: length + 1))
        text += words.joined(separator: " ") + "\t" + (isGood ? "pos" : "neg") + "\n"
      }
      try write(text, to: "\(name).tsv")
    }
    let model = Fixtures.url("tiny_hf").path
    try write(
      """
      task: classification
      model: {path: "\(model)"}
      data: {train: train.tsv, dev: dev.tsv, test: test.tsv, lowercase: true, maxLength: 24}
      optimizer: {learningRate: 2e-3}
      batch: {size: 8}
      epochs: 2
      threads: 1

      """, to: "recipe.yaml")
  }

  /// Writes a file of the folder.
  @discardableResult
  package func write(_ text: String, to name: String) throws -> URL {
    try write(Data(text.utf8), to: name)
  }

  /// Writes a file of the folder.
  @discardableResult
  package func write(_ data: Data, to name: String) throws -> URL {
    let file = url.appending(path: name)
    try data.write(to: file)
    return file
  }

  private static func next(_ state: inout UInt64, below bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(bound))
  }
}
