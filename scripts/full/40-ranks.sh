#!/usr/bin/env bash
# The promise on ranks: the same weights under mpirun for 1 to 8 ranks, bucket sizes, a shared optimizer or not, both exchanges, threads and
# overlap; and for runs with different seeds of which a random rank was killed at a random step and that were resumed on another number of ranks.
# Prints one line a case; a different hash is an error. Three tasks: classification, joined pairs, tagging with a CRF.
# What is compared can be cut: TASKS="classification pair tagging" RANKS="1 2 3 4 5 6 7 8" BUCKETS="65536 1048576 0" KILLS=20 (the defaults).
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${LOCKSTEP:?the program to test}"
command -v mpirun >/dev/null || {
  echo "no mpirun: install openmpi-bin to compare ranks" >&2
  exit 69
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/synthetic en
recipe=recipes/synthetic.yaml

# Two epochs of 20 steps each with a short last one, clipped and with dropout.
head -n 625 data/synthetic/train.tsv >"$work/train.tsv"
common=(--set epochs=2 --set optimizer.clipNorm=0.5 --threads 1)
python3 - "$work" <<'PYTHON'
import sys
out = sys.argv[1]
rows = [line.split("\t") for line in open(f"{out}/train.tsv", encoding="utf-8").read().splitlines()]
header, rows = rows[0], rows[1:]
label, text = header.index("label"), header.index("text")
with open(f"{out}/pair.tsv", "w", encoding="utf-8") as file:
    file.write("text1\ttext2\tlabel\n")
    for a, b in zip(rows, rows[1:] + rows[:1]):
        file.write(f"{a[text]}\t{b[text]}\t{'same' if a[label] == b[label] else 'other'}\n")
with open(f"{out}/tags.bio", "w", encoding="utf-8") as file:
    for row in rows:
        file.write("".join(f"{word} {'B-A' if len(word) > 4 else 'B-B' if word < 'd' else 'O'}\n" for word in row[text].split()) + "\n")
PYTHON
task_overrides() { # task_overrides TASK: sets `overrides`
  local files=(--set data.dev=null --set data.test=null)
  case $1 in
    classification) overrides=("${common[@]}" --set "data.train=$work/train.tsv") ;;
    pair)
      overrides=("${common[@]}" "${files[@]}" --set task=pair --set "data.train=$work/pair.tsv" --set data.columns.text=text1)
      ;;
    tagging) overrides=("${common[@]}" "${files[@]}" --set task=tagging --set "data.train=$work/tags.bio") ;;
    *)
      echo "no such task: $1" >&2
      exit 64
      ;;
  esac
}

ranks() { # ranks COUNT COMMAND...
  local count=$1
  shift
  mpirun --oversubscribe --bind-to none -n "$count" "$@"
}
hash() { sed -n 's/^weights sha256 \([0-9a-f]\{64\}\)$/\1/p' "$1" | tail -n 1; }
train() { # train NAME RANKS OPTION...: prints the hash of the weights
  local name=$1 count=$2
  shift 2
  rm -rf "${work:?}/$name"
  ranks "$count" "$LOCKSTEP" train "$recipe" --run "$work/$name" "${overrides[@]}" "$@" >"$work/$name.out" 2>"$work/$name.log" || {
    tail -n 20 "$work/$name.log" >&2
    return 1
  }
  hash "$work/$name.out"
}
same() { # same WHAT HASH
  if [ "$2" != "$expected" ]; then
    echo "$1: ${2:-no hash}, but $expected was expected" >&2
    exit 1
  fi
  echo "$1: the same weights"
}

matrix() { # matrix TASK
  for count in ${RANKS:-1 2 3 4 5 6 7 8}; do
    for bytes in ${BUCKETS:-65536 1048576 0}; do
      for shard in --shard --no-shard; do
        exchanges=(direct)
        case $count in 1 | 2 | 4 | 8) exchanges+=(tree) ;; esac
        for exchange in "${exchanges[@]}"; do
          for threads in 1 2; do
            for overlap in --overlap --no-overlap; do
              same "$1, $count ranks, buckets $bytes, $shard, $exchange, $threads threads, $overlap" \
                "$(train run "$count" --bucket-bytes "$bytes" "$shard" --exchange "$exchange" --threads "$threads" "$overlap")"
            done
          done
        done
      done
    done
  done
}

