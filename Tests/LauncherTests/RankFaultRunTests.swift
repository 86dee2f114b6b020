import Foundation
import TestSupport
import Testing

/// Faults of one rank of a run under `mpirun`: what is said, how the job ends, and how long that takes.
@Suite(.serialized, .enabled(if: hasMPI, "mpirun is not installed"))
struct RankFaultRunTests {
  @Test func `a rank that is stopped is named as silent, and the run fails`() throws {
    let task = try MadeUpTask()
    let result = try MPIRunTests.ranks(
      2,
      """
      exec 2>>log
      if [ $RANK = 1 ]; then
        (await "[ -s run/metrics.jsonl ]"
         date +%s%N >fault; kill -STOP $$
         await "grep -q no.sign.of.life log"; date +%s%N >named
         await "grep -q recorder-rank0 log"; sleep 0.5; kill -9 $$) &
      fi
      exec $TRAIN --run run --set epochs=3000 --stall-seconds 6
      """, in: task)
    #expect(result.status != 0)
    func text(_ name: String) throws -> String {
      try String(contentsOf: task.url.appending(path: name), encoding: .utf8)
    }
    let log = try text("log")
    let sentence =
      #/note: rank 1 \(.*, process \d+\) has given no sign of life for \d+ s; it was last seen in /#
    #expect(log.contains(sentence), "\(log)")
    #expect(log.contains(#/error: rank 1 \(.*\) has given no sign of life for \d+ s/#), "\(log)")
    let times = try ["fault", "named"].map { try text($0).trimmingCharacters(in: .newlines) }
    let named = try (#require(Double(times[1])) - #require(Double(times[0]))) * 1e-9
    // Silence is named after three seconds.
    #expect(named > 1 && named < 3 + MPIRunTests.atOnce, "named after \(named) s")
    #expect(try MPIRunTests.seconds(result) < 6 + 2 * MPIRunTests.atOnce)
    let recorder = try text("run/recorder-rank0.jsonl")
    let operations = recorder.split(separator: "\n")
    #expect(operations.count > 10 && operations.allSatisfy { $0.contains("\"rank\":0") })
    let last = try #require(operations.last)
    #expect(!last.contains("\"state\":\"finished\""), "\(last)")
  }

  @Test func `a vendor's all-reduce that nobody completes ends with 76`() throws {
    let task = try MadeUpTask()
    let result = try MPIRunTests.ranks(
      2,
      """
      if [ $RANK = 1 ]; then (await "[ -s run/metrics.jsonl ]"; date +%s%N >fault; kill -STOP $$) & fi
      exec $TRAIN --run run --set epochs=3000 --exchange vendor --stall-seconds 5
      """, in: task)
    #expect(result.status == 76, "\(result.status) \(result.messages)")
    #expect(
      result.messages.contains(
        #/has (waited for the vendor's all-reduce for 5 s|given no sign of life for \d+ s)/#),
      "\(result.messages)")
    #expect(try MPIRunTests.seconds(result) < 5 + 3 * MPIRunTests.atOnce)
  }

  @Test func `a rank that cannot read its rows ends all with its sentence and its exit code`()
    throws
  {
    let task = try MadeUpTask()
    try task.write("words\tlabel\nthe movie was good\tpos\n", to: "other.tsv")
    let result = try MPIRunTests.ranks(
      3,
      "if [ $RANK = 1 ]; then exec $TRAIN --run run --set data.dev=other.tsv; else exec $TRAIN --run run; fi",
      in: task)
    #expect(result.status == 65, "\(result.messages)")
    let sentence =
      "/other.tsv:1: column \"text\": the header has no such column, it has \"words\", \"label\": ask for one of these"
    // The rank itself, and rank 0 for those who were well.
    let errors = result.messages.split(separator: "\n").filter { $0.hasPrefix("error: ") }
    #expect(errors.count == 2 && errors.allSatisfy { $0.hasSuffix(sentence) }, "\(errors)")
    #expect(errors.contains { $0.contains(#/^error: rank 1 \(.*, process \d+\) failed: /#) })
    #expect(try MPIRunTests.seconds(result) < MPIRunTests.atOnce)
  }

  @Test func `a full disk of rank 0 ends all with 74 and leaves nothing half-written`() throws {
    let task = try MadeUpTask()
    // Files may grow to 150 KiB: the weights have 114, their moments twice that.
    let result = try MPIRunTests.ranks(
      2, "ulimit -f 150; exec $TRAIN --run run --set checkpoint.everySteps=2", in: task)
    #expect(result.status == 74, "\(result.messages)")
    #expect(result.messages.contains("File too large"), "\(result.messages)")
    #expect(try MPIRunTests.seconds(result) < MPIRunTests.atOnce)
    let left = try FileManager.default.contentsOfDirectory(
      atPath: task.url.appending(path: "run/checkpoints").path)
    #expect(!left.contains { $0.hasPrefix("step-") }, "\(left)")
  }

  @Test func `a disk that fails while training goes on ends the run at a step border`() throws {
    let task = try MadeUpTask()
    let result = try MPIRunTests.ranks(
      2,
      """
      if [ $RANK = 0 ]; then
        (await "[ -e run/LATEST ]"
         await "rm -f run/LATEST && mkdir -p run/LATEST/taken 2>/dev/null"; date +%s%N >fault) &
      fi
      exec $TRAIN --run run --set epochs=3000 --set checkpoint.everySteps=2
      """, in: task)
    #expect(result.status == 74, "\(result.messages)")
    #expect(result.messages.contains("LATEST"), "\(result.messages)")
    #expect(result.messages.contains("rank 0"), "\(result.messages)")
    #expect(try MPIRunTests.seconds(result) < MPIRunTests.atOnce)
  }

  @Test func `a rank that computes slowly is named as slow in computing, and the weights stay`()
    throws
  {
    let task = try MadeUpTask()
    try FileManager.default.createDirectory(
      at: task.url.appending(path: "model"), withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      at: Fixtures.url("tiny_hf/vocab.txt"), to: task.url.appending(path: "model/vocab.txt"))
    // Large enough that a step takes some hundredths of a second.
    try task.write(
      """
      {"model_type": "bert", "vocab_size": 200, "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4,
       "intermediate_size": 768, "max_position_embeddings": 64, "type_vocab_size": 2, "hidden_act": "gelu"}
      """, to: "model/config.json")
    let options =
      "--set model.path=model --set model.initialize=random --set batch.size=44 --set steps=40"
    // Rank 1 stands still two thirds of the time, in the shortest turns that a shell can make.
    let result = try MPIRunTests.ranks(
      2,
      """
      if [ $RANK = 1 ]; then
        (await "[ -s run/metrics.jsonl ]"
         while kill -STOP $$ 2>/dev/null; do sleep 0.02; kill -CONT $$; sleep 0.01; done) &
      fi
      exec $TRAIN --run run \(options)
      """, in: task)
    #expect(result.status == 0, "\(result.messages)")
    let warning =
      #/warning: step \d+: rank 1 \(.*, process \d+\) is slow in computing: [0-9.]+ s a step where the others would take [0-9.]+ s/#
    #expect(result.messages.contains(warning), "\(result.messages)")
    #expect(!result.messages.contains("rank 0 is slow") && !result.messages.contains("rank 0 ("))
    let alone = try Program.shell(
      "$LOCKSTEP train recipe.yaml --threads 1 --run alone \(options)", in: task.url)
    #expect(result.lines.dropLast().last == alone.lines.last)
  }
}
