"""Embeddings of a whole data set under a frozen encoder."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tqdm


class Features(NamedTuple):
    """Embeddings and, where the data has them, labels of N examples.

    Attributes:
        x: [N, F] float32.
        labels: [N] int64 class indices, or None.
    """

    x: np.ndarray
    labels: np.ndarray | None


def extract(
    encoder: keras.Model, dataset: tf.data.Dataset, *, verbose: bool = False
) -> Features:
    """Embeds every image of `dataset` once, in its order.

    The encoder runs in inference mode. That it leaves its weights and
    batch-norm statistics alone is checked, not assumed: a "linear evaluation"
    that moves the encoder is the classical way to a number that is too good.

    Args:
        encoder: maps images [B, H, W, C] float to embeddings [B, F] of any
            float dtype.
        dataset: batches of images, or of `(images, labels)` with labels [B]
            int; finite. The last batch may be smaller.
        verbose: whether to show a progress bar.

    Raises:
        ValueError: if `dataset` has other elements, no end or no images, or
            if `encoder` gives something else than [B, F], gives values that
            are not finite, or changes while it embeds.
    """
    labelled = _check_dataset(dataset)
    embed = _compiled(encoder, dataset.element_spec)
    before = digests(encoder.weights)
    x, labels = [], []
    for element in tqdm.tqdm(
        dataset,
        total=_num_batches(dataset),
        desc=f"embed ({encoder.name})",
        unit="batch",
        leave=False,
        disable=not verbose,
    ):
        images = element[0] if labelled else element
        x.append(embed(images).numpy())
        if labelled:
            labels.append(element[1].numpy())
    check_unchanged(encoder.weights, before)
    _check_values(encoder, x)
    return Features(
        np.concatenate(x),
        np.concatenate(labels).astype(np.int64) if labelled else None,
    )


def is_pair(spec) -> bool:
    """Whether elements of such a spec are (images, labels)."""
    return isinstance(spec, tuple) and len(spec) == 2


def _check_dataset(dataset):
    """Whether there are labels, once the elements are known to be right."""
    spec = dataset.element_spec
    images = spec[0] if is_pair(spec) else spec
    if not isinstance(images, tf.TensorSpec) or images.shape.rank != 4:
        raise ValueError(
            "`dataset` must give images [B, H, W, C], or (images, labels). "
            f"Received: elements {spec}"
        )
    if not images.dtype.is_floating:
        raise ValueError(
            "`dataset` must give float images in [0, 1]. "
            f"Received: images of dtype {images.dtype.name}"
        )
    if is_pair(spec) and not (
        spec[1].shape.rank == 1 and spec[1].dtype.is_integer
    ):
        raise ValueError(
            "`dataset` must give labels as class indices, [B] int, not one "
            f"hot. Received: labels {spec[1]}"
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`dataset` must end. Received: an endless dataset (`repeat()`)"
        )
    return is_pair(spec)


def _compiled(encoder, spec):
    images = spec[0] if is_pair(spec) else spec
    # A free batch dimension: the smaller last batch is not traced again.
    free = tf.TensorSpec([None, *images.shape[1:]], images.dtype)

    def embed(images):
        return tf.cast(encoder(images, training=False), tf.float32)

    embed = tf.function(embed, input_signature=[free], autograph=False)
    shape = embed.get_concrete_function().output_shapes
    if shape.rank != 2:
        raise ValueError(
            "`encoder` must map images to embeddings [B, F]. "
            f"Received: an encoder with output shape {shape}"
        )
    return embed


def _num_batches(dataset):
    number = int(dataset.cardinality())
    return None if number < 0 else number


def digests(weights: Sequence[keras.Variable]) -> list[bytes]:
    """One digest per weight: 32 bytes each instead of a second model."""
    return [
        hashlib.sha256(np.ascontiguousarray(w.numpy())).digest()
        for w in weights
    ]


def check_unchanged(
    weights: Sequence[keras.Variable], before: Sequence[bytes]
) -> None:
    """Raises a ValueError unless `weights` have the digests `before`."""
    pairs = zip(weights, before, digests(weights), strict=True)
    changed = [w.path for w, old, new in pairs if old != new]
    if changed:
        raise ValueError(
            "`encoder` must stay as it is where it is frozen. "
            f"Received: an encoder that changed {changed[:3]}"
            f"{' and others' if len(changed) > 3 else ''}"
        )


def _check_values(encoder, x):
    if not x:
        raise ValueError("`dataset` must hold images. Received: none")
    if not all(np.isfinite(batch).all() for batch in x):
        raise ValueError(
            "`encoder` must give finite embeddings. Received: NaN or infinity "
            f"from {encoder.name!r}"
        )
