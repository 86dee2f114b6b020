#!/usr/bin/env bash
# TensorFlow reads the checkpoints that `lockstep convert` writes, and computes from them the numbers of `lockstep embed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(scripts/peers/python tensorflow)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sources=(Tests/Fixtures/tiny_hf Tests/Fixtures/tiny_tf)
if [ -e models/minilm/model.safetensors ]; then sources+=(models/minilm); fi
for source in "${sources[@]}"; do
  name=$(basename "$source")
  python3 scripts/peers/inputs.py "$source" >"$work/inputs.jsonl"
  "$LOCKSTEP" convert "$source" "$work/$name" --to tensorflow
  "$LOCKSTEP" embed --model "$source" --pooling tokens --input-form ids <"$work/inputs.jsonl" >"$work/vectors.jsonl"
  "$python" scripts/peers/tensorflow_vectors.py "$work/$name" "$work/inputs.jsonl" "$work/vectors.jsonl"
done
