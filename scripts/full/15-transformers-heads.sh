#!/usr/bin/env bash
# transformers loads what training leaves behind for the heads that it has, and predicts the same: classes,
# numbers, sets of labels, tags, answers, hidden words.
# Trains tiny models on made-up rows for some seconds.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(scripts/peers/python torch)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=$PWD/Tests/Fixtures/tiny_hf

python3 - "$work" <<'PYTHON'
import json, sys
out = sys.argv[1]
persons, places, fillers = ["book", "film", "movie", "train"], ["hotel", "room", "water", "stone"], ["the", "very", "good", "is", "was", "not"]
with open(f"{out}/rows.bio", "w") as rows, open(f"{out}/bare.bio", "w") as bare:
    for i in range(32):
        words = [(fillers[i % 6], "O"), (persons[i % 4], "B-PER"), ("in", "O"), (places[i // 4 % 4], "B-LOC"), ("unreadable", "O")]
        rows.write("".join(f"{w} {t}\n" for w, t in words) + "\n")
        bare.write("".join(f"{w}\n" for w, t in words) + "\n")
qas = []
for i in range(32):
    a, x = places[i % 4], ["good", "bad", "very good", "not bad"][i // 4 % 4]
    context = f"the {a} is {x} . it was not {fillers[i % 6]} ."
    qas.append({"context": context, "qas": [{"id": str(i), "question": f"the {a} ?", "answers": [{"text": x, "answer_start": len(f"the {a} is ")}]}]})
json.dump({"data": [{"paragraphs": qas}]}, open(f"{out}/rows.json", "w"))
texts = ["the hotel is very good and the room is not bad", "we read this book in the train and it was good"]
open(f"{out}/rows.txt", "w").write("".join(texts[i % 2] + "\n" for i in range(32)))
open(f"{out}/bare.txt", "w").write("the hotel is [MASK] good and the room is not bad\nwe read this [MASK] in the train and it was [MASK]\n")

def table(name, header, lines):
    with open(f"{out}/{name}.tsv", "w") as rows, open(f"{out}/{name}.txt", "w") as texts:
        rows.write("\t".join(header) + "\n")
        for line in lines:
            rows.write("\t".join(line) + "\n")
            texts.write("\t".join(line[:-1]) + "\n")

def text(i):  # 1 to 14 words, so that rows are batched in another order than they stand
    return " ".join([persons[i % 4], *(fillers[(i + k) % 6] for k in range(i * 5 % 13)), "bad" if i % 3 else "good"])

table("classes", ("text", "label"), [(text(i), "neg" if i % 3 else "pos") for i in range(32)])
table("numbers", ("text1", "text2", "label"), [(text(i), text(7 * i + 1), f"{i % 3 - (7 * i + 1) % 3}.5") for i in range(32)])
table("sets", ("text", "label"), [(text(i), ",".join(name for name, is_so in (("about-book", i % 4 == 0), ("bad", i % 3), ("long", i * 5 % 13 > 6)) if is_so)) for i in range(32)])
PYTHON

recipe() { # recipe TASK-LINES FILE STEPS [DATA-KEYS]
  printf '%s\n' "$1" "model: {path: \"$model\"}" "data: {train: $2, dev: $2, tokenizer: huggingface, lowercase: true, maxLength: 48${4:+, $4}}" \
    'optimizer: {learningRate: 5e-3}' 'batch: {size: 16}' "steps: $3" >"$work/recipe.yaml"
}
compare() { # compare KIND INPUT
  rm -rf "$work/run"
  "$LOCKSTEP" train "$work/recipe.yaml" --run "$work/run" >/dev/null 2>"$work/log" || {
    tail -n 5 "$work/log" >&2
    exit 1
  }
  "$LOCKSTEP" predict --run "$work/run" --input "$work/$2" --output "$work/predictions.jsonl" 2>/dev/null
  "$python" scripts/peers/transformers_heads.py "$1" "$work/run/best" "$work/$2" "$work/predictions.jsonl"
}
recipe 'task: classification' classes.tsv 40
compare classes classes.txt
recipe 'task: regression' numbers.tsv 40 'columns: {text: text1, text2: text2}'
compare classes numbers.txt
recipe $'task: classification\nclassification: {kind: multi-label}' sets.tsv 40
compare classes sets.txt
recipe $'task: tagging\ntagging: {head: softmax}' rows.bio 40
compare tokens bare.bio
recipe $'task: reading\nreading: {stride: 8}' rows.json 40
compare span rows.json
recipe 'task: masked-lm' rows.txt 40
compare masked bare.txt
