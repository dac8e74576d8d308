import numpy as np
import pytest

from simclr_keras.data import splits


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
