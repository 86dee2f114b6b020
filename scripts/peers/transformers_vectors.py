#!/usr/bin/env python3
"""usage: transformers_vectors.py FOLDER INPUTS VECTORS: transformers' hidden states against those of `lockstep embed`."""
import sys

import torch
import transformers

from vectors import compare

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
folder, inputs, outputs = sys.argv[1:]
model, report = transformers.BertModel.from_pretrained(folder, output_loading_info=True)
# A checkpoint without a pooler is whole; anything else that is missing would be drawn at random without a word.
missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
if missing:
    sys.exit(f"{folder}: transformers misses {', '.join(sorted(missing)[:5])}")
model.eval()


def forward(ids, segments):
    with torch.no_grad():
        return model(torch.tensor([ids]), token_type_ids=torch.tensor([segments])).last_hidden_state[0].numpy()


compare(f"transformers {transformers.__version__}", folder, inputs, outputs, forward)
