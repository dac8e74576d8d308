"""What the protocols demand of their training and test data."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from simclr_keras.evaluation.features import Features
from simclr_keras.evaluation.features import is_pair


def labelled(**data: tf.data.Dataset | Features) -> None:
    """Raises a ValueError that names the argument that has no labels."""
    for name, part in data.items():
        if isinstance(part, Features):
            has_labels = part.labels is not None
        else:
            has_labels = is_pair(part.element_spec)
        if not has_labels:
            raise ValueError(
                f"`{name}` must have labels: batches of (images, labels). "
                "Received: images alone"
            )


def training(
    name: str, features: Features, num_classes: int | None = None
) -> int:
    """The number of classes K to fit a classifier of.

    Without `num_classes` it is one more than the largest label.

    Raises:
        ValueError: if there are no labels, negative ones or ones not below
            `num_classes`, or one class only.
    """
    labelled(**{name: features})
    labels(name, features.labels, num_classes)
    if len(np.unique(features.labels)) < 2:
        raise ValueError(
            f"`{name}` must have at least two classes. "
            f"Received: class {features.labels[0]} only"
        )
    return num_classes or int(features.labels.max()) + 1


def pair(
    train: Features, test: Features, num_classes: int | None = None
) -> int:
    """The number of classes K of a training and a test set together.

    Raises:
        ValueError: as `training`, for either set (one class is enough in
            `test`), or if the embeddings have different widths.
    """
    labelled(test=test)
    labels("test", test.labels, num_classes)
    if train.x.shape[1] != test.x.shape[1]:
        raise ValueError(
            "`test` must have embeddings as wide as those of `train`. "
            f"Received: {test.x.shape[1]} and {train.x.shape[1]} features"
        )
    in_train = training("train", train, num_classes)
    return max(in_train, int(test.labels.max()) + 1)


def seeds(numbers: Sequence[int]) -> list[int]:
    """`numbers` as a list.

    Raises:
        ValueError: unless they are one or more different integers >= 0.
    """
    found = [int(number) for number in numbers]
    if not found or min(found) < 0 or len(set(found)) < len(found):
        raise ValueError(
            "`seeds` must be one or more different integers >= 0. "
            f"Received: seeds={found}"
        )
    return found


def unseen_classes(train: Features, test: Features) -> list[int]:
    """Labels of `test` without an example in `train`: sure to be missed."""
    return np.setdiff1d(test.labels, train.labels).tolist()


def labels(name: str, numbers: np.ndarray, num_classes: int | None) -> None:
    """Raises a ValueError unless labels are from 0 to `num_classes` - 1."""
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        upper = "K - 1" if num_classes is None else num_classes - 1
        raise ValueError(
            f"`{name}` must have labels from 0 to {upper}. "
            f"Received: labels from {low} to {high}"
        )
