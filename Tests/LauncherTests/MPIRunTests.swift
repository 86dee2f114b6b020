import Foundation
import TestSupport
import Testing

private let hasMPI = ["/usr/bin/mpirun", "/usr/local/bin/mpirun"].contains {
  FileManager.default.isExecutableFile(atPath: $0)
}

/// Runs and faults under a real `mpirun`, with the program as a user starts it.
@Suite(.serialized, .enabled(if: hasMPI, "mpirun is not installed"))
struct MPIRunTests {
  /// Starts `ranks` ranks of a line of bash, which says `$RANK` for its rank and `$TRAIN` for the command that trains.
  static func ranks(
    _ ranks: Int, _ line: String, in task: MadeUpTask, options: String = ""
  ) throws -> Program.Result {
    try Program.shell(
      """
      export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 LOCKSTEP
      export TRAIN="$LOCKSTEP train recipe.yaml --threads 1 \(options)"
      mpirun --oversubscribe --bind-to none -n \(ranks) bash -c 'RANK=$OMPI_COMM_WORLD_RANK; \(line)'
      """, in: task.url)
  }

  @Test func `three ranks end with the weights of one process`() throws {
    let task = try MadeUpTask()
    let alone = try Program.run(
      ["train", "recipe.yaml", "--run", "alone", "--threads", "1"], in: task.url)
    #expect(alone.status == 0, "\(alone.messages)")
    let together = try Self.ranks(3, "exec $TRAIN --run together", in: task)
    #expect(together.status == 0, "\(together.messages)")
    #expect(together.lines.last == alone.lines.last)
    #expect(together.lines.filter { $0.hasPrefix("weights sha256") }.count == 1)
  }

  @Test(arguments: [
    ("--set optimizer.learningRate=1e-3", "the recipe"), ("--set data.train=dev.tsv", "the rows"),
    ("OPENBLAS_CORETYPE=Haswell", "the kernels"), ("--set model.path=other", "the vocabulary"),
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
    #expect(
      !FileManager.default.fileExists(atPath: task.url.appending(path: "run/metrics.jsonl").path))
  }

  @Test
  func `a rank killed in the middle ends the job, and other ranks finish the run with its bits`()
    throws
  {
    let task = try MadeUpTask()
    let steps = "--set epochs=8 --set checkpoint.everySteps=4"
    let whole = try Program.shell(
      "$LOCKSTEP train recipe.yaml --threads 1 --run whole \(steps)", in: task.url)
    let killed = try Self.ranks(
      3,
      "if [ $RANK = 1 ]; then (until [ \\\"$(cat run/metrics.jsonl 2>/dev/null | wc -l)\\\" -ge 9 ]; do sleep 0.01; done; kill -9 $$) & fi; exec $TRAIN --run run \(steps)"
        .replacing("\\\"", with: "\""), in: task)
    #expect(killed.status != 0)
    let resumed = try Self.ranks(2, "exec $TRAIN --run run --resume \(steps)", in: task)
    #expect(resumed.status == 0, "\(resumed.messages)")
    #expect(resumed.messages.contains("resuming after step"))
    #expect(resumed.lines.last == whole.lines.last)
  }

  @Test func `a rank that is stopped is named as silent, and the run ends with 76`() throws {
    let task = try MadeUpTask()
    let result = try Self.ranks(
      2,
      "if [ $RANK = 1 ]; then (until [ -s run/metrics.jsonl ]; do sleep 0.01; done; kill -STOP $$; sleep 20; kill -9 $$) & fi; exec $TRAIN --run run --set epochs=3000 --stall-seconds 6",
      in: task)
    #expect(result.status != 0)
    #expect(result.messages.contains("rank 1"), "\(result.messages)")
    #expect(result.messages.contains("no sign of life"), "\(result.messages)")
    #expect(result.messages.contains("recorder-rank0.jsonl"), "\(result.messages)")
    let recorder = try String(
      contentsOf: task.url.appending(path: "run/recorder-rank0.jsonl"), encoding: .utf8)
    let operations = recorder.split(separator: "\n")
    #expect(operations.count > 10 && operations.allSatisfy { $0.contains("\"rank\":0") })
    let last = try #require(operations.last)
    #expect(!last.contains("\"state\":\"finished\""), "\(last)")
  }
}
