"""Writing of rows."""
import random


def write_text(path, text):
    path.write_text(text, encoding="utf-8", newline="\n")


def write_split(folder, rows, parts):
    """Shuffles the (label, text) rows with a fixed seed; each part of `parts` takes its count, the last one the rest."""
    random.Random(42).shuffle(rows)
    start = 0
    for name, count in parts:
        end = len(rows) if count is None else start + count
        lines = [f"{label}\t{text}\n" for label, text in rows[start:end]]
        write_text(folder / f"{name}.tsv", "label\ttext\n" + "".join(lines))
        start = end
