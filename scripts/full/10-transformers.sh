#!/usr/bin/env bash
# transformers loads what `lockstep convert` writes and gives the numbers of `lockstep embed`; its tokenizer cuts
# text as `lockstep tokenize` does. Uses the committed tiny models, and the real ones where scripts/fetch-data has been.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(scripts/peers/python torch)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sources=(Tests/Fixtures/tiny_tf Tests/Fixtures/tiny_hf)
for folder in models/minilm models/bert_zh; do
  if [ -e "$folder/model.safetensors" ]; then sources+=("$folder"); fi
done
for source in "${sources[@]}"; do
  name=$(basename "$source")
  "$python" scripts/peers/inputs.py "$source" >"$work/inputs.jsonl"
  "$LOCKSTEP" convert "$source" "$work/$name" --to huggingface
  # The vectors come from what was read, the peer's from what was written.
  "$LOCKSTEP" embed --model "$source" --pooling tokens --input-form ids <"$work/inputs.jsonl" >"$work/vectors.jsonl"
  "$python" scripts/peers/transformers_vectors.py "$work/$name" "$work/inputs.jsonl" "$work/vectors.jsonl"
done

for pair in 'models/minilm data/movies/test.tsv' 'models/bert_zh data/reviews_zh/test.tsv'; do
  read -r model rows <<<"$pair"
  if [ -e "$model/vocab.txt" ] && [ -e "$rows" ]; then
    tail -n +2 "$rows" | cut -f 2 >"$work/lines.txt"
    "$LOCKSTEP" tokenize --vocab "$model/vocab.txt" --tokenizer huggingface --uncased <"$work/lines.txt" >"$work/tokens.jsonl"
    "$python" scripts/peers/transformers_tokens.py "$model/vocab.txt" "$work/lines.txt" "$work/tokens.jsonl"
  else
    echo "not compared: $rows (scripts/fetch-data fetches it)"
  fi
done
