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
    if run.embeddings is None or "map" not in run.embeddings:
        return None
    arrays, names = run.embeddings, run.class_names
    labels = arrays.get("labels")
    num_classes = None if labels is None else len(np.unique(labels))
    if names is None and labels is not None:
        names = [str(label) for label in range(labels.max() + 1)]
    return {
        "named": num_classes is not None and num_classes <= _MOST_CLASSES,
        "labelled": labels is not None,
        "svg": plots.map_of(
            arrays["map"],
            label=f"Map of the embeddings of {words(run)}",
            labels=labels,
            names=names
            if num_classes and num_classes <= _MOST_CLASSES
            else None,
            pictures=(arrays["shown"], arrays["pictures"]),
        ),
    }


def neighbours(run):
    """List of (picture, caption) of a query, and of its neighbours:
    [(picture, caption, similarity, whether of the same class)]."""
    if run.embeddings is None:
        return None
    arrays, names = run.embeddings, run.class_names
    labels = arrays.get("labels")
    places = {int(i): row for row, i in enumerate(arrays["shown"])}

    def shown(index):
        caption = "" if labels is None else class_name(labels[index], names)
        return arrays["pictures"][places[int(index)]], caption

    found = []
    for query, nearest, similarities in zip(
        arrays["queries"],
        arrays["neighbours"],
        arrays["similarities"],
        strict=True,
    ):
        found.append(
            {
                "query": shown(query),
                "nearest": [
                    (
                        *shown(index),
                        float(similarity),
                        labels is None or labels[index] == labels[query],
                    )
                    for index, similarity in zip(
                        nearest, similarities, strict=True
                    )
                ],
            }
        )
    return found


def confusion(run):
    if run.embeddings is None or "confusion" not in run.embeddings:
        return None
    counts = run.embeddings["confusion"]
    names = run.class_names or [str(label) for label in range(len(counts))]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    worst = np.argsort(-wrong, axis=None, kind="stable")[:_NUM_MISTAKES]
    pairs = np.stack(np.unravel_index(worst, counts.shape), axis=1)
    return {
        "names": names,
        "number": int(counts.sum()),
        "accuracy": float(np.trace(counts) / max(counts.sum(), 1)),
        "rows": list(zip(counts.tolist(), shares.tolist(), strict=True))
        if len(counts) <= _MOST_CLASSES
        else None,
        "mistakes": [
            (names[true], names[taken], int(counts[true, taken]), share)
            for true, taken in pairs
            if counts[true, taken]
            for share in [float(shares[true, taken])]
            if true != taken
        ],
    }
