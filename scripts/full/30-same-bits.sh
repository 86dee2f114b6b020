#!/usr/bin/env bash
# The promise: the same weights for any number of threads, for a step computed whole, in part or leaf by leaf, and for runs that were killed
# and resumed. On the synthetic recipe, so that it takes seconds a run; a different hash is an error.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/synthetic en

train() { # train NAME OPTION...: prints the hash of the weights
  local name=$1
  shift
  "$LOCKSTEP" train recipes/synthetic.yaml --run "$work/$name" --set epochs=2 "$@" 2>"$work/$name.log" >"$work/$name.out" || {
    tail -n 5 "$work/$name.log" >&2
    return 1
  }
  tail -n 1 "$work/$name.out" | sed -n 's/^weights sha256 \([0-9a-f]\{64\}\)$/\1/p'
}
expected=$(train reference --set threads=1)
[ -n "$expected" ] || {
  echo "the last line of train is not 'weights sha256 <hex>'" >&2
  exit 1
}
same() { # same WHAT HASH
  if [ "$2" != "$expected" ]; then
    echo "$1: ${2:-no hash}, but $expected was expected" >&2
    exit 1
  fi
  echo "$1: the same weights"
}

for threads in 2 3; do same "$threads threads" "$(train "threads$threads" --set "threads=$threads")"; done
for leaves in 1 2 4; do same "$leaves leaves at once" "$(train "leaves$leaves" --set threads=2 --set "batch.leavesAtOnce=$leaves")"; done

# Killed without warning after some steps, once before and several times after the first checkpoint.
killed() { # killed NAME STEPS...: kills the run when metrics.jsonl has so many lines, then lets it finish
  local name=$1 lines process resume=()
  shift
  for lines in "$@"; do
    "$LOCKSTEP" train recipes/synthetic.yaml --run "$work/$name" --set epochs=2 --set checkpoint.everySteps=20 --set threads=2 \
      "${resume[@]}" >"$work/$name.out" 2>"$work/$name.log" &
    process=$!
    until [ "$(cat "$work/$name/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$lines" ]; do
      kill -0 "$process" 2>/dev/null || {
        echo "$name: the run ended before it could be killed at line $lines" >&2
        tail -n 5 "$work/$name.log" >&2
        exit 1
      }
      sleep 0.02
    done
    kill -9 "$process"
    wait "$process" 2>/dev/null || true
    resume=(--resume)
  done
  train "$name" --set checkpoint.everySteps=20 --set threads=2 --resume
}
same "killed before the first checkpoint and resumed" "$(killed early 5)"
same "killed three times in the middle of an epoch and resumed" "$(killed often 30 70 130)"
other=$(train another --set seed=2)
if [ "$other" = "$expected" ]; then
  echo "another seed gave the same weights: the comparison means nothing" >&2
  exit 1
fi
