import Collective
import Foundation
import Model
import TestSupport
import Testing
import Trainer

/// One rank's part of training `recipe` into `run`, with numerics that `change` made other ones.
private func train(
  _ recipe: URL, into run: URL, on collective: CollectiveEngine, resumes: Bool = false,
  stops: Bool = false, change: (inout Numerics) -> Void = { _ in }
) throws -> (outcome: TrainingRun.Outcome, messages: String) {
  let requests = RunRequests()
  if stops { requests.stop() }
  var messages = ""
  let outcome = try trainedPart(
    recipe, into: run, on: collective, resumes: resumes, requests: requests, change: change
  ) { messages += $0 }
  return (outcome, messages)
}

/// What ranks and resumes must have alike of program and arithmetic.
@Suite(.serialized) struct NumericsTests {
  enum Item: String, CaseIterable {
    case program = "the program"
    case kernels = "the kernels"
    case library = "OpenBLAS"
    case flags = "the CPU flags"
    case results = "the kernel results"

    func change(_ numerics: inout Numerics) {
      switch self {
      case .program: numerics.program = "another"
      case .kernels: numerics.kernels = "another"
      case .library: numerics.library = "another"
      case .flags: numerics.flags = "another"
      case .results: numerics.kernelResults = "another"
      }
    }
  }

  @Test(arguments: Item.allCases)
  func `a rank with another program or other arithmetic is named before a tensor moves`(
    item: Item
  ) throws {
    let task = try MadeUpTask()
    let (recipe, run) = (task.recipe, task.url.appending(path: "run"))
    let outcomes = try outcomes(ranks: 3) { collective in
      try train(recipe, into: run, on: collective) {
        if collective.rank == 1 { item.change(&$0) }
      }.outcome
    }
    for outcome in outcomes {
      let error = #expect(throws: CommunicationError.self) { try outcome.get() }
      #expect(error?.exitCode == 77)
      let sentence = "\(error.map { "\($0)" } ?? "")"
      #expect(sentence.contains("The ranks disagree about \(item.rawValue): "), "\(sentence)")
      #expect(sentence.contains(" on rank 0, rank 2; another on rank 1. "), "\(sentence)")
    }
    #expect(!FileManager.default.fileExists(atPath: run.appending(path: "recipe.yaml").path))
  }

  @Test func `a resume says where the arithmetic is another one, and a newer program goes on`()
    throws
  {
    let task = try MadeUpTask()
    let (recipe, run) = (task.recipe, task.url.appending(path: "run"))
    func resume(_ item: Item?) throws -> String {
      try onRanks(1) { collective in
        try train(recipe, into: run, on: collective, resumes: true, stops: true) {
          item?.change(&$0)
        }.messages
      }[0]
    }
    _ = try resume(nil)
    for item in [nil, Item.program] {
      #expect(!(try resume(item).contains("the last bits of the weights may differ")))
    }
    for item in [Item.kernels, .results] {
      let said = try resume(item)
      #expect(said.contains("note: the run was started with "), "\(said)")
      #expect(said.contains("another"), "\(said)")
      #expect(said.contains("the last bits of the weights may differ"), "\(said)")
    }
  }

  @Test func `a checkpoint without kernel results is compared by what it holds`() throws {
    var numerics = try Numerics(BLASContract(hidden: 32, intermediate: 64))
    let old = numerics.kernels
    #expect(numerics.continues(old) && numerics.continues(numerics.fingerprint))
    numerics.kernels = "another"
    #expect(!numerics.continues(old))
  }

  @Test func `the digests are those of the running file and of results that repeat`() throws {
    let contract = BLASContract(hidden: 32, intermediate: 64)
    let numerics = try Numerics(contract)
    #expect(numerics.program.count == 16 && numerics.kernelResults.count == 16)
    #expect(try Numerics(contract) == numerics)
    let bits = KernelResults.bits()
    #expect(bits == KernelResults.bits())
    #expect(bits.allSatisfy { Float(bitPattern: $0).isFinite })
    // Results, and not zeros that nobody wrote.
    #expect(bits.count { $0 & 0x7FFF_FFFF == 0 } < bits.count / 1_000)
  }
}
