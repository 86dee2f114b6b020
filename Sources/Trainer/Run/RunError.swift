import Collective
import Foundation
import Model
import Text

/// How the program ends; the numbers are those of `sysexits.h` where it has one.
package enum ExitStatus: Int32, Error, Sendable {
  case done = 0
  /// The command line or the recipe is wrong.
  case usage = 64
  /// Rows, a vocabulary or weights are wrong.
  case data = 65
  /// The machine cannot do it: memory, libraries.
  case environment = 69
  /// A defect of the program.
  case internalFailure = 70
  /// A file cannot be written, or a run's directory is in use.
  case inputOutput = 74
  /// Stopped on request with a checkpoint: run it again.
  case tryAgain = 75
  /// A rank stopped answering.
  case stall = 76
  /// Ranks hold different recipes, rows, programs or parameters.
  case disagreement = 77
  /// A loss or gradient is not finite.
  case notFinite = 78

  /// The one mapping from errors to exit codes.
  package init(_ error: any Error) {
    switch error {
    case let error as RunError: self = error.status
    case let error as CommunicationError: self = Self(rawValue: error.exitCode) ?? .internalFailure
    case let error as RankError: self = Self(rawValue: error.exitCode) ?? .internalFailure
    case is RecipeErrors: self = .usage
    case is DataErrors, is VocabularyError, is TruncationError: self = .data
    case let error as WeightsError: self = error.rule == .output ? .inputOutput : .data
    case is OptimizerError, is StepNotFinite: self = .notFinite
    case let error as CheckpointError: self = error.rule == .mismatch ? .usage : .inputOutput
    case let errors as PreparationErrors: self = errors.errors.first.map(ExitStatus.init) ?? .usage
    case is CocoaError: self = .inputOutput
    default: self = .internalFailure
    }
  }
}

/// Why a run cannot start or go on, with its remedy and its exit code.
package struct RunError: Error, Equatable, CustomStringConvertible {
  package let status: ExitStatus
  package let description: String

  package init(_ status: ExitStatus, _ description: String) {
    self.status = status
    self.description = description
  }
}

extension RunError {
  static func notAModelOfARun(_ folder: String) -> RunError {
    RunError(
      .data,
      "\(folder): there is no \(TaskDefinition.fileName), so this is no model that a run has saved. "
        + "Give the directory of a finished run."
    )
  }

  static func damaged(_ file: String, _ reason: String) -> RunError {
    RunError(
      .data, "\(file): \(reason). The file is damaged; restore it from a copy, or train again.")
  }

  static func exists(_ folder: String) -> RunError {
    RunError(
      .usage,
      "\(folder) holds a run already. Add --resume to continue it, or give another directory with --run."
    )
  }

  /// A call of the operating system that failed on `path`.
  static func system(_ path: String, _ action: String, _ code: Int32) -> RunError {
    let reason = String(cString: strerror(code))
    let remedy = DurableFile.remedy(code)
    return RunError(
      .inputOutput,
      "\(path) cannot be \(action): \(reason). \(remedy.prefix(1).uppercased())\(remedy.dropFirst())."
    )
  }
}
