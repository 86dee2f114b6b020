import ArgumentParser
import Foundation
import Model
import Text
import Trainer

extension Dialect: ExpressibleByArgument {}
extension TokenizerKind: ExpressibleByArgument {}
extension Embedder.Pooling: ExpressibleByArgument {}
extension Conversion.Target: ExpressibleByArgument {}

struct ThreadOptions: ParsableArguments {
  @Option(
    help:
      "Compute threads; by default the CPUs that the process may use, for a rank of train or bench its share of the host's."
  )
  var threads: Int?

  var count: Int { threads ?? Machine.processors }

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads \(threads): give a number from 1 to 1024.")
    }
  }
}

/// What a recipe says of its rows, in short forms that the findings name.
struct RowOptions: ParsableArguments {
  @Option(
    name: .customLong("set"), parsing: .singleValue,
    help: ArgumentHelp("Override a key of the recipe; may be repeated.", valueName: "key=value"))
  var settings: [String] = []

  @Flag(
    help:
      "Leave out training rows that repeat the text of an earlier one: --set data.dropDuplicates=true."
  )
  var dropDuplicates = false

  @Option(
    help: ArgumentHelp(
      "Leave out up to that many wrong rows of each file, and list them: --set data.skipBad=N.",
      valueName: "n"))
  var skipBad: Int?

  /// In the order in which they apply.
  var overrides: [String] {
    settings + (dropDuplicates ? ["data.dropDuplicates=true"] : [])
      + (skipBad.map { ["data.skipBad=\($0)"] } ?? [])
  }

  func validate() throws {
    if let skipBad, skipBad < 0 {
      throw ValidationError("--skip-bad \(skipBad): give 0 or more rows.")
    }
  }
}

enum Case: EnumerableFlag {
  case cased, uncased

  static func help(for value: Case) -> ArgumentHelp? {
    value == .cased ? "The vocabulary has capital letters." : "Lower-case and strip accents first."
  }
}

extension URL {
  /// A path of the command line.
  init(argument: String) { self.init(filePath: argument) }
}
