"""Linear probe: the accuracy of a linear classifier on frozen embeddings."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import checks
from simclr_keras.evaluation.features import Features
from simclr_keras.evaluation.features import extract
from simclr_keras.evaluation.logistic_regression import C_GRID
from simclr_keras.evaluation.logistic_regression import DEFAULT_C
from simclr_keras.evaluation.logistic_regression import Probe
from simclr_keras.evaluation.logistic_regression import fit
from simclr_keras.evaluation.logistic_regression import fit_few

__all__ = ["C_GRID", "DEFAULT_C", "Probe", "evaluate", "fit", "run"]


def run(
    encoder: keras.Model,
    train: tf.data.Dataset,
    test: tf.data.Dataset,
    *,
    labels_per_class: int | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    C: float | None = None,
    num_classes: int | None = None,
    verbose: bool = False,
) -> dict:
    """Accuracy of a linear classifier on the embeddings of a frozen encoder.

    Args:
        encoder: images [B, H, W, C] -> embeddings [B, F]; left bit-identical.
        train, test: finite datasets of (images, labels [B] int).
        labels_per_class: None fits on all of `train`. An int fits on that
            many examples of each class, once per seed; the draws of one seed
            are nested, and C is `DEFAULT_C` unless given.
        seeds: of the draws. Without `labels_per_class` only the first is
            used, for the validation split.
        C: scikit-learn's inverse regularisation; None chooses it from
            `C_GRID` on a stratified validation split of `train`.
        num_classes: K; None takes the largest label plus one.
        verbose: whether to show progress bars.

    Returns:
        dict for JSON: `protocol`, `top1`, `top5` (None where K <= 5, since it
        would be 1 for any features), `top1_standard_error`, `num_examples`
        (of test), `num_train`, `num_classes`, `num_features`, `seeds`, `C`,
        `converged` and `unseen_classes` (labels of test without a training
        example, all missed). With all labels also `num_validation` and
        `iterations`; with few, `labels_per_class`, `top1_std` (None for one
        seed) and `top1_draws`, and `top1` and `top5` are means.

    Raises:
        ValueError: if labels are missing or out of range, or a class has
            fewer than `labels_per_class` examples.
    """
    checks.labelled(train=train, test=test)
    return evaluate(
        extract(encoder, train, verbose=verbose),
        extract(encoder, test, verbose=verbose),
        labels_per_class=labels_per_class,
        seeds=seeds,
        C=C,
        num_classes=num_classes,
    )


def evaluate(
    train: Features,
    test: Features,
    *,
    labels_per_class: int | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    C: float | None = None,
    num_classes: int | None = None,
    probe: Probe | None = None,
) -> dict:
    """`run` on embeddings that are there already.

    Args:
        probe: what `fit` made of `train`, if it was called before; only
            without `labels_per_class`.
    """
    num_classes = checks.pair(train, test, num_classes)
    seeds = checks.seeds(seeds)
    if probe is not None and probe.kernel.shape != (
        train.x.shape[1],
        num_classes,
    ):
        raise ValueError(
            "`probe` must be fitted on `train` with this `num_classes`, "
            f"{num_classes}. Received: a kernel of shape {probe.kernel.shape}"
        )
    if labels_per_class is None:
        probe = probe or fit(train, C=C, num_classes=num_classes, seed=seeds[0])
        result = _all_labels(probe, test, seeds[0])
    else:
        probes = fit_few(
            train,
            labels_per_class,
            seeds=seeds,
            C=DEFAULT_C if C is None else C,
            num_classes=num_classes,
        )
        result = _few_labels(probes, test, labels_per_class, seeds)
    return result | {
        "num_classes": num_classes,
        "num_features": train.x.shape[1],
        "unseen_classes": checks.unseen_classes(train, test),
    }


def _all_labels(probe, test, seed):
    chosen = (
        f"chosen by accuracy on {probe.num_validation:,} of them"
        if probe.num_validation
        else "not chosen on a validation split"
    )
    return {
        "protocol": (
            f"{_PROTOCOL}, on {probe.num_train:,} labelled examples; "
            f"C {chosen}; standard error over the test examples"
        ),
        **accuracy.summary(probe.logits(test.x), test.labels),
        "num_train": probe.num_train,
        "num_validation": probe.num_validation,
        "seeds": [seed],
        "C": probe.C,
        "iterations": probe.iterations,
        "converged": probe.converged,
    }


def _few_labels(probes, test, labels_per_class, seeds):
    scores = [accuracy.summary(p.logits(test.x), test.labels) for p in probes]
    return {
        "protocol": (
            f"{_PROTOCOL}, on {labels_per_class} labelled examples per "
            f"class; C fixed; mean over {len(seeds)} stratified draws, "
            "standard deviation and standard error over the draws, one test "
            "set; embeddings standardised by the whole training set"
        ),
        "labels_per_class": labels_per_class,
        **accuracy.over_draws(scores),
        "num_train": probes[0].num_train,
        "seeds": list(seeds),
        "C": probes[0].C,
        "converged": all(probe.converged for probe in probes),
    }


_PROTOCOL = (
    "multinomial logistic regression (scikit-learn, L-BFGS, L2) on "
    "standardised embeddings of the frozen encoder"
)
