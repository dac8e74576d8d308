"""Weighted k-nearest-neighbour classification of frozen embeddings."""

import keras
import numpy as np
import tensorflow as tf
from sklearn.neighbors import KNeighborsClassifier

from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import checks
from simclr_keras.evaluation.features import Features
from simclr_keras.evaluation.features import extract


def run(
    encoder: keras.Model,
    train: tf.data.Dataset,
    test: tf.data.Dataset,
    *,
    k: int = 200,
    temperature: float = 0.1,
    num_classes: int | None = None,
    verbose: bool = False,
) -> dict:
    """Accuracy of the vote of the k most similar training embeddings.

    Each neighbour votes for its class with weight exp(s / temperature), s
    being the cosine similarity to the test embedding. The protocol of Wu et
    al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination", section 3.4, https://arxiv.org/abs/1805.01978, with
    k = 200; they have temperature 0.07.

    Args:
        encoder: images [B, H, W, C] -> embeddings [B, F]; left bit-identical.
        train, test: finite datasets of (images, labels [B] int).
        k: int > 0; all of `train` vote where it has fewer.
        temperature: float > 0.
        num_classes: K; None takes the largest label plus one.
        verbose: whether to show progress bars.

    Returns:
        dict for JSON: `protocol`, `top1`, `top5` (None where K <= 5; a class
        without a vote counts as a miss), `top1_standard_error`,
        `num_examples` (of test), `num_train`, `num_classes`, `num_features`,
        `k` that voted, `notice` (a sentence if that is not the `k` asked for,
        else None), `temperature` and `unseen_classes`. Nothing is random, so
        there is no seed.

    Raises:
        ValueError: if labels are missing or out of range, or `k` or
            `temperature` are not positive.
    """
    checks.labelled(train=train, test=test)
    _check(k, temperature)
    return evaluate(
        extract(encoder, train, verbose=verbose),
        extract(encoder, test, verbose=verbose),
        k=k,
        temperature=temperature,
        num_classes=num_classes,
    )


def evaluate(
    train: Features,
    test: Features,
    *,
    k: int = 200,
    temperature: float = 0.1,
    num_classes: int | None = None,
) -> dict:
    """`run` on embeddings that are there already."""
    num_classes = checks.pair(train, test, num_classes)
    _check(k, temperature)
    used, notice = min(k, len(train.x)), None
    if used < k:
        notice = f"k is {used}, all training examples, instead of {k}"
    votes = _votes(train, test.x, used, temperature, num_classes)
    return {
        "protocol": (
            f"vote of the {used} nearest of {len(train.x):,} training "
            "embeddings by cosine similarity s, weight exp(s / "
            f"{temperature:g}); standard error over the test examples"
        ),
        **accuracy.summary(votes, test.labels),
        "num_train": len(train.x),
        "num_classes": num_classes,
        "num_features": train.x.shape[1],
        "k": used,
        "notice": notice,
        "temperature": temperature,
        "unseen_classes": checks.unseen_classes(train, test),
    }


def _votes(train, x, k, temperature, num_classes):
    """Share of the votes [N, K] float32; `NEVER` for a class without one."""

    def weights(distance):
        # |a - b|^2 = 2 - 2 s on the unit sphere. Relative to the nearest
        # neighbour, so that a small temperature does not overflow.
        similarity = 1.0 - np.square(distance) / 2.0
        nearest = similarity.max(axis=1, keepdims=True)
        return np.exp((similarity - nearest) / temperature)

    # On the unit sphere, Euclidean neighbours are the cosine ones, and for
    # the Euclidean metric scikit-learn has a search that runs blockwise on
    # all cores; its "cosine" builds whole similarity rows and is slower.
    model = KNeighborsClassifier(k, weights=weights, algorithm="brute")
    unit, zero = _unit(train.x)
    # An axis of their own makes zero vectors orthogonal to all others.
    model.fit(np.hstack([unit, zero]), train.labels)
    unit, zero = _unit(x)
    share = model.predict_proba(np.hstack([unit, np.zeros_like(zero)]))
    votes = np.full((len(x), num_classes), accuracy.NEVER, np.float32)
    votes[:, model.classes_] = np.where(share > 0, share, accuracy.NEVER)
    return votes


def _unit(x):
    """`x` [N, F] on the unit sphere, and 1.0 where it is zero, [N, 1]."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    zero = (norm == 0).astype(np.float32)
    return x / (norm + zero), zero


def _check(k, temperature):
    if k < 1:
        raise ValueError(f"`k` must be at least 1. Received: k={k}")
    if not temperature > 0:
        raise ValueError(
            "`temperature` must be greater than 0. "
            f"Received: temperature={temperature}"
        )
