"""kNN and linear probe on training images alone, while a run trains.

What is chosen by an accuracy (a checkpoint, a learning rate) is chosen by
chance too, and better at it on the examples that decided than on others. So
none of this reads a test image.
"""

import keras
import numpy as np
import tensorflow as tf

from simclr_keras import data
from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import knn
from simclr_keras.evaluation import logistic_regression
from simclr_keras.evaluation import subsets
from simclr_keras.evaluation.features import Features
from simclr_keras.evaluation.features import extract

# Embedding so many takes a few percent of an epoch of a large data set.
MOST_IMAGES = 10_000
SHARE = 0.2


def images(
    split: data.Split, *, batch_size: int, image_size: int, seed: int = 0
) -> tf.data.Dataset:
    """What `run` reads: the split, or about `MOST_IMAGES` of it.

    They are drawn evenly from all classes; of a data set that is streamed,
    whose labels are not known beforehand, they are the first.

    Args:
        split: images with labels, to train on.
        batch_size, image_size: as for `data.pipelines.evaluation`.
        seed: int >= 0, of the draw.

    Raises:
        ValueError: if there are no labels, or no class has the five images
            that it takes to hold one out.
    """
    if not split.has_labels:
        raise ValueError("`split` must have labels. Received: images alone")
    labels = split.labels
    if labels is None:
        dataset = data.pipelines.evaluation(split, batch_size, image_size)
        return dataset.take(-(-MOST_IMAGES // batch_size))
    check(labels)
    if len(labels) > MOST_IMAGES:
        share = MOST_IMAGES / len(labels)
        split = split.subset(subsets.of_each_class(labels, share, seed=seed))
    return data.pipelines.evaluation(split, batch_size, image_size)


def run(
    encoder: keras.Model,
    dataset: tf.data.Dataset,
    *,
    num_classes: int | None = None,
    seed: int = 0,
    k: int = 200,
    temperature: float = 0.1,
) -> dict:
    """Accuracies on a fifth of the images, by means of the others.

    Args:
        encoder: images [B, H, W, C] -> embeddings [B, F]; left bit-identical.
        dataset: from `images`; (images, labels [B] int).
        num_classes: K; None takes the largest label plus one.
        seed: int >= 0, of what is held out of each class.
        k, temperature: as for `knn.run`.

    Returns:
        dict for JSON: `knn_top1`; `linear_top1`, of multinomial logistic
        regression as in `linear_probe` with C = 1; `num_train` and
        `num_held_out`, how many images teach and are asked about.

    Raises:
        ValueError: as `knn.run`, or if no class has five images.
    """
    x, labels = extract(encoder, dataset)
    check(labels)
    rows, held = subsets.validation_split(
        labels, SHARE, seed=seed, most=MOST_IMAGES
    )
    train, test = (Features(x[r], labels[r]) for r in (rows, held))
    near = knn.evaluate(
        train, test, k=k, temperature=temperature, num_classes=num_classes
    )
    probe = logistic_regression.fit(
        train, C=logistic_regression.DEFAULT_C, num_classes=num_classes
    )
    linear = accuracy.summary(probe.logits(test.x), test.labels)
    return {
        "knn_top1": near["top1"],
        "linear_top1": linear["top1"],
        "num_train": len(rows),
        "num_held_out": len(held),
    }


def check(labels):
    """Raises a ValueError unless some class has five of `labels` [N]."""
    most = np.unique(labels, return_counts=True)[1].max()
    if int(SHARE * most) < 1:
        raise ValueError(
            f"`split` must have a class of {round(1 / SHARE)} labelled images, "
            f"to hold one out. Received: {most} in the largest class"
        )
