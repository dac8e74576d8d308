"""Alignment and uniformity: how views of images lie on the unit sphere.

Both tell a collapse from a success without labels: where everything is one
point, alignment is perfect and uniformity worst.
"""

import numpy as np
import tensorflow as tf

_BATCH = 250


def run(model, images) -> dict:
    """Alignment and uniformity of two views of each image.

    Args:
        model: `SimCLR` on one device, or what has its `views`, `encoder` and
            `projection_head`; in inference mode, left as it is.
        images: [n, S, S, 3] uint8 or float in [0, 1].

    Returns:
        dict of floats: `alignment` and `uniformity` of the embeddings,
        `projection_alignment` and `projection_uniformity`.
    """
    embedded, projected = [], []
    for start in range(0, len(images), _BATCH):
        views = model.views(images[start : start + _BATCH], -1, start)
        h = model.encoder(views, training=False)
        embedded.append(tf.split(h, 2))
        projected.append(tf.split(model.projection_head(h, training=False), 2))
    found = {}
    for prefix, parts in (("", embedded), ("projection_", projected)):
        first, second = (
            np.concatenate([np.float32(pair[view]) for pair in parts])
            for view in (0, 1)
        )
        found[f"{prefix}alignment"] = alignment(first, second)
        found[f"{prefix}uniformity"] = uniformity(first)
    return found


def alignment(first, second) -> float:
    """Mean squared distance of two views on the unit sphere: 0 is best.

    Wang and Isola (arXiv:2005.10242, section 4.1), with alpha = 2.

    Args:
        first, second: [n, F] float; row i of both belongs to one image.
    """
    distances = np.square(_unit(first) - _unit(second)).sum(axis=1)
    return float(distances.mean())


def uniformity(x) -> float:
    """Log of the mean Gaussian potential of pairs on the unit sphere.

    Wang and Isola (arXiv:2005.10242, section 4.1), with t = 2: 0 when all
    are one point, -4 when all are orthogonal; lower is better. NaN for one
    embedding.

    Args:
        x: [n, F] float.
    """
    if len(x) < 2:
        return float("nan")
    unit = _unit(x)
    similarities = (unit @ unit.T)[np.triu_indices(len(x), 1)]
    # |a - b|^2 = 2 - 2 cos on the unit sphere.
    return float(np.log(np.exp(4.0 * similarities - 4.0).mean()))


def _unit(x):
    x = np.asarray(x, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
