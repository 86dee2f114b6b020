#!/usr/bin/env bash
# Loading a model takes at most 1.3 times its file's size in memory: a made-up BERT of 440 MB, from safetensors and from a TensorFlow checkpoint.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$LOCKSTEP" "$work" <<'PYTHON'
import json, pathlib, resource, struct, subprocess, sys
lockstep, work = sys.argv[1], pathlib.Path(sys.argv[2])
h, f, layers, words, positions = 768, 3072, 12, 30522, 512
shapes = {"word_embeddings.weight": [words, h], "position_embeddings.weight": [positions, h], "token_type_embeddings.weight": [2, h],
          "LayerNorm.weight": [h], "LayerNorm.bias": [h]}
tensors = {f"bert.embeddings.{name}": shape for name, shape in shapes.items()}
for layer in range(layers):
    for name, shape in {**{f"attention.self.{part}": [h, h] for part in ("query", "key", "value")}, "attention.output.dense": [h, h],
                        "intermediate.dense": [f, h], "output.dense": [h, f]}.items():
        tensors[f"bert.encoder.layer.{layer}.{name}.weight"] = shape
        tensors[f"bert.encoder.layer.{layer}.{name}.bias"] = shape[:1]
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        tensors[f"bert.encoder.layer.{layer}.{name}.weight"] = tensors[f"bert.encoder.layer.{layer}.{name}.bias"] = [h]
folder = work / "huggingface"
folder.mkdir()
header, offset = {}, 0
for name, shape in tensors.items():
    size = 4
    for n in shape:
        size *= n
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
    offset += size
text = json.dumps(header).encode()
with open(folder / "model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    block = struct.pack("<f", 0.01) * (1 << 18)
    for start in range(0, offset, len(block)):
        file.write(block[:min(len(block), offset - start)])
(folder / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": words, "hidden_size": h, "num_hidden_layers": layers,
    "num_attention_heads": 12, "intermediate_size": f, "max_position_embeddings": positions, "type_vocab_size": 2, "hidden_act": "gelu"}))
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
(folder / "vocab.txt").write_text("\n".join(special + [f"w{i}" for i in range(words - len(special))]) + "\n")
subprocess.run([lockstep, "convert", folder, work / "tensorflow", "--to", "tensorflow"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
for name in ("huggingface", "tensorflow"):
    # A process of its own, so that its children are counted alone.
    peak = int(subprocess.run([sys.executable, "-c", """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], input=b'{"ids": [2, 7, 3], "segments": [0, 0, 0]}\\n', check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
""", lockstep, "embed", "--model", str(work / name), "--pooling", "cls", "--input-form", "ids"], check=True, capture_output=True, text=True).stdout)
    ratio = peak / offset
    print(f"{name}: {peak / 1e6:.0f} MB at most for a file of {offset / 1e6:.0f} MB: {ratio:.2f} times")
    if ratio > 1.3:
        sys.exit("loading takes more than 1.3 times the file")
PYTHON
