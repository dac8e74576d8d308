import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras.data import paths
from simclr_keras.data import splits
from tests.data import scan_test


def images(num=6, height=4, width=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num, height, width, 3), np.uint8)


class TestArraySplit:
    def test_tells_what_it_holds(self):
        split = splits.ArraySplit(images(), np.arange(6))
        assert split.num_examples == 6
        assert split.has_labels
        assert split.in_memory

    def test_subset_takes_images_with_their_labels(self):
        pixels = images()
        split = splits.ArraySplit(pixels, np.arange(6)).subset([4, 1])
        np.testing.assert_array_equal(split.images, pixels[[4, 1]])
        np.testing.assert_array_equal(split.labels, [4, 1])

    def test_subset_without_labels(self):
        split = splits.ArraySplit(images()).subset([4, 1])
        assert split.labels is None
        assert not split.has_labels

    def test_tensor_and_images_share_memory(self):
        pixels = images()
        split = splits.ArraySplit(pixels.copy())
        tensor = split.tensor
        assert split.tensor is tensor
        np.testing.assert_array_equal(split.images, pixels)
        shared = np.asarray(memoryview(tensor))
        assert np.shares_memory(split.images, shared)


class TestWithLabels:
    def test_images_are_shared_and_labels_are_others(self):
        split = splits.ArraySplit(images(), np.arange(6))
        tensor = split.tensor
        other = split.with_labels(np.full(6, -1))
        assert other.tensor is tensor
        np.testing.assert_array_equal(other.labels, [-1] * 6)
        np.testing.assert_array_equal(split.labels, np.arange(6))

    def test_without_any(self):
        split = splits.ArraySplit(images(), np.arange(6)).with_labels(None)
        assert split.labels is None
        assert not split.has_labels

    @pytest.mark.parametrize("sides", [[(4, 5), (6, 3)], [(4, 5), (4, 5)]])
    def test_of_files(self, sides, tmp_path):
        sizes = np.array(sides)
        for i, size in enumerate(sizes):
            scan_test.write(tmp_path, f"{i}.png", scan_test.png(*size))
        names = paths.Paths(str(tmp_path), [b"0.png", b"1.png"])
        split = splits.FileSplit(names, np.array([7, 8]), sizes)
        assert split.in_memory == (sides[0] == sides[1])
        keys = split.keys_in_order()
        before = [label for _, label in keys.map(split.read)]
        other = split.with_labels(np.array([-1, 8]))
        after = [label for _, label in keys.map(other.read)]
        assert ([*map(int, before)], [*map(int, after)]) == ([7, 8], [-1, 8])
        np.testing.assert_array_equal(other.labels, [-1, 8])


class TestFitsInMemory:
    @pytest.mark.parametrize(
        "num_examples,size,fits",
        [
            (10, (8, 8), True),
            (10, None, False),
            (splits.MEMORY_LIMIT // (3 * 64), (8, 8), True),
            (splits.MEMORY_LIMIT // (3 * 64) + 1, (8, 8), False),
        ],
    )
    def test_by_size(self, num_examples, size, fits):
        split = splits.StreamedSplit(num_examples, False, size)
        assert split.in_memory == fits


class TestFileSplit:
    @pytest.fixture
    def split(self, tmp_path):
        sizes = np.array([(4, 5), (6, 3)])
        for i, size in enumerate(sizes):
            scan_test.write(tmp_path, f"{i}.png", scan_test.png(*size))
        names = paths.Paths(str(tmp_path), [b"0.png", b"1.png"])
        return splits.FileSplit(names, np.array([7, 8]), sizes)

    def read_all(self, split):
        return list(split.keys_in_order().map(split.read).as_numpy_iterator())

    def test_reads_images_and_labels(self, split):
        for path, (image, label), number in zip(
            split.paths, self.read_all(split), (7, 8), strict=True
        ):
            np.testing.assert_array_equal(image, Image.open(path))
            assert label == number

    def test_decodes_once_what_fits_in_memory(self, split):
        first = self.read_all(split)
        for path in split.paths:
            os.remove(path)
        for left, right in zip(self.read_all(split), first, strict=True):
            np.testing.assert_array_equal(left[0], right[0])

    def test_decodes_again_what_does_not_fit(self, split, monkeypatch):
        monkeypatch.setattr(splits, "MEMORY_LIMIT", 3 * (4 * 5 + 6 * 3) - 1)
        self.read_all(split)
        for path in split.paths:
            os.remove(path)
        with pytest.raises(tf.errors.NotFoundError):
            self.read_all(split)
