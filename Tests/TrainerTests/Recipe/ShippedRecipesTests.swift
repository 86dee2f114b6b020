import Foundation
import TestSupport
import Testing
import Trainer

@Suite struct ShippedRecipesTests {
  static let recipes: [URL] = {
    let folder = Fixtures.root.appending(path: "recipes")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return names.filter { $0.hasSuffix(".yaml") }.sorted().map { folder.appending(path: $0) }
  }()

  @Test func `the repository has recipes`() { #expect(Self.recipes.count >= 3) }

  /// Models and rows are fetched or made by scripts, so their paths may be empty here.
  @Test(arguments: recipes)
  func `a shipped recipe has nothing wrong but files that are not there yet`(url: URL) {
    do throws(RecipeErrors) {
      _ = try Recipe(contentsOf: url)
    } catch {
      let wrong = error.problems.filter {
        !$0.message.hasSuffix("does not exist. Correct the path; it starts at the recipe's folder.")
      }
      #expect(wrong.isEmpty)
    }
  }
}
