#!/usr/bin/env bash
# Both quick starts in a fresh clone reach the accuracy that is promised for them on rows that were not trained on.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet . "$work/clone"
for promise in 'en 0.855' 'zh 0.84'; do
  read -r language floor <<<"$promise"
  "$work/clone/scripts/quickstart" "$language" >"$work/$language.out"
  accuracy=$(sed -n 's/^{"rows":.*"accuracy":\([0-9.]*\).*/\1/p' "$work/$language.out" | tail -n 1)
  if ! awk -v found="${accuracy:-0}" -v floor="$floor" 'BEGIN { exit !(found >= floor) }'; then
    echo "quickstart $language: accuracy ${accuracy:-not found} on the test rows; at least $floor is promised" >&2
    exit 1
  fi
  echo "quickstart $language: accuracy $accuracy on the test rows (at least $floor is promised)"
done
(cd "$work/clone" && [ -z "$(git status --porcelain)" ]) || {
  echo "the quick start left files that git sees" >&2
  exit 1
}
