import functools

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import preprocessing
from simclr_keras.export import decoding
from tests.export.odd_images import BAD
from tests.export.odd_images import GOOD
from tests.export.odd_images import JPEG
from tests.export.odd_images import PNG
from tests.export.odd_images import encoded


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def decode_batch(image_bytes):
    return decoding.decode_batch(image_bytes, 24)


@functools.cache
def expected(content):
    image = preprocessing.decode(content)
    return preprocessing.preprocess(image[None], 24)[0]


class TestDecodeBatch:
    @pytest.mark.parametrize("count", [1, 2, len(GOOD)])
    def test_equals_evaluation(self, count):
        contents = list(GOOD.values())[:count]
        images, valid = decode_batch(contents)
        assert valid.numpy().tolist() == [True] * count
        for image, content in zip(images, contents, strict=True):
            np.testing.assert_array_equal(image, expected(content))

    @pytest.mark.parametrize("name", BAD)
    def test_one_bad_file_spoils_only_its_row(self, name):
        images, valid = decode_batch([JPEG, BAD[name], PNG])
        assert valid.numpy().tolist() == [True, False, True]
        np.testing.assert_array_equal(images[0], expected(JPEG))
        np.testing.assert_array_equal(images[1], np.zeros((24, 24, 3)))
        np.testing.assert_array_equal(images[2], expected(PNG))

    def test_large_images_are_not_decoded(self, monkeypatch):
        limit = 20 * 30
        monkeypatch.setattr(decoding, "MAX_PIXELS", limit)
        files = [JPEG, PNG, encoded("PNG", 20, 30), encoded("PNG", 20, 31)]
        _, valid = decoding.decode_batch(tf.constant(files), 24)
        assert valid.numpy().tolist() == [True, False, True, False]

    def test_all_bad(self):
        images, valid = decode_batch(list(BAD.values()))
        assert images.shape == (len(BAD), 24, 24, 3)
        assert not np.any(images)
        assert not np.any(valid)

    def test_empty_batch(self):
        images, valid = decode_batch(tf.constant([], tf.string))
        assert images.shape == (0, 24, 24, 3)
        assert valid.shape == (0,)

    def test_rows_keep_their_order(self):
        contents = [encoded("PNG", seed=seed) for seed in range(40)]
        contents[3::7] = [b"bad"] * len(contents[3::7])
        images, valid = decode_batch(contents)
        for row, content in enumerate(contents):
            assert valid[row] == (content != b"bad")
            if valid[row]:
                np.testing.assert_array_equal(images[row], expected(content))
