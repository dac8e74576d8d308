"""A part of the images of a split, to look at or to measure on."""

import numpy as np

from simclr_keras.data import pipelines
from simclr_keras.data import splits


def spread(number, limit):
    """At most `limit` of the integers below `number`, evenly spread."""
    return np.linspace(0, number - 1, min(number, limit)).round().astype(int)


def some(split, limit, batch_size, image_size):
    """Dataset of about `limit` images, evenly spread where that is cheap.

    Args:
        split: `Split`.
        limit: int.
        batch_size, image_size: as for `pipelines.evaluation`.

    Returns:
        What `pipelines.evaluation` returns, in the order of the split.
    """
    places = spread(split.num_examples, limit)
    if split.in_memory:
        labels = split.labels[places] if split.has_labels else None
        split = splits.ArraySplit(split.images[places], labels)
    elif isinstance(split, splits.FileSplit):
        split = split.subset(places)
    # Of records, those in the middle are not to be had without the others.
    dataset = pipelines.evaluation(split, batch_size, image_size)
    return dataset.take(-(-limit // batch_size))


def first_images(split, limit, image_size):
    """About `limit` images of `some`, as one tensor [n, S, S, 3] float32."""
    first = next(iter(some(split, limit, limit, image_size)))
    return first[0] if split.has_labels else first
