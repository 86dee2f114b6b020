#!/usr/bin/env python3
"""Prints inputs for the model in a folder, one JSON object of `ids` and `segments` a line: unequal lengths, one and two segments."""
import json
import pathlib
import random
import sys


def main(folder):
    folder = pathlib.Path(folder)
    file = next(f for f in (folder / "config.json", folder / "bert_config.json") if f.exists())
    config = json.loads(file.read_text())
    draw = random.Random(3)
    for length in (1, 2, 7, 33, min(200, config["max_position_embeddings"])):
        second = draw.randint(0, length)
        print(json.dumps({
            "ids": [draw.randrange(config["vocab_size"]) for _ in range(length)],
            "segments": [int(i >= second) for i in range(length)]}))


if __name__ == "__main__":
    main(sys.argv[1])