# A random rank of a run with a seed of its own is killed at a random step; then the run goes on on another number of ranks.
RANDOM=${SEED:-20}
kill_one() { # kill_one NAME SEED: starts a run and kills a rank of it; sets `count`, `victim`, `line` and mpirun's `status`
  local name=$1
  rm -rf "${work:?}/$name" "$work/$name".*.pid
  count=$((RANDOM % 7 + 2))
  victim=$((RANDOM % count))
  line=$((RANDOM % 34 + 1))
  setsid mpirun --oversubscribe --bind-to none -n "$count" bash -c 'echo $$ >"$0.$OMPI_COMM_WORLD_RANK.pid"; exec "$@"' "$work/$name" \
    "$LOCKSTEP" train "$recipe" --run "$work/$name" "${overrides[@]}" --set "seed=$2" --set checkpoint.everySteps=4 \
    >"$work/$name.out" 2>"$work/$name.log" &
  local process=$!
  until [ "$(cat "$work/$name/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$line" ] || ! kill -0 "$process" 2>/dev/null; do sleep 0.005; done
  # A run that has ended by itself has no such process any more.
  kill -9 "$(cat "$work/$name.$victim.pid")" 2>/dev/null || true
  status=0
  wait "$process" 2>/dev/null || status=$?
}
killed() { # killed TASK TIMES
  local kill name seed draws other
  for kill in $(seq "$2"); do
    name=killed$kill seed=$((100 + kill)) draws=0
    expected=$(train "seed$seed" 1 --set "seed=$seed")
    rm -rf "${work:?}/seed$seed"
    until
      kill_one "$name" "$seed"
      # mpirun says 137 of a rank that was killed; the last checkpoint is written when all steps are made.
      [ "$status" = 137 ] && ! [ -e "$work/$name/checkpoints/step-00000040" ]
    do
      draws=$((draws + 1))
      if { [ "$status" != 0 ] && [ "$status" != 137 ]; } || [ "$draws" = 10 ]; then
        tail -n 20 "$work/$name.log" >&2
        echo "$1: rank $victim of $count was to be killed at line $line, but mpirun ended with $status (draw $draws)" >&2
        exit 1
      fi
      echo "rank $victim of $count: the run ended before it could be killed at line $line; drawn again"
    done
    other=$((RANDOM % 8 + 1))
    ls -d "$work/$name"/checkpoints/step-* >/dev/null 2>&1 && from=checkpoint || from=start
    ranks "$other" "$LOCKSTEP" train "$recipe" --run "$work/$name" "${overrides[@]}" --set "seed=$seed" --set checkpoint.everySteps=4 --resume \
      >"$work/$name.out" 2>"$work/$name.log" || {
      tail -n 20 "$work/$name.log" >&2
      exit 1
    }
    step=$(sed -n 's/^resuming after step \([0-9]*\) from .*/\1/p' "$work/$name.log")
    # Without a checkpoint all is done again; with one, what was left is.
    if { [ "$from" = checkpoint ] && [ -z "$step" ]; } || { [ "$from" = start ] && [ -n "$step" ]; }; then
      echo "$1: killed at line $line and resumed from the $from, but the run says it resumed after step ${step:-none}" >&2
      exit 1
    fi
    same "seed $seed, rank $victim of $count killed at line $line, resumed after step ${step:-0} on $other" "$(hash "$work/$name.out")"
    [ -z "$step" ] || resumed=$((resumed + 1))
    rm -rf "${work:?}/$name"
  done
}

tasks=(${TASKS:-classification pair tagging})
resumed=0
for task in "${tasks[@]}"; do
  task_overrides "$task"
  rm -rf "$work/reference"
  "$LOCKSTEP" train "$recipe" --run "$work/reference" "${overrides[@]}" >"$work/reference.out" 2>"$work/reference.log" || {
    tail -n 20 "$work/reference.log" >&2
    exit 1
  }
  expected=$(hash "$work/reference.out")
  echo "$task, one process: $expected"
  matrix "$task"
  killed "$task" $(((${KILLS:-20} + ${#tasks[@]} - 1) / ${#tasks[@]}))
  "$LOCKSTEP" verify "$work/reference" --step 30
done
if [ "$resumed" = 0 ] && [ "${KILLS:-20}" != 0 ]; then
  echo "no killed run had a checkpoint to resume from: nothing was shown about resuming" >&2
  exit 1
fi
