import Foundation
import TestSupport
import Testing

private let model = Fixtures.url("tiny_hf").path

private func object(_ line: String) throws -> [String: Any] {
  try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
}

@Suite(.serialized) struct StreamTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func run(_ arguments: String..., input: String) throws -> Program.Result {
    try Program.run(arguments, in: folder.url, input: Data(input.utf8))
  }

  @Test func `tokenize gives tokens, ids and spans of each line`() throws {
    let result = try run(
      "tokenize", "--model", model, "--tokenizer", "huggingface", "--uncased",
      input: "A good  Movie\r\n\nbad")
    #expect(result.status == 0)
    #expect(
      result.lines == [
        #"{"tokens":["[CLS]","a","good","movie","[SEP]"],"ids":[7,42,84,86,8],"spans":[[0,0],[0,1],[2,6],[8,13],[0,0]]}"#,
        #"{"tokens":["[CLS]","[SEP]"],"ids":[7,8],"spans":[[0,0],[0,0]]}"#,
        #"{"tokens":["[CLS]","bad","[SEP]"],"ids":[7,85,8],"spans":[[0,0],[0,3],[0,0]]}"#,
      ])
    let json = try run(
      "tokenize", "--vocab", "\(model)/vocab.txt", "--tokenizer", "google", "--uncased",
      "--json-input", "--no-specials", input: "\"bad\\n\\u0062ad\"\n")
    #expect(
      json.lines == [#"{"tokens":["bad","bad"],"ids":[85,85],"spans":[[0,3],[4,7]]}"#])
  }

  @Test func `a line that is no text is named`() throws {
    let arguments = ["tokenize", "--model", model, "--tokenizer", "google", "--uncased"]
    var input = Data("good\n".utf8)
    input.append(contentsOf: [0xC3, 0x28, 0x0A])
    let bytes = try Program.run(arguments, in: folder.url, input: input)
    #expect(bytes.status == 65)
    #expect(bytes.messages.contains("standard input:2: the line is not valid UTF-8"))
    let json = try Program.run(
      arguments + ["--json-input"], in: folder.url, input: Data("\"good\"\nbad\n".utf8))
    #expect(json.status == 65)
    #expect(json.messages.contains("standard input:2: the line is not a JSON string"))
  }

  @Test func `embed gives the same vectors for text and for its ids`() throws {
    let text = try run(
      "embed", "--model", model, "--pooling", "tokens", "--uncased", input: "a good movie\tbad\n")
    let ids = try run(
      "embed", "--model", Fixtures.url("tiny_tf").path, "--pooling", "tokens", "--input-form",
      "ids", input: #"{"ids":[7,42,84,86,8,85,8],"segments":[0,0,0,0,0,1,1]}"# + "\n")
    #expect(text.status == 0)
    #expect(text.output == ids.output)
    let vectors = try #require(try object(text.output)["vectors"] as? [[Double]])
    #expect(vectors.count == 7 && vectors.allSatisfy { $0.count == 32 })
    let cls = try run(
      "embed", "--model", model, "--pooling", "cls", "--uncased", input: "a good movie\tbad\n")
    #expect(try #require(try object(cls.output)["vector"] as? [Double]) == vectors[0])
    let layer = try run(
      "embed", "--model", model, "--pooling", "cls", "--uncased", "--layer", "2",
      input: "a good movie\tbad\n")
    #expect(layer.output == cls.output)
    #expect(
      try run(
        "embed", "--model", model, "--pooling", "cls", "--uncased", "--layer", "3", input: ""
      ).status == 64)
  }

  @Test func `embed cuts texts as the dialect does`() throws {
    func vectors(_ more: String...) throws -> String {
      let result = try Program.run(
        ["embed", "--model", model, "--pooling", "tokens", "--dialect", "seed2019"] + more,
        in: folder.url, input: Data("The good\n".utf8))
      #expect(result.status == 0)
      return result.output
    }
    let seed = try vectors()
    #expect(seed == (try vectors("--tokenizer", "character", "--cased")))
    // [CLS], eight characters, [SEP].
    #expect((try object(seed)["vectors"] as? [[Double]])?.count == 10)
  }

  @Test(arguments: [
    ("x", "the line is not an object with ids and segments"),
    (#"{"ids":[1,2],"segments":[0]}"#, "there are 2 ids and 1 segments"),
    (#"{"ids":[],"segments":[]}"#, "there are 0 ids and 0 segments"),
    (#"{"ids":[196],"segments":[0]}"#, "the id 196 is not one of the model's 196"),
    (#"{"ids":[-1],"segments":[0]}"#, "the id -1 is not one of the model's 196"),
    (#"{"ids":[1],"segments":[2]}"#, "the segment 2 is not one of the model's 2"),
  ])
  func `ids that the model cannot read are refused`(line: String, part: String) throws {
    let result = try run(
      "embed", "--model", model, "--pooling", "cls", "--input-form", "ids", input: line + "\n")
    #expect(result.status == 65)
    #expect(result.messages.contains("standard input:1: \(part)"))
  }

  @Test func `a text past the positions is refused, or cut on request`() throws {
    let long = String(repeating: "good ", count: 70)
    let refused = try run("embed", "--model", model, "--pooling", "mean", "--uncased", input: long)
    #expect(refused.status == 65)
    #expect(refused.messages.contains("Cut it with --max-length"))
    let cut = try run(
      "embed", "--model", model, "--pooling", "mean", "--uncased", "--max-length", "10", input: long
    )
    #expect(cut.status == 0)
  }

  @Test func `whoever reads only the first line is not told off`() throws {
    let result = try Program.shell(
      "set -o pipefail; yes good | head -100000 | $LOCKSTEP tokenize --model '\(model)' --tokenizer google --uncased | head -1; echo ${PIPESTATUS[2]}",
      in: folder.url)
    #expect(result.lines.last == "0")
    #expect(!result.messages.contains("error"))
  }

  @Test func `a line is answered before the next is written`() throws {
    let result = try Program.shell(
      """
      coproc $LOCKSTEP tokenize --model '\(model)' --tokenizer google --uncased --no-specials
      echo good >&${COPROC[1]}; read -r first <&${COPROC[0]}; echo "$first"
      echo bad >&${COPROC[1]}; read -r second <&${COPROC[0]}; echo "$second"
      """, in: folder.url)
    #expect(result.lines.count == 2)
    #expect(result.lines.first?.contains("[84]") == true)
  }

  @Test func `a process that chose its kernels and started again is called lockstep`() throws {
    let result = try Program.shell(
      """
      unset OPENBLAS_NUM_THREADS LOCKSTEP_KERNEL_CHOICE
      "$LOCKSTEP" bench --model tiny --steps 100000 --threads 1 2>/dev/null & process=$!
      for _ in $(seq 3000); do
        tr '\\0' '\\n' </proc/$process/environ | grep -q ^LOCKSTEP_KERNEL_CHOICE && break
        sleep 0.01
      done
      tr '\\0' '\\n' </proc/$process/environ | grep -c ^LOCKSTEP_KERNEL_CHOICE
      cat /proc/$process/comm
      kill -9 $process
      """, in: folder.url)
    #expect(result.lines == ["1", "lockstep"], "\(result.messages)")
  }

  @Test func `kernels go by the instruction set, unless the environment names some`() throws {
    let result = try Program.shell(
      """
      unset OPENBLAS_NUM_THREADS LOCKSTEP_KERNEL_CHOICE OPENBLAS_CORETYPE
      grep -qw avx512vl /proc/cpuinfo && echo wide || echo narrow
      $LOCKSTEP doctor | grep '^BLAS '
      OPENBLAS_CORETYPE=Haswell $LOCKSTEP doctor | grep '^BLAS '
      """, in: folder.url)
    try #require(result.lines.count == 3, "\(result.messages)")
    let isWide = result.lines[0] == "wide"
    let (own, named) = (result.lines[1], result.lines[2])
    #expect(own.contains(isWide ? " SkylakeX (chosen " : " Haswell (chosen "))
    #expect(!own.contains("unset"))
    #expect(named.contains(" Haswell (OPENBLAS_CORETYPE=Haswell is set"))
    #expect(named.contains("twice as fast: unset OPENBLAS_CORETYPE") == isWide)
  }

  @Test func `inspect, convert, bench and doctor answer on standard output`() throws {
    let inspected = try run("inspect", model, "--json", input: "")
    #expect(inspected.status == 0)
    #expect(try object(inspected.output)["family"] as? String == "BERT")
    #expect(try run("inspect", model, input: "").output.contains("BERT"))
    #expect(try run("inspect", "nothing", input: "").status == 65)

    let converted = try run("convert", model, "tf", "--to", "tensorflow", input: "")
    #expect(converted.status == 0)
    #expect(try run("convert", model, "tf", "--to", "tensorflow", input: "").status == 74)
    #expect(try run("convert", "tf", "hf", "--to", "huggingface", input: "").status == 0)
    let weights = folder.url.appending(path: "hf/model.safetensors")
    #expect(FileManager.default.fileExists(atPath: weights.path))

    let timed = try run(
      "bench", "--model", "tiny", "--batch", "3", "--length", "9", "--lengths", "uniform",
      "--steps",
      "1", "--warmup", "0", "--threads", "1", "--json", input: "")
    let result = try object(timed.output)
    #expect(result["threads"] as? Int == 1)
    for key in ["medianSeconds", "bestSeconds", "tokens", "medianGFLOPs", "peakMiB"] {
      #expect((result[key] as? Double ?? 0) > 0, "\(key)")
    }
    #expect(try run("bench", "--leaves", "3", input: "").status == 64)
    let doctor = try run("doctor", input: "")
    #expect(doctor.status == 0)
    #expect(doctor.output.contains("BLAS") && doctor.output.contains("MPI"))
  }
}
