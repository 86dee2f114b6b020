"""Model sizes, sequence lengths and the cost of a step, the same for every program that is measured."""
import collections

Shape = collections.namedtuple("Shape", "layers hidden heads intermediate")
MODELS = {
    "base": Shape(12, 768, 12, 3072),
    "small": Shape(6, 384, 12, 1536),
    "tiny": Shape(2, 128, 2, 512),
}
VOCABULARY = 21128
LABELS = 15


def sequence_lengths(kind, batch, longest):
    """All of the longest length, or spread evenly from an eighth of it to all of it."""
    if kind == "fixed" or batch == 1:
        return [longest] * batch
    shortest = max(2, longest // 8)
    return [shortest + (longest - shortest) * i // (batch - 1) for i in range(batch)]


def gigaflops(shape, lengths):
    """Floating-point operations of one step in units of 1e9: 6 W T + 12 L H (sum of squared lengths).

    W counts the weights of the encoder's matrix products. Embeddings, head, norms, dropout and optimizer are left out.
    """
    weights = shape.layers * (4 * shape.hidden ** 2 + 2 * shape.hidden * shape.intermediate)
    attention = 12 * shape.layers * shape.hidden * sum(n * n for n in lengths)
    return (6 * weights * sum(lengths) + attention) / 1e9
