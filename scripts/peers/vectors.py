"""Comparing the vectors of `lockstep embed --pooling tokens` with another program's."""
import json
import sys

# Two programs in float32 that sum in different orders; hidden states are of order 1.
TOLERANCE = 3e-5


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def compare(program, model, inputs, outputs, forward):
    """`forward(ids, segments)` gives the peer's vectors as an array [S, H]; exits with 1 if they differ."""
    import numpy

    inputs, outputs = read(inputs), read(outputs)
    if not inputs or len(inputs) != len(outputs):
        sys.exit(f"{model}: {len(inputs)} inputs gave {len(outputs)} lines")
    worst = 0.0
    for item, output in zip(inputs, outputs):
        theirs, ours = forward(item["ids"], item["segments"]), numpy.array(output["vectors"])
        if ours.shape != theirs.shape:
            sys.exit(f"{model}: {len(item['ids'])} tokens gave vectors of shape {ours.shape}, {program} {theirs.shape}")
        worst = max(worst, float(numpy.abs(ours - theirs).max()))
    if not worst <= TOLERANCE:
        sys.exit(f"{model}: the vectors differ from {program}'s by up to {worst:.1e}; {TOLERANCE:.0e} is allowed")
    print(f"{model}: {program} reads it; vectors of {len(inputs)} inputs differ by at most {worst:.1e}")
