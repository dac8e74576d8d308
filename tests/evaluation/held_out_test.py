"""kNN and probe on a part of the training images."""

import numpy as np
import pytest

from simclr_keras.data import splits
from simclr_keras.evaluation import held_out
from simclr_keras.evaluation import knn
from simclr_keras.evaluation import linear_probe
from simclr_keras.evaluation import subsets
from simclr_keras.evaluation.features import extract
from tests.data.sampling_test import Records
from tests.evaluation import small


@pytest.fixture(scope="module")
def split():
    part, _ = small.digits()
    pixels = np.uint8(np.rint(part.x * 255)).reshape(-1, 8, 8, 1)
    return splits.ArraySplit(
        np.repeat(pixels, 3, axis=-1)[:300], part.labels[:300]
    )


def rows(dataset):
    """All images as bytes, and labels."""
    found = [
        (image.tobytes(), int(label))
        for images, labels in dataset
        for image, label in zip(images.numpy(), labels.numpy(), strict=True)
    ]
    return found


class TestImages:
    def test_are_all_of_a_small_split(self, split):
        dataset = held_out.images(split, batch_size=128, image_size=8)
        assert [label for _, label in rows(dataset)] == split.labels.tolist()

    def test_are_some_of_each_class_of_a_large_one(self, split, monkeypatch):
        monkeypatch.setattr(held_out, "MOST_IMAGES", 100)
        some, again, other = (
            rows(held_out.images(split, batch_size=64, image_size=8, seed=seed))
            for seed in (0, 0, 1)
        )
        assert some == again != other
        _, counts = np.unique([label for _, label in some], return_counts=True)
        whole = np.bincount(split.labels)
        np.testing.assert_allclose(counts, whole / 3, atol=0.5)

    def test_of_a_stream_are_the_first(self, split, monkeypatch):
        monkeypatch.setattr(held_out, "MOST_IMAGES", 10)
        stream = Records(split.images)
        dataset = held_out.images(stream, batch_size=5, image_size=8)
        assert [label for _, label in rows(dataset)] == list(range(10))

    @pytest.mark.parametrize("labels", [None, np.arange(40) % 10])
    def test_need_labels_and_five_of_a_class(self, labels):
        split = splits.ArraySplit(np.zeros([40, 8, 8, 3], np.uint8), labels)
        with pytest.raises(ValueError, match="`split` must have"):
            held_out.images(split, batch_size=8, image_size=8)


class TestRun:
    def test_holds_out_what_it_asks_about(self, split):
        encoder = small.encoder()
        before = [w.numpy() for w in encoder.weights]
        dataset = held_out.images(split, batch_size=64, image_size=8)
        found = held_out.run(encoder, dataset, k=10, seed=3)
        for old, new in zip(before, encoder.weights, strict=True):
            np.testing.assert_array_equal(old, new.numpy())
        # The same by the public protocols, on two splits made by hand.
        teach, ask = subsets.validation_split(
            split.labels, 0.2, seed=3, most=10_000
        )
        assert not set(teach) & set(ask)
        parts = [
            extract(
                encoder,
                small.dataset(
                    split.images[i] / np.float32(255), split.labels[i]
                ),
            )
            for i in (teach, ask)
        ]
        expected = knn.evaluate(*parts, k=10)
        assert found["knn_top1"] == expected["top1"]
        linear = linear_probe.evaluate(*parts, C=1.0, seeds=[0])
        assert found["linear_top1"] == linear["top1"]
        assert found["num_train"] + found["num_held_out"] == 300
        assert found["num_held_out"] == expected["num_examples"] > 50
