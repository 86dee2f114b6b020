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
