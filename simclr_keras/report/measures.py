"""What can be seen in embeddings: neighbours, a map, mistakes."""

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

_NUM_QUERIES = 8
_NUM_NEIGHBOURS = 7
# t-SNE's perplexity is the number of neighbours it keeps together.
_PERPLEXITY = 30.0
_FEWEST_MAPPED = 10


def confusion(labels, predictions, num_classes):
    """How often each class (row) was taken for each: [K, K] int64.

    Args:
        labels, predictions: [n] int class indices.
        num_classes: K.
    """
    counts = np.zeros([num_classes, num_classes], np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def neighbours(x, labels=None):
    """Some embeddings with the nearest of the others, by cosine similarity.

    Args:
        x: [n, F] float.
        labels: [n] int class indices; then the queries are of different
            classes.

    Returns:
        dict of `queries` [q], `neighbours` [q, k], both indices, and
        `similarities` [q, k] float32; q <= 8 and k <= 7.
    """
    candidates = np.arange(len(x))
    if labels is not None:
        _, candidates = np.unique(labels, return_index=True)
    number = min(len(candidates), _NUM_QUERIES)
    chosen = np.linspace(0, len(candidates) - 1, number).round().astype(int)
    queries = candidates[chosen]
    unit = _unit(x)
    similarities = unit[queries] @ unit.T
    similarities[np.arange(number), queries] = -np.inf
    k = min(_NUM_NEIGHBOURS, len(x) - 1)
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return {
        "queries": queries,
        "neighbours": nearest,
        "similarities": np.take_along_axis(similarities, nearest, axis=1),
    }


def map_of(x):
    """Embeddings in the plane, by t-SNE: [n, F] -> [n, 2] float32.

    Neighbours on the unit sphere stay neighbours; distances between groups
    say little. None for fewer than 10, or if all are the same.
    """
    unit = _unit(x)
    if len(x) < _FEWEST_MAPPED or np.allclose(unit, unit[0]):
        return None
    perplexity = min(_PERPLEXITY, (len(x) - 1) / 3)
    method = TSNE(perplexity=perplexity, init="pca", random_state=0)
    # Its threads wait for each other in a loop: beside another program, two
    # take more than ten times as long as one.
    with threadpool_limits(1):
        return method.fit_transform(unit)


def _unit(x):
    x = np.asarray(x, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
