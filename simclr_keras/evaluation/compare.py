"""An encoder beside its baselines, on the same examples and protocols."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from simclr_keras.evaluation import checks
from simclr_keras.evaluation import knn
from simclr_keras.evaluation import linear_probe
from simclr_keras.evaluation.features import extract
from simclr_keras.evaluation.table import table

__all__ = [
    "EVALUATIONS",
    "is_grayscale",
    "raw_pixels",
    "run",
    "run_with_probe",
    "table",
]

EVALUATIONS = ("linear_probe", "knn")

# A linear classifier of 224 px images has 150,528 inputs: too many for the
# memory of a usual machine, and hardly better than one of a small copy.
_LARGEST_SIDE = 32


def raw_pixels(
    image_size: int | tuple[int, int], *, grayscale: bool = False
) -> keras.Model:
    """The pixels themselves as an embedding: [B, H, W, 3] -> [B, F].

    Args:
        image_size: int, or (height, width), of the images. Above 32 px they
            are averaged down to 32 px first.
        grayscale: whether the three channels are the same in all images (see
            `is_grayscale`); then one of them is taken, which says as much and
            makes the fits three times faster.
    """
    height, width = (
        image_size if isinstance(image_size, tuple) else (image_size,) * 2
    )
    x = images = keras.Input((height, width, 3), name="images")
    if grayscale:
        x = x[..., :1]
    size = min(height, _LARGEST_SIDE), min(width, _LARGEST_SIDE)
    if size != (height, width):
        x = keras.ops.image.resize(x, size, antialias=True)
    pixels = keras.layers.Flatten(name="pixels")(x)
    return keras.Model(images, pixels, name="raw_pixels")


def is_grayscale(dataset: tf.data.Dataset) -> bool:
    """Whether the channels are the same in all images of `dataset`.

    Reads no further than the first batch with colour.
    """
    for element in dataset:
        images = element[0] if isinstance(element, tuple) else element
        if not np.all(images == images[..., :1]):
            return False
    return True


def run(
    encoder: keras.Model,
    baselines: dict[str, keras.Model],
    train: tf.data.Dataset,
    test: tf.data.Dataset,
    **settings,
) -> dict:
    """`run_with_probe` without the probe."""
    return run_with_probe(encoder, baselines, train, test, **settings)[0]


def run_with_probe(
    encoder: keras.Model,
    baselines: dict[str, keras.Model],
    train: tf.data.Dataset,
    test: tf.data.Dataset,
    *,
    evaluations: Sequence[str] = EVALUATIONS,
    labels_per_class: Sequence[int] = (5, 10),
    draws: int = 5,
    seed: int = 0,
    knn_k: int = 200,
    knn_temperature: float = 0.1,
    num_classes: int | None = None,
    verbose: bool = False,
) -> tuple[dict, linear_probe.Probe | None]:
    """Evaluates `encoder` and each of `baselines`, all left bit-identical.

    Every model embeds each data set once. All see the same draws of labels.

    Args:
        encoder: images [B, H, W, C] -> embeddings [B, F].
        baselines: names and models of what it is compared with, such as
            `raw_pixels(...)` and the same architecture untrained.
        train, test: finite datasets of (images, labels [B] int).
        evaluations: which of `EVALUATIONS`.
        labels_per_class: sizes of the linear probes with few labels, which
            belong to "linear_probe".
        draws: how many draws of such labels, with seeds from `seed` on.
        seed: int >= 0.
        knn_k, knn_temperature: as `k`, `temperature` of `knn.run`.
        num_classes: K; None takes the largest label plus one.
        verbose: whether to show progress bars.

    Returns:
        A dict for JSON, and the linear probe of `encoder` on all of `train`
        (None without "linear_probe"). The dict has `num_train`,
        `num_examples` (of test), `seed`, `draws` and `representations`: for
        "encoder" and each baseline a dict of results, whose keys are
        `linear_probe`, `knn` and `linear_probe_<k>_per_class`.

    Raises:
        ValueError: if labels are missing or out of range, a name is unknown
            or taken, or a class has fewer than `labels_per_class` examples.
    """
    _check(evaluations, baselines, draws)
    checks.labelled(train=train, test=test)
    results, first_probe = {}, None
    for name, model in {"encoder": encoder, **baselines}.items():
        parts = (
            extract(model, train, verbose=verbose),
            extract(model, test, verbose=verbose),
        )
        result = results[name] = {}
        if "linear_probe" in evaluations:
            seeds = range(seed, seed + draws)
            probes, probe = _linear_probes(
                parts, labels_per_class, seeds, num_classes
            )
            result.update(probes)
            first_probe = first_probe or probe
        if "knn" in evaluations:
            result["knn"] = knn.evaluate(
                *parts,
                k=knn_k,
                temperature=knn_temperature,
                num_classes=num_classes,
            )
    return {
        "num_train": len(parts[0].x),
        "num_examples": len(parts[1].x),
        "seed": seed,
        "draws": draws,
        "representations": results,
    }, first_probe


def _linear_probes(parts, labels_per_class, seeds, num_classes):
    """The results of all linear probes, and the probe on all labels."""
    # Few labels first: a class that is too small is an error at once.
    few = {
        f"linear_probe_{k}_per_class": linear_probe.evaluate(
            *parts, labels_per_class=k, seeds=seeds, num_classes=num_classes
        )
        for k in labels_per_class
    }
    num_classes = checks.pair(*parts, num_classes)
    probe = linear_probe.fit(parts[0], num_classes=num_classes, seed=seeds[0])
    every = linear_probe.evaluate(
        *parts, seeds=seeds, num_classes=num_classes, probe=probe
    )
    return {"linear_probe": every, **few}, probe


def _check(evaluations, baselines, draws):
    if not evaluations or not set(evaluations) <= set(EVALUATIONS):
        raise ValueError(
            f"`evaluations` must be some of {EVALUATIONS}. "
            f"Received: evaluations={tuple(evaluations)}"
        )
    if "encoder" in baselines:
        raise ValueError(
            '`baselines` must not use the name "encoder". '
            f"Received: baselines named {list(baselines)}"
        )
    if draws < 1:
        raise ValueError(f"`draws` must be at least 1. Received: draws={draws}")
