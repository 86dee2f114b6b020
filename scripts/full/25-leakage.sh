#!/usr/bin/env bash
# The data report finds the leakage of the Chinese sentiment rows: 31.5 % of the validation rows stand verbatim in the training rows.
set -euo pipefail
cd "$(dirname "$0")/../.."
for needed in data/sentiment_zh/train.tsv models/bert_zh; do
  if [ ! -e "$needed" ]; then
    echo "leakage: not run, because $needed is not here (scripts/lay-out-data FOLDER sentiment_zh, scripts/fetch-data bert_zh)"
    exit 0
  fi
done
report=$("$LOCKSTEP" check recipes/sentiment_zh.yaml)
if ! grep -E 'dev\.tsv:[0-9]+: 666 of 2111 rows \(31\.5 %\) stand verbatim in .*train\.tsv' <<<"$report"; then
  echo "leakage: the report does not say that 666 of 2111 validation rows (31.5 %) stand in the training rows:" >&2
  echo "$report" >&2
  exit 1
fi
