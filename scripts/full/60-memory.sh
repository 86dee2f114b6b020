#!/usr/bin/env bash
# What a run says that it will take, and what it takes: within 10 % for nine shapes.
#
# A small and a base-sized model, many and few rows a step, leaf by leaf, layers computed again in backward, two ranks, test rows that are scored at the end,
# a moving average, and a large vocabulary of which few words occur, also in a width that is no multiple of sixteen. Weights are drawn, rows are made up, so nothing is fetched.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${LOCKSTEP:?the program to test}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$work" <<'PYTHON'
import json, os, random, sys

work = sys.argv[1]
random.seed(1)
words = [f"w{i}" for i in range(60_000)]
for name, hidden, layers, count in (("base", 768, 12, 20_000), ("small", 384, 6, 20_000), ("wide", 384, 2, 60_000), ("odd", 312, 2, 60_000)):
    os.makedirs(f"{work}/{name}")
    json.dump(
        dict(model_type="bert", vocab_size=count + 5, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=12,
             intermediate_size=4 * hidden, max_position_embeddings=512, type_vocab_size=2, hidden_act="gelu"),
        open(f"{work}/{name}/config.json", "w"))
    open(f"{work}/{name}/vocab.txt", "w").write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words[:count]) + "\n")
for name, count in (("rows", 20_000), ("few", 200)):
    with open(f"{work}/{name}.tsv", "w") as file:
        file.write("label\ttext\n")
        for i in range(400):
            file.write(f"{i % 2}\t{' '.join(random.choices(words[:count], k=random.randint(20, 126)))}\n")
PYTHON

failed=0
shape() { # shape NAME RANKS MODEL OPTION...
  local name=$1 count=$2 model=$3 launcher=()
  shift 3
  [ "$count" = 1 ] || launcher=(mpirun --oversubscribe --bind-to none -n "$count")
  cat >"$work/recipe.yaml" <<YAML
task: classification
model: {path: $work/$model, initialize: random}
data: {train: $work/rows.tsv, maxLength: 128}
steps: 12
YAML
  rm -rf "$work/run"
  "${launcher[@]}" "$LOCKSTEP" train "$work/recipe.yaml" --run "$work/run" --threads "$((count == 1 ? 2 : 1))" "$@" 2>"$work/log" >/dev/null || {
    tail -n 20 "$work/log" >&2
    exit 1
  }
  python3 - "$name" "$(grep '^memory .* at most' "$work/log")" <<'PYTHON' || failed=1
import re, sys

name, line = sys.argv[1:]
found, planned = (float(n) * (1000 if unit == "GB" else 1) for n, unit in re.findall(r"([0-9.]+) ([MG]B)", line))
print(f"{name}: {found:.0f} MB taken, {planned:.0f} MB planned ({100 * (planned / found - 1):+.1f} %)")
sys.exit(abs(planned / found - 1) > 0.1)
PYTHON
}
shape "small, 32 rows a step" 1 small --set batch.size=32
shape "small, 96 rows a step, leaf by leaf" 1 small --set batch.size=96 --set batch.leavesAtOnce=1
shape "base, 24 rows a step" 1 base --set batch.size=24 --set steps=3
shape "base, layers computed again in backward" 1 base --set batch.size=24 --set steps=3 --set batch.recompute=true
shape "base, two ranks" 2 base --set batch.size=16 --set steps=3
shape "small, two ranks, dev and test rows" 2 small --set batch.size=16 --set "data.dev=$work/rows.tsv" --set "data.test=$work/rows.tsv"
shape "small, two ranks, a moving average" 2 small --set batch.size=16 --set "data.dev=$work/rows.tsv" --set training.ema=0.99
shape "60,005 words of which 200 occur, leaf by leaf" 1 wide --set "data.train=$work/few.tsv" --set batch.leavesAtOnce=1
shape "the same at once, width 312" 1 odd --set "data.train=$work/few.tsv"
exit "$failed"
