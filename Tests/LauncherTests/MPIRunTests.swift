import Foundation
import TestSupport
import Testing

let hasMPI = ["/usr/bin/mpirun", "/usr/local/bin/mpirun"].contains {
  FileManager.default.isExecutableFile(atPath: $0)
}

/// Runs and faults under a real `mpirun`, with the program as a user starts it.
@Suite(.serialized, .enabled(if: hasMPI, "mpirun is not installed"))
struct MPIRunTests {
  /// Starts `ranks` ranks of a line of bash, which says `$RANK` for its rank and `$TRAIN` for the command that trains.
  ///
  /// The last line of output is how long after the time in the file `fault` (or after the start) all had ended.
  static func ranks(
    _ ranks: Int, _ line: String, in task: MadeUpTask, options: String = ""
  ) throws -> Program.Result {
    try Program.shell(
      """
      export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 LOCKSTEP
      export TRAIN="$LOCKSTEP train recipe.yaml --threads 1 \(options)"
      date +%s%N >fault
      mpirun --oversubscribe --bind-to none -n \(ranks) bash -c 'RANK=$OMPI_COMM_WORLD_RANK; \(line)'
      status=$?
      echo "ended after $(( ($(date +%s%N) - $(cat fault)) / 1000000 )) ms"
      exit $status
      """, in: task.url)
  }

  /// Seconds from a fault to the end of all ranks.
  static func seconds(_ result: Program.Result) throws -> Double {
    let said = try #require(result.lines.last?.wholeMatch(of: /ended after (\d+) ms/))
    return Double(said.1).map { $0 / 1000 } ?? .infinity
  }

  /// Kernels that are not those with which the other ranks compute, also where the environment of the tests names some.
  static let otherKernels =
    ProcessInfo.processInfo.environment["OPENBLAS_CORETYPE"]?.lowercased() == "haswell"
    ? "Sandybridge" : "Haswell"

  /// What a loaded machine may take to end a run whose fault is known at once.
  static let atOnce = 15.0

  @Test func `three ranks end with the weights of one process`() throws {
    let task = try MadeUpTask()
    let alone = try Program.run(
      ["train", "recipe.yaml", "--run", "alone", "--threads", "1"], in: task.url)
    #expect(alone.status == 0, "\(alone.messages)")
    let together = try Self.ranks(3, "exec $TRAIN --run together", in: task)
    #expect(together.status == 0, "\(together.messages)")
    #expect(together.lines.dropLast().last == alone.lines.last)
    #expect(together.lines.filter { $0.hasPrefix("weights sha256") }.count == 1)
    for progress in ["thread", "cooperative"] {
      let made = try Self.ranks(
        3, "exec $TRAIN --run \(progress)", in: task, options: "--progress \(progress)")
      #expect(made.status == 0, "\(made.messages)")
      #expect(made.lines.dropLast().last == alone.lines.last)
    }
  }

  @Test(arguments: ["--shard", "--no-shard"])
  func `the vendor's exchange trains, and promises nothing`(shard: String) throws {
    let task = try MadeUpTask()
    let made = try Self.ranks(
      3, "exec $TRAIN --run run", in: task, options: "--exchange vendor \(shard)")
    #expect(made.status == 0, "\(made.messages)")
    #expect(made.lines.filter { $0.hasPrefix("weights sha256") }.count == 1)
    #expect(
      made.messages.contains(
        "exchange     vendor exchange on 3 ranks, not reproducible: other ranks or another exchange give other weights"
      ))
  }

  @Test(arguments: [
    ("--set optimizer.learningRate=1e-3", "the recipe's optimizer.learningRate"),
    ("--set data.train=dev.tsv", "the rows"),
    ("OPENBLAS_CORETYPE=\(otherKernels)", "the kernels"),
    ("--set model.path=other", "the vocabulary"),
  ])
  func `a rank that brings something else is named before anything is written`(
    difference: String, item: String
  ) throws {
    let task = try MadeUpTask()
    let other = task.url.appending(path: "other")
    try FileManager.default.copyItem(at: Fixtures.url("tiny_hf"), to: other)
    let vocabulary = other.appending(path: "vocab.txt")
    let words = try String(contentsOf: vocabulary, encoding: .utf8)
    try Data(words.replacing("\nhotel\n", with: "\nmotel\n").utf8).write(to: vocabulary)
    let isVariable = !difference.hasPrefix("--")
    let result = try Self.ranks(
      2,
      "if [ $RANK = 1 ]; then exec env \(isVariable ? difference : "A=") $TRAIN --run run \(isVariable ? "" : difference); else exec $TRAIN --run run; fi",
      in: task)
    #expect(result.status == 77, "\(result.messages)")
    #expect(result.messages.contains("The ranks disagree about \(item): "), "\(result.messages)")
    #expect(result.messages.contains("rank 1"), "\(result.messages)")
    #expect(try Self.seconds(result) < Self.atOnce)
    #expect(
      !FileManager.default.fileExists(atPath: task.url.appending(path: "run/metrics.jsonl").path))
  }

  @Test func `a rank with another build of the program is named`() throws {
    let task = try MadeUpTask()
    let result = try Self.ranks(
      2,
      "if [ $RANK = 1 ]; then cp $LOCKSTEP other; echo >>other; exec ./other ${TRAIN#* } --run run; else exec $TRAIN --run run; fi",
      in: task)
    #expect(result.status == 77, "\(result.messages)")
    #expect(
      result.messages.contains(#/The ranks disagree about the program: [0-9a-f]{16} on rank 0 /#),
      "\(result.messages)")
  }

  @Test func `what compares one process with itself refuses several, as usage`() throws {
    let result = try Self.ranks(
      2, "exec $LOCKSTEP bench --price --model tiny --steps 1", in: MadeUpTask())
    #expect(result.status == 64, "\(result.messages)")
    #expect(
      result.messages.contains(
        "--price compares two computations of one process: run it without mpirun."),
      "\(result.messages)")
  }

  @Test
  func `a rank killed in the middle ends the job, and other ranks finish the run with its bits`()
    throws
  {
    let task = try MadeUpTask()
    let steps = "--set epochs=40 --set checkpoint.everySteps=4"
    let whole = try Program.shell(
      "$LOCKSTEP train recipe.yaml --threads 1 --run whole \(steps)", in: task.url)
    let killed = try Self.ranks(
      3,
      """
      if [ $RANK = 1 ]; then
        (await "ls run/checkpoints 2>/dev/null | grep -q step-"; date +%s%N >fault; kill -9 $$) &
      fi
      exec $TRAIN --run run \(steps)
      """, in: task)
    // The launcher sees it and ends the others; nothing of them is lost but the steps since the last checkpoint.
    #expect(killed.status == 137, "\(killed.messages)")
    #expect(killed.messages.contains("exited on signal 9 (Killed)"), "\(killed.messages)")
    #expect(try Self.seconds(killed) < Self.atOnce)
    let resumed = try Self.ranks(2, "exec $TRAIN --run run --resume \(steps)", in: task)
    #expect(resumed.status == 0, "\(resumed.messages)")
    #expect(resumed.messages.contains("resuming after step"))
    #expect(resumed.lines.dropLast().last == whole.lines.last)
  }
}
