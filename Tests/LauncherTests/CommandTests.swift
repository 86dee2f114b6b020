import Foundation
import TestSupport
import Testing

private func object(_ line: String) throws -> [String: Any] {
  try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
}

@Suite(.serialized) struct CommandTests {
  let task: MadeUpTask

  init() throws { task = try MadeUpTask() }

  private func run(_ arguments: String..., input: String = "") throws -> Program.Result {
    try Program.run(arguments, in: task.url, input: Data(input.utf8))
  }

  @Test func `every command explains itself with an example`() throws {
    // What the program itself says that it has.
    let dump = try object(run("--experimental-dump-help").output)
    let all = try #require((dump["command"] as? [String: Any])?["subcommands"] as? [[String: Any]])
    let names = all.compactMap { $0["commandName"] as? String }.filter { $0 != "help" }
    #expect(names.count == all.count - 1 && names.contains("train"))
    for name in names {
      let result = try run(name, "--help")
      #expect(result.status == 0, "\(name)")
      let parts = result.output.split(separator: "Example", maxSplits: 1)
      #expect(parts.count == 2, "\(name) has no example")
      #expect(parts.last?.split(separator: "USAGE").first?.contains("lockstep \(name)") == true)
    }
  }

  @Test func `a wrong command line ends with 64 and says what is wrong`() throws {
    let unknown = try run("tarin")
    #expect(unknown.status == 64)
    #expect(unknown.output.isEmpty)
    #expect(try run("train").status == 64)
    #expect(
      try run("tokenize", "--tokenizer", "google").messages.contains("Give one of --model DIR"))
    let key = try run("train", "recipe.yaml", "--set", "epoch=3")
    #expect(key.status == 64)
    #expect(
      key.messages.contains("error: --set epoch=3: unknown key `epoch`. Did you mean `epochs`?"))
    #expect(
      try run("train", "missing.yaml").messages.contains(
        "missing.yaml: the recipe is not there"))
    #expect(
      try run("train", "recipe.yaml", "--run", "").messages.hasPrefix("error: an argument is empty")
    )
    for arguments in [
      ["train", "recipe.yaml", "--seeds", "9223372036854775807", "--dry-run"],
      ["train", "recipe.yaml", "--seeds", "2", "--set", "seed=9223372036854775806", "--dry-run"],
      ["train", "recipe.yaml", "--set", "head.dropout=0.99999999", "--dry-run"],
      ["bench", "--model", "tiny", "--steps", "9223372036854775807"],
    ] {
      #expect(try Program.run(arguments, in: task.url).status == 64, "\(arguments)")
    }
  }

  @Test(arguments: ["train", "bench"])
  func `the wire and the vendor's exchange are options that say what they cost`(
    command: String
  ) throws {
    let help = try run(command, "--help").output.split(whereSeparator: \.isWhitespace).joined(
      separator: " ")
    #expect(help.contains("deterministic for a fixed number of ranks only"))
    #expect(help.contains("not reproducible, for comparison"))
    let recipe = command == "train" ? ["recipe.yaml"] : []
    func refused(_ options: String...) throws -> String {
      let result = try Program.run([command] + recipe + options, in: task.url, input: Data())
      #expect(result.status == 64)
      return result.messages
    }
    #expect(try refused("--wire", "float16").contains("'float16'"))
    #expect(try refused("--progress", "none").contains("'none'"))
    #expect(
      try refused("--exchange", "tree", "--wire", "bfloat16").contains(
        "The tree exchange sends single precision only."))
    #expect(
      try refused("--exchange", "vendor", "--wire", "bfloat16").contains(
        "The vendor all-reduce sums single precision only."))
  }

  @Test func `several seeds are summarised by their best models`() throws {
    let result = try run("train", "recipe.yaml", "--run", "runs", "--seeds", "2")
    #expect(result.status == 0)
    let text = try String(contentsOf: task.url.appending(path: "runs/seeds.json"), encoding: .utf8)
    let summary = try object(text)
    #expect(summary["seeds"] as? [Int] == [1, 2] && summary["split"] as? String == "test")
    let metrics = try #require(summary["metrics"] as? [[String: Any]])
    let loss = try #require(metrics.first { $0["name"] as? String == "loss" })
    let values = try #require(loss["values"] as? [Double])
    // What each run's log says of its test rows.
    let logged = try (1...2).map { number in
      let log = task.url.appending(path: "runs/seed-\(number)/metrics.jsonl")
      let lines = try String(contentsOf: log, encoding: .utf8).split(separator: "\n")
      let last = try lines.map { try object(String($0)) }.last { $0["split"] as? String == "test" }
      return try #require(last?["loss"] as? Double)
    }
    #expect(values == logged && values[0] != values[1])
    let (a, b) = (values[0], values[1])
    #expect(abs((loss["mean"] as? Double ?? 0) - (a + b) / 2) < 1e-12)
    #expect(abs((loss["deviation"] as? Double ?? 0) - abs(a - b) / 2.0.squareRoot()) < 1e-12)
    #expect(abs((loss["halfInterval"] as? Double ?? 0) - 12.706 * abs(a - b) / 2) < 1e-9)
    #expect(result.output.contains("test loss       mean "))
  }

  @Test func `seeds are trained though nobody reads their digests`() throws {
    let result = try Program.shell(
      """
      mkfifo digests
      head -1 <digests >first & exec 3>digests
      $LOCKSTEP train recipe.yaml --run runs --seeds 3 --set epochs=1 >&3 3>&-
      echo "ended with $?"; exec 3>&-; cat first
      """, in: task.url)
    #expect(result.lines.first == "ended with 0", "\(result)")
    #expect(result.lines.last?.hasPrefix("weights sha256 ") == true)
    #expect(
      FileManager.default.fileExists(atPath: task.url.appending(path: "runs/seeds.json").path))
  }

  @Test func `train, evaluate and predict work together`() throws {
    let trained = try run("train", "recipe.yaml", "--run", "run")
    #expect(trained.status == 0)
    #expect(trained.lines.count == 1)
    #expect(trained.output.wholeMatch(of: /weights sha256 [0-9a-f]{64}\n/) != nil)
    #expect(trained.messages.contains("BLAS kernels "))
    #expect(trained.messages.contains("dev after step 12:  accuracy "))

    let evaluated = try run("evaluate", "--run", "run", "--data", "test.tsv")
    #expect(evaluated.status == 0)
    #expect(try object(evaluated.output)["rows"] as? Int == 10)
    #expect(try object(evaluated.output)["accuracy"] is Double)

    try task.write("a good film\n\nvery bad\n", to: "lines.txt")
    let predicted = try run(
      "predict", "--run", "run", "--input", "lines.txt", "--output", "p.jsonl")
    #expect(predicted.status == 0)
    #expect(predicted.output.isEmpty)
    let lines = try String(contentsOf: task.url.appending(path: "p.jsonl"), encoding: .utf8)
      .split(separator: "\n").map { try object(String($0)) }
    #expect(lines.count == 3)
    for line in lines {
      let probabilities = try #require(line["probabilities"] as? [String: Double])
      let label = try #require(line["label"] as? String)
      #expect(Set(probabilities.keys) == ["neg", "pos"])
      #expect(abs(probabilities.values.reduce(0, +) - 1) < 1e-12)
      #expect(probabilities[label] == probabilities.values.max())
    }

    let again = try run("train", "recipe.yaml", "--run", "run")
    #expect(again.status == 64)
    #expect(again.messages.contains("holds a run already. Add --resume to continue it"))
    #expect(
      try run("train", "run/recipe.yaml", "--run", "run", "--resume").output == trained.output)
  }

  @Test func `predictions go into pipes and through links, and never over what is read`() throws {
    #expect(try run("train", "recipe.yaml", "--run", "run", "--set", "steps=1").status == 0)
    let result = try Program.shell(
      """
      head -3 test.tsv >rows.tsv
      say() { echo "$1 $($LOCKSTEP predict --run run --input rows.tsv --output "$2" 2>>log | sha256sum)"; }
      say file out.jsonl; echo "content $(sha256sum <out.jsonl)"
      say standard -; say device /dev/stdout
      mkfifo pipe; sha256sum <pipe >sum & say pipe pipe; wait; echo "through $(cat sum)"
      touch target; ln -s target link; say link link; [ -L link ] && echo "linked $(sha256sum <target)"
      $LOCKSTEP predict --run run --input rows.tsv --output rows.tsv 2>>log; echo "ended with $?"
      ln rows.tsv other.tsv; $LOCKSTEP predict --run run --input rows.tsv --output other.tsv 2>>log; echo "ended with $?"
      """, in: task.url)
    var sums: [String: String] = [:]
    for words in result.lines.map({ $0.split(separator: " ").map(String.init) })
    where words.count == 3 && words[2] == "-" {
      sums[words[0]] = words[1]
    }
    let content = try #require(sums["content"], "\(result)")
    for name in ["standard", "device", "through", "linked"] {
      #expect(sums[name] == content, "\(name): \(result)")
    }
    #expect(sums["file"] == sums["pipe"] && sums["file"] != content)
    #expect(result.lines.count { $0 == "ended with 64" } == 2)
    let rows = try String(contentsOf: task.url.appending(path: "rows.tsv"), encoding: .utf8)
    #expect(rows.hasPrefix("text\tlabel\n"))
  }

  @Test func `too little address space ends with 69 instead of waiting for ever`() throws {
    let result = try Program.shell(
      """
      for limit in 300000 440000; do
        (ulimit -v $limit; $LOCKSTEP train recipe.yaml --run run; echo "ended with $?")
      done
      """, in: task.url)
    #expect(result.lines == ["ended with 69", "ended with 69"], "\(result)")
    #expect(result.messages.contains("(ulimit -v) leaves "))
  }

  @Test func `a dry run prints the plan and writes nothing`() throws {
    let result = try run("train", "recipe.yaml", "--run", "run", "--dry-run")
    #expect(result.status == 0)
    #expect(result.output.contains("steps      12 of 8 rows, 6 an epoch, 2 epochs"))
    #expect(result.output.contains("% of the tokens of padded batches avoided"))
    #expect(!FileManager.default.fileExists(atPath: task.url.appending(path: "run").path))
  }

  @Test func `a run killed in the middle of an epoch ends with the same bits`() throws {
    let options = "--set epochs=20 --set checkpoint.everySteps=1"
    let whole = try Program.shell(
      "$LOCKSTEP train recipe.yaml --run whole \(options)", in: task.url)
    let killed = try Program.shell(
      """
      $LOCKSTEP train recipe.yaml --run run \(options) & pid=$!
      await 'ls run/checkpoints 2>/dev/null | grep -q step-'
      kill -9 $pid; wait $pid; [ $? = 137 ] || echo finished too soon
      $LOCKSTEP train recipe.yaml --run run \(options) --resume
      """, in: task.url)
    #expect(whole.status == 0)
    #expect(killed.output == whole.output)
    #expect(killed.messages.contains("resuming after step "))
    func steps(_ run: String) throws -> [String] {
      try String(contentsOf: task.url.appending(path: "\(run)/metrics.jsonl"), encoding: .utf8)
        .split(separator: "\n").map { line in
          line.components(separatedBy: ",\"seconds\"")[0]
        }
    }
    #expect(try steps("run") == steps("whole"))
  }

  @Test(arguments: ["TERM", "INT", "USR1"])
  func `a signal writes a checkpoint and ends with 75`(signal: String) throws {
    let result = try Program.shell(
      """
      set -m; $LOCKSTEP train recipe.yaml --run run --set epochs=5000 & pid=$!
      await '[ -s run/metrics.jsonl ]'
      kill -\(signal) $pid; wait $pid; echo status $?; ls run/checkpoints
      """, in: task.url)
    #expect(result.output.contains("status 75"))
    #expect(result.output.contains("step-0"))
    #expect(!result.output.contains("weights"))
    #expect(result.messages.contains("--resume"))
  }

  @Test func `SIGUSR2 writes a checkpoint and training goes on`() throws {
    let result = try Program.shell(
      """
      $LOCKSTEP train recipe.yaml --run run --set epochs=5000 & pid=$!
      await '[ -s run/metrics.jsonl ]'
      kill -USR2 $pid
      await 'ls run/checkpoints | grep -q step-'
      kill -0 $pid && echo alive; kill -TERM $pid; wait $pid; echo status $?
      """, in: task.url)
    #expect(result.output.contains("alive"))
    #expect(result.output.contains("status 75"))
  }

  @Test func `a full disk ends with 74, and nothing is half-written`() throws {
    // Files may grow to 64 KiB; the weights have 104.
    let result = try Program.shell(
      "ulimit -f 64; $LOCKSTEP train recipe.yaml --run run; echo status $?", in: task.url)
    #expect(result.output == "status 74\n")
    #expect(result.messages.contains("File too large"))
    #expect(!FileManager.default.fileExists(atPath: task.url.appending(path: "run/best").path))
    let left = try FileManager.default.contentsOfDirectory(
      atPath: task.url.appending(path: "run/checkpoints").path)
    #expect(!left.contains { $0.hasPrefix("step-") })
  }

  @Test func `a directory that cannot be written ends with 74`() throws {
    let result = try run("train", "recipe.yaml", "--run", "train.tsv/run")
    #expect(result.status == 74)
    #expect(result.messages.contains("train.tsv/run"))
    try #require(try run("train", "recipe.yaml", "--run", "run", "--set", "epochs=1").status == 0)
    let predicted = try run(
      "predict", "--run", "run", "--input", "test.tsv", "--output", "train.tsv/p.jsonl")
    #expect(predicted.status == 74)
    #expect(predicted.messages.contains("cannot be created: Not a directory"))
    #expect(
      try run("predict", "--run", "none", "--input", "test.tsv", "--output", "p").messages
        .contains("none does not exist. Give the directory of a run with --run."))
    #expect(try run("evaluate", "--run", "run", "--data", "dev.tvs").status == 65)
    #expect(
      try run("predict", "--run", "run", "--input", "recipe.yaml", "--output", "p").status == 65)
    #expect(!FileManager.default.fileExists(atPath: task.url.appending(path: "p").path))
  }

  @Test func `check and train leave out repeated and wrong rows when they are told to`() throws {
    let rows = try String(contentsOf: task.url.appending(path: "dev.tsv"), encoding: .utf8)
    try task.write(
      rows.replacing("\n", with: "\n\tpos\n", maxReplacements: 1)
        + "book book book\tpos\nbook book book\tpos\n",
      to: "train.tsv")
    let wrong = try run("check", "recipe.yaml")
    #expect(wrong.status == 65)
    #expect(wrong.messages.contains("train.tsv:2: column \"text\": the text is empty"))
    #expect(wrong.messages.contains("with --skip-bad N (data.skipBad), at most N of each file."))
    let repeated = try run("check", "recipe.yaml", "--skip-bad", "1")
    #expect(repeated.status == 0)
    #expect(repeated.messages.contains("1 rows are left out (data.skipBad)"))
    #expect(repeated.output.contains("leave them out with --drop-duplicates"))
    let clean = try run("check", "recipe.yaml", "--skip-bad", "1", "--drop-duplicates")
    #expect(clean.status == 0 && !clean.output.contains("--drop-duplicates"))
    let trained = try run(
      "train", "recipe.yaml", "--skip-bad", "1", "--drop-duplicates", "--set", "epochs=1", "--run",
      "run")
    #expect(trained.status == 0)
    let kept = try String(contentsOf: task.url.appending(path: "run/recipe.yaml"), encoding: .utf8)
    #expect(kept.contains("skipBad: 1") && kept.contains("dropDuplicates: true"))
    let negative = try run("check", "recipe.yaml", "--skip-bad=-1")
    #expect(negative.status == 64 && negative.messages.contains("--skip-bad -1: give 0 or more"))
  }

  @Test func `rows that are wrong end with 65`() throws {
    try task.write("text\tlabel\ngood\tpso\n", to: "dev.tsv")
    let result = try run("train", "recipe.yaml", "--run", "run")
    #expect(result.status == 65)
    #expect(
      result.messages.contains("dev.tsv:2: column \"label\": \"pso\": is not a label of this model")
    )
    #expect(!FileManager.default.fileExists(atPath: task.url.appending(path: "run").path))
  }
}
