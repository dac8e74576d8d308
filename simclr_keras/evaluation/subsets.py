"""Stratified, seeded choices of examples by their labels.

All come from one order per class and seed, so they are nested: the five
examples of a class with `labels_per_class=5` are among its ten with 10, and
those of 1 % of the labels among those of 10 %.
"""

import math

import numpy as np

from simclr_keras import data


def per_class(
    labels: np.ndarray, labels_per_class: int, *, seed: int
) -> np.ndarray:
    """Indices of `labels_per_class` examples of each class that occurs.

    Args:
        labels: [N] int class indices >= 0.
        labels_per_class: int > 0.
        seed: int >= 0. The draw in one class is independent of the others.

    Returns:
        [labels_per_class * K] int64, increasing.

    Raises:
        ValueError: if a class has fewer examples.
    """
    if labels_per_class < 1:
        raise ValueError(
            "`labels_per_class` must be at least 1. "
            f"Received: labels_per_class={labels_per_class}"
        )
    orders = _orders(labels, seed)
    label, order = min(orders.items(), key=lambda item: len(item[1]))
    if len(order) < labels_per_class:
        raise ValueError(
            "`labels_per_class` must be at most the number of examples of the "
            f"smallest class, {len(order)} of class {label}. "
            f"Received: labels_per_class={labels_per_class}"
        )
    return _join(order[:labels_per_class] for order in orders.values())


def of_each_class(labels: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Indices of a share of the examples of each class that occurs.

    Args:
        labels: [N] int class indices >= 0.
        share: float in (0, 1]. Of each class it is rounded to whole examples,
            but never below one.
        seed: int >= 0. The draw in one class is independent of the others.

    Returns:
        [about share * N] int64, increasing.

    Raises:
        ValueError: if `share` is out of its range.
    """
    if not 0 < share <= 1:
        raise ValueError(
            f"`share` must be above 0 and at most 1. Received: share={share}"
        )
    return _join(
        order[: max(1, round(share * len(order)))]
        for order in _orders(labels, seed).values()
    )


def labelled_part(
    split: data.Split,
    labels_per_class: int | None,
    label_fraction: float | None,
    seed: int,
) -> data.Split:
    """The examples of `split` that a fit may see; all of it for two None.

    Raises:
        ValueError: as `labelled_rows`.
    """
    rows = labelled_rows(split, labels_per_class, label_fraction, seed)
    return split if rows is None else split.subset(rows)


def labelled_rows(
    split: data.Split,
    labels_per_class: int | None,
    label_fraction: float | None,
    seed: int,
) -> np.ndarray | None:
    """Indices of the examples whose labels a fit may see; None for all.

    Raises:
        ValueError: if both numbers are given or one is out of its range, a
            class is too small, or labels are known only while streaming.
    """
    if labels_per_class is None and label_fraction is None:
        return None
    if labels_per_class is not None and label_fraction is not None:
        raise ValueError(
            "`label_fraction` must be None if `labels_per_class` is given. "
            f"Received: label_fraction={label_fraction} and "
            f"labels_per_class={labels_per_class}"
        )
    if split.labels is None:
        raise ValueError(
            "`train` must have labels that are known before it is read, to "
            "choose some by class. Received: a data set that is streamed; "
            "name a part of it instead, such as imagenet2012_subset/1pct"
        )
    if labels_per_class is not None:
        return per_class(split.labels, labels_per_class, seed=seed)
    return of_each_class(split.labels, label_fraction, seed=seed)


def validation_split(
    labels: np.ndarray, fraction: float, *, seed: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices to fit on and indices to validate on, disjoint.

    Args:
        labels: [N] int class indices >= 0.
        fraction: of each class (rounded down) that goes to validation.
        seed: int >= 0.
        most: about how many examples each part may have; both are thinned
            evenly over the classes, never below one per class and part.

    Returns:
        Two arrays of int64, increasing.
    """
    fit, validation = [], []
    for order in _orders(labels, seed).values():
        cut = len(order) - int(fraction * len(order))
        fit.append(order[:cut])
        validation.append(order[cut:])
    return _thinned(fit, most), _thinned(validation, most)


def _thinned(parts, most):
    share = min(1.0, most / max(1, sum(map(len, parts))))
    return _join(part[: math.ceil(share * len(part))] for part in parts)


def _join(parts):
    return np.sort(np.concatenate(list(parts)))


def _orders(labels, seed):
    """A random order of the examples of each class, {label: [N_c] int64}."""
    return {
        int(label): np.random.default_rng([seed, int(label)]).permutation(
            np.flatnonzero(labels == label)
        )
        for label in np.unique(labels)
    }
