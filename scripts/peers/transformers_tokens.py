#!/usr/bin/env python3
"""usage: transformers_tokens.py VOCABULARY LINES TOKENS: the tokenizers library's ids against those of `lockstep tokenize`."""
import json
import sys

import tokenizers

vocabulary, lines, tokens = sys.argv[1:]
peer = tokenizers.BertWordPieceTokenizer(vocabulary, lowercase=True)
# Lines end at line feeds alone.
with open(lines, encoding="utf-8", newline="\n") as file:
    texts = [line.rstrip("\n") for line in file]
with open(tokens, encoding="utf-8") as file:
    ours = [json.loads(line)["ids"] for line in file]
if not texts or len(ours) != len(texts):
    sys.exit(f"{lines}: {len(texts)} lines gave {len(ours)}")
for number, (text, ids) in enumerate(zip(texts, ours), 1):
    theirs = peer.encode(text).ids
    if ids != theirs:
        sys.exit(f"{lines}:{number}: {text!r}: {ids} here, {theirs} by tokenizers {tokenizers.__version__}")
print(f"{lines}: {len(texts)} lines, {sum(map(len, ours))} tokens: the same ids as tokenizers {tokenizers.__version__}")
