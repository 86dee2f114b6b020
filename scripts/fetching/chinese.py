"""Chinese: shopping reviews, and a newspaper with its names marked."""
import random
import re

from .packages import only
from .tables import write_split, write_text


def reviews(members, folder):
    """Reviews with at least two Chinese characters; label 1 is positive.

    The files hold nearly every line twice, and some texts on both sides: one of each is kept, of those on both sides none.
    """
    def side(name):
        text = only(members(rf"sentiment/{name}\.txt$"), f"the {name} reviews").decode("utf-8")
        return {re.sub(r"\s+", " ", line).strip() for line in text.split("\n")} - {""}

    def is_chinese(text):
        return sum("\u4e00" <= c <= "\u9fff" for c in text) >= 2

    positive, negative = side("pos"), side("neg")
    rows = [
        (label, text)
        for label, own, other in ((1, positive, negative), (0, negative, positive))
        for text in sorted(own - other) if is_chinese(text)]
    write_split(folder, rows, [("dev", 2000), ("test", 2000), ("train", None)])


KINDS = {"nr": "PER", "ns": "LOC", "nt": "ORG"}


def newspaper(members, folder):
    """Sentences of 2 to 126 characters as `character tag` lines, and the plain text for masked-LM training."""
    lines = only(members(r"tag/199801\.txt$"), "the newspaper").decode("utf-8").split("\n")
    sentences, raw = [], []
    for line in lines:
        characters, tags = marked(line)
        if characters:
            raw.append("".join(characters))
        start = 0
        for k, character in enumerate(characters):
            if character in "。！？；" or k + 1 == len(characters):
                if 2 <= k + 1 - start <= 126:
                    sentences.append((characters[start:k + 1], tags[start:k + 1]))
                start = k + 1
    # Of equal sentences the first one's tags count, at the place of the last.
    unique = list({"".join(c): (c, t) for c, t in reversed(sentences)}.values())
    random.Random(42).shuffle(unique)
    for name, part in (("dev", unique[:2000]), ("test", unique[2000:4500]), ("train", unique[4500:])):
        blocks = ("".join(f"{c} {t}\n" for c, t in zip(*sentence)) + "\n" for sentence in part)
        write_text(folder / f"{name}.bio", "".join(blocks))
    write_text(folder / "raw.txt", "\n".join(raw) + "\n")


def marked(line):
    """The characters of a line of `word/tag` tokens and their BIO tags."""
    words = [m.groups() for m in (re.match(r"(.+)/([A-Za-z]+)$", token) for token in line.split()) if m]
    characters, tags = [], []
    i = 0
    while i < len(words):
        word, tag = words[i]
        i += 1
        # Surname and given name are two tokens of one person.
        if tag == "nr" and len(word) == 1 and i < len(words) and words[i][1] == "nr":
            word += words[i][0]
            i += 1
        for k, character in enumerate(word):
            characters.append(narrow(character))
            tags.append("O" if tag not in KINDS else ("B-" if k == 0 else "I-") + KINDS[tag])
    return characters, tags


def narrow(character):
    """Full-width letters and digits as ASCII; Chinese punctuation stays."""
    code = ord(character)
    if 0xFF01 <= code <= 0xFF5E and character not in "，。！？：；（）":
        return chr(code - 0xFEE0)
    return character
