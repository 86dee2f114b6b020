import Foundation
import TestSupport
import Testing

/// Requests to stop and to save, by signals to one of several ranks and before the first step.
@Suite(.serialized) struct RankSignalTests {
  /// What rank 1 sends itself once the first step is logged.
  private static func signalling(_ signal: String) -> String {
    "echo $$ >pid$RANK; "
      + "if [ $RANK = 1 ]; then (await \"[ -s run/metrics.jsonl ]\"; kill -\(signal) $(cat pid1)) & fi; "
  }

  @Test(.enabled(if: hasMPI, "mpirun is not installed"), arguments: ["USR1", "TERM"])
  func `a rank that is asked to stop stops all, with a checkpoint and 75`(signal: String) throws {
    let task = try MadeUpTask()
    let stopped = try MPIRunTests.ranks(
      2, Self.signalling(signal) + "exec $TRAIN --run run", in: task,
      options: "--set epochs=3000")
    #expect(stopped.status == 75, "\(stopped.messages)")
    #expect(stopped.messages.contains("stopped on request; checkpoint of step "))
    let verified = try Program.run(["verify", "run"], in: task.url)
    #expect(verified.status == 0, "\(verified.messages)")
    #expect(verified.output.contains("; its checkpoint holds these weights, sha256 "))
  }

  @Test(.enabled(if: hasMPI, "mpirun is not installed"))
  func `a rank that is asked to save saves, and all go on`() throws {
    let task = try MadeUpTask()
    let result = try MPIRunTests.ranks(
      2, Self.signalling("USR2") + "exec $TRAIN --run run", in: task,
      options: "--set epochs=100 --set checkpoint.keep=1000")
    #expect(result.status == 0, "\(result.messages)")
    let steps = try FileManager.default.contentsOfDirectory(
      atPath: task.url.appending(path: "run/checkpoints").path
    ).filter { $0.hasPrefix("step-") }
    #expect(steps.count == 2 && steps.contains("step-00000600"), "\(steps)")
  }

  // With the whole optimizer a rank has nothing to send and would be done before rank 0 has written.
  @Test(.enabled(if: hasMPI, "mpirun is not installed"), arguments: ["--shard", "--no-shard"])
  func `a stop whose checkpoint cannot be written ends with 74 and not with 75`(
    option: String
  ) throws {
    let task = try MadeUpTask()
    let result = try MPIRunTests.ranks(
      2, "ulimit -f 150; " + Self.signalling("USR1") + "exec $TRAIN --run run", in: task,
      options: "--set epochs=3000 \(option)")
    #expect(result.status == 74, "\(result.status) \(result.messages)")
    #expect(result.messages.contains("File too large"), "\(result.messages)")
    #expect(!result.messages.contains("stopped on request"))
    #expect(
      !FileManager.default.fileExists(atPath: task.url.appending(path: "run/LATEST").path))
  }

  @Test func `a request that comes while rows are read is carried out at the first border`() throws
  {
    let task = try MadeUpTask()
    let result = try Program.shell(
      """
      for i in $(seq 1500); do tail -n +2 train.tsv; done >more && cat more >>train.tsv
      $LOCKSTEP train recipe.yaml --run run 2>log &
      await 'grep -q "BLAS kernels" log'
      kill -USR1 $!
      wait $!; echo "ended with $?"; cat log >&2
      """, in: task.url)
    #expect(result.lines == ["ended with 75"], "\(result)")
    let first = task.url.appending(path: "run/checkpoints/step-00000001/manifest.json")
    #expect(FileManager.default.fileExists(atPath: first.path))
  }
}
