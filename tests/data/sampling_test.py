"""A part of a split, in memory and streamed."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data import sampling
from simclr_keras.data import splits


class Records(splits.StreamedSplit):
    """Images of any size, to be read in their order only."""

    def __init__(self, images):
        super().__init__(len(images), True, None)
        self._stored = images

    def keys_in_order(self):
        return tf.data.Dataset.range(self.num_examples)

    def read(self, key):
        return tf.gather(self._stored, key), key


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, [9, 8, 8, 3], np.uint8)


def test_spread_is_even_and_has_both_ends():
    assert sampling.spread(9, 3).tolist() == [0, 4, 8]
    assert sampling.spread(3, 9).tolist() == [0, 1, 2]


def test_of_images_in_memory(images):
    split = splits.ArraySplit(images, np.arange(9))
    found, labels = next(iter(sampling.some(split, 3, 3, 8)))
    assert labels.numpy().tolist() == [0, 4, 8]
    np.testing.assert_allclose(found * 255, images[[0, 4, 8]], atol=1e-4)


def test_of_records_it_is_the_first_that_are_read(images):
    split = Records(images)
    batches = list(sampling.some(split, 3, 2, 8))
    assert [labels.numpy().tolist() for _, labels in batches] == [
        [0, 1],
        [2, 3],
    ]


@pytest.mark.parametrize("labels", [None, np.arange(9)])
def test_first_images_have_no_labels(images, labels):
    split = splits.ArraySplit(images, labels)
    found = sampling.first_images(split, 3, 8)
    np.testing.assert_allclose(found * 255, images[[0, 4, 8]], atol=1e-4)
