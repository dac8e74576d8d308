import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras import preprocessing
from simclr_keras.export import decoding


def encoded(form, height=20, width=30, seed=0, **options):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


JPEG = encoded("JPEG")
PNG = encoded("PNG", 41, 17)
# A size of 2**31 - 1 squared, as large as PNG can declare.
BOMB = PNG[:16] + b"\x7f\xff\xff\xff" * 2 + PNG[24:]
GOOD = {
    "jpeg": JPEG,
    "png": PNG,
    "gif": encoded("GIF"),
    "bmp": encoded("BMP"),
    "webp": encoded("WEBP"),
    "one pixel": encoded("PNG", 1, 1),
}
BAD = {
    "empty": b"",
    "text": b"GET / HTTP/1.1",
    "magic number only": JPEG[:3],
    "truncated jpeg": JPEG[: len(JPEG) // 2],
    "truncated png": PNG[: len(PNG) // 2],
    "damaged png": PNG[:100] + b"damage" + PNG[106:],
    "bomb": BOMB,
    "tiff": encoded("TIFF"),
    "animated webp": encoded(
        "WEBP", save_all=True, append_images=[Image.new("RGB", (30, 20))]
    ),
}


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
