import numpy as np
import pytest
import threadpoolctl
from sklearn import datasets
from sklearn import linear_model

from simclr_keras.data import embedded


@pytest.fixture(scope="module")
def digits():
    return embedded.digits()


class TestDigits:
    def test_holds_every_image_once(self, digits):
        bunch = datasets.load_digits()
        expected = {
            (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), label)
            for image, label in zip(bunch.images, bunch.target, strict=True)
        }
        found = [
            (np.ascontiguousarray(image[..., 0]).tobytes(), label)
            for split in (digits.train, digits.test)
            for image, label in zip(split.images, split.labels, strict=True)
        ]
        assert len(found) == len(bunch.images)
        assert set(found) == expected

    def test_channels_are_equal_and_cover_the_range(self, digits):
        images = digits.pretrain.images
        assert images.dtype == np.uint8
        assert images.shape[1:] == (8, 8, 3)
        assert (images == images[..., :1]).all()
        assert images.min() == 0 and images.max() == 255

    def test_a_fifth_of_each_class_is_for_testing(self, digits):
        train = np.bincount(digits.train.labels)
        test = np.bincount(digits.test.labels)
        assert len(train) == len(test) == digits.num_classes == 10
        np.testing.assert_allclose(test / (train + test), 0.2, atol=0.01)

    def test_pretrains_without_the_test_images(self, digits):
        assert digits.pretrain is digits.train

    def test_is_the_same_every_time(self, digits):
        again = embedded.digits()
        assert again.fingerprint == digits.fingerprint
        np.testing.assert_array_equal(again.test.images, digits.test.images)

    def test_raw_pixels_baseline(self, digits):
        def features(split):
            return split.images[..., 0].reshape(len(split.images), -1) / 255

        probe = linear_model.LogisticRegression(max_iter=2000)
        with threadpoolctl.threadpool_limits(1):
            probe.fit(features(digits.train), digits.train.labels)
        score = probe.score(features(digits.test), digits.test.labels)
        assert 0.96 < score < 0.975
