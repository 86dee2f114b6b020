#!/usr/bin/env bash
# The quick start's training of real MiniLM: the same weights on 1, 2 and 4 ranks of this host, and on 2 x 2 hosts over TCP at 1 Gb/s; touched
# rows cut the bytes of a step by at least 40 %; and of an exchange that backward could hide between two such hosts at least 80 % is hidden.
# The hosts need root, and MiniLM needs `scripts/fetch-data minilm movies`: what is not there is said and left out. STEPS=24 (the default).
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${LOCKSTEP:?the program to test}"
command -v mpirun >/dev/null || {
  echo "no mpirun: install openmpi-bin to train on ranks" >&2
  exit 69
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=$(mktemp -d)
up=
down() {
  [ -z "$up" ] || cluster/hosts-down >/dev/null
  up=
}
trap 'down; rm -rf "$work"' EXIT
hosts() { # hosts OPTION...: makes two hosts; false, with the reason, where that cannot be
  down
  if [ "$(id -u)" != 0 ]; then
    echo "NOT SHOWN, $what: simulated hosts need root, and this is not root"
    return 1
  fi
  cluster/hosts-up 2 --rate 1gbit "$@" || {
    echo "NOT SHOWN, $what: hosts cannot be made here (the sentence above says why)"
    return 1
  }
  up=1
}
fail() {
  echo "$*" >&2
  exit 1
}
steps=${STEPS:-24}
train() { # train NAME LAUNCHER... -- OPTION...: leaves NAME.log and prints the hash of the weights
  local name=$1 launcher=()
  shift
  while [ "$1" != -- ]; do
    launcher+=("$1")
    shift
  done
  shift
  "${launcher[@]}" "$LOCKSTEP" train recipes/movies.yaml --run "$work/$name" --threads 1 --set epochs=null --set "steps=$steps" "$@" \
    2>"$work/$name.log" >"$work/$name.out" || {
    tail -n 20 "$work/$name.log" >&2
    return 1
  }
  sed -n 's/^weights sha256 \([0-9a-f]\{64\}\)$/\1/p' "$work/$name.out"
  rm -rf "${work:?}/$name"
}
expected=
same() { # same WHAT HASH
  [ -n "$2" ] || fail "$1: no hash"
  [ "$2" = "${expected:=$2}" ] || fail "$1: $2, but $expected was expected"
  echo "$1: $2"
}
sent() { # sent NAME: megabytes of a step, from the run's log
  sed -n 's/^exchange .* rank 0 sent \([0-9.]*\) MB a step.*/\1/p' "$work/$1.log"
}

what="MiniLM on 2 x 2 hosts"
if [ -e models/minilm/model.safetensors ] && [ -e data/movies/train.tsv ]; then
  here=(mpirun --oversubscribe --bind-to none -n)
  same "MiniLM, $steps steps, one process" "$(train alone --)"
  same "2 ranks" "$(train two "${here[@]}" 2 --)"
  same "2 ranks, whole tables" "$(train whole "${here[@]}" 2 -- --no-touched-rows)"
  same "4 ranks" "$(train four "${here[@]}" 4 --)"
  awk -v rows="$(sent two)" -v all="$(sent whole)" 'BEGIN {
    if (!(rows > 0 && all > 0)) { print "the runs do not say what they sent"; exit 1 }
    printf "touched rows: %s instead of %s MB a step, %.1f %% fewer\n", rows, all, 100 * (1 - rows / all)
    exit !(rows <= 0.6 * all)
  }' || fail "touched rows must send at least 40 % less"
  if hosts; then same "2 x 2 hosts over TCP at 1 Gb/s" "$(train hosts cluster/hosts-mpirun -n 4 -wdir "$PWD" --)"; fi
else
  echo "NOT SHOWN, MiniLM on ranks and hosts and what touched rows save: scripts/fetch-data minilm movies fetches what that needs"
fi

what="how much of the exchange is hidden"
if hosts --slots 1; then
  # Other programs of a busy machine delay ranks: the best of three measurements counts.
  for try in 1 2 3; do
    result=$(cluster/hosts-mpirun -n 2 "$LOCKSTEP" bench --model base --batch 24 --length 128 --threads 1 --steps 3 --warmup 1 --json 2>"$work/bench.log") ||
      fail "$(tail -n 20 "$work/bench.log")"
    share=$(sed -n 's/.*"hiddenShare":\([0-9.e-]*\),.*/\1/p' <<<"$result")
    echo "BERT-base, 2 hosts at 1 Gb/s, measurement $try: ${share:-no share} of what backward could hide is hidden"
    awk -v share="${share:-0}" 'BEGIN { exit !(share >= 0.8) }' && break
    [ "$try" != 3 ] || fail "at least 0.8 is promised"
  done
fi
