"""What a page shows of `embeddings.npz`, for its templates."""

import numpy as np

from simclr_keras.report import plots

# More classes than that are not read as a table or told apart on a map.
_MOST_CLASSES = 20
_NUM_MISTAKES = 15


def sphere(run):
    """[(name, alignment, uniformity)] of embeddings and projections."""
    arrays = run.embeddings or {}
    return [
        (name, float(arrays[f"{prefix}alignment"]), float(arrays[uniformity]))
        for name, prefix in (("embedding", ""), ("projection", "projection_"))
        if (uniformity := f"{prefix}uniformity") in arrays
    ]


def class_name(label, names):
    """A class in words; of an image without a label, "no label"."""
    if label < 0:
        return "no label"
    return names[label] if names and label < len(names) else str(label)


def words(run):
    """Of what the embeddings are, in words; None without any."""
    if run.embeddings is None:
        return None
    number = len(run.embeddings["embeddings"])
    return f"{number:,} {run.embeddings['of']} images"


def map_of(run):
    """The map as SVG, and whether its classes are told and named; or None."""
    if run.embeddings is None or "map" not in run.embeddings:
        return None
    arrays, names = run.embeddings, run.class_names
    labels = arrays.get("labels")
    named = labels is not None and len(np.unique(labels)) <= _MOST_CLASSES
    if named and names is None:
        names = [str(label) for label in range(labels.max() + 1)]
    return {
        "named": named,
        "labelled": labels is not None,
        "svg": plots.map_of(
            arrays["map"],
            label=f"Map of the embeddings of {words(run)}",
            labels=labels,
            names=names if named else None,
            pictures=(arrays["shown"], arrays["pictures"]),
        ),
    }


def neighbours(run):
    """Some images with their nearest, or None without embeddings.

    Returns:
        List of dicts: `query`, (picture, class in words or ""), and
        `nearest`, a list of (picture, class, similarity, whether the class is
        that of the query).
    """
    if run.embeddings is None:
        return None
    arrays, names = run.embeddings, run.class_names
    labels = arrays.get("labels")
    places = {int(i): row for row, i in enumerate(arrays["shown"])}

    def shown(index):
        caption = "" if labels is None else class_name(labels[index], names)
        return arrays["pictures"][places[int(index)]], caption

    def line(query, nearest, similarities):
        pairs = zip(nearest, similarities, strict=True)
        return {
            "query": shown(query),
            "nearest": [
                (
                    *shown(index),
                    float(similarity),
                    labels is None or labels[index] == labels[query],
                )
                for index, similarity in pairs
            ],
        }

    parts = ("queries", "neighbours", "similarities")
    return [line(*row) for row in zip(*map(arrays.get, parts), strict=True)]


def confusion(run):
    """The probe's predictions and most frequent mistakes, or None."""
    if run.embeddings is None or "confusion" not in run.embeddings:
        return None
    counts = run.embeddings["confusion"]
    names = run.class_names or [str(label) for label in range(len(counts))]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = list(zip(counts.tolist(), shares.tolist(), strict=True))
    return {
        "names": names,
        "number": int(counts.sum()),
        "accuracy": float(np.trace(counts) / max(counts.sum(), 1)),
        "rows": rows if len(counts) <= _MOST_CLASSES else None,
        "mistakes": [
            (names[i], names[j], int(counts[i, j]), float(shares[i, j]))
            for i, j in _mistakes(counts)
        ],
    }


def _mistakes(counts):
    """(true class, predicted class) of the most frequent mistakes."""
    wrong = counts - np.diag(np.diag(counts))
    most = np.argsort(-wrong, axis=None, kind="stable")[:_NUM_MISTAKES]
    places = zip(*np.unravel_index(most, counts.shape), strict=True)
    return [place for place in places if wrong[place]]
