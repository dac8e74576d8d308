import base64
import functools
import io
import struct

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
ANIMATED = {
    "save_all": True,
    "append_images": [Image.new("RGB", (30, 20))],
}


def converted(form, mode, **options):
    image = Image.open(io.BytesIO(PNG)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def deep_png():
    image = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def patched(content, offset, replacement):
    end = offset + len(replacement)
    return content[:offset] + replacement + content[end:]


def gif_frame(width, height):
    """A GIF whose canvas is small, and its frame as large as given."""
    content = encoded("GIF")
    descriptor = b"\x2c" + struct.pack("<HHHH", 0, 0, 30, 20)
    size = struct.pack("<HH", width, height)
    return patched(content, content.index(descriptor) + 5, size)


GOOD = {
    "jpeg": JPEG,
    "grey jpeg": converted("JPEG", "L"),
    "cmyk jpeg": converted("JPEG", "CMYK"),
    "progressive jpeg": converted("JPEG", "RGB", progressive=True),
    "png": PNG,
    "palette png": converted("PNG", "P"),
    "transparent png": converted("PNG", "RGBA"),
    "grey png": converted("PNG", "LA"),
    "black and white png": converted("PNG", "1"),
    "16-bit png": deep_png(),
    "gif": encoded("GIF"),
    "animated gif": encoded("GIF", **ANIMATED),
    "palette bmp": converted("BMP", "P"),
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
    "animated webp": encoded("WEBP", **ANIMATED),
    "zeros": bytes(1000),
    "web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "base64": base64.b64encode(JPEG),
    "heic": b"\0\0\0\x18ftypheic" + bytes(100),
    "avif": b"\0\0\0\x18ftypavif" + bytes(100),
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "ico": b"\0\0\x01\0" + bytes(100),
    "pdf": b"%PDF-1.7" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(100),
    "jpeg without its end": JPEG[:-2],
    "jpeg header only": JPEG[: JPEG.index(b"\xff\xda")],
    "jpeg cut behind two bytes": JPEG[:2],
    "jpeg of no height": patched(JPEG, JPEG.index(b"\xff\xc0") + 5, b"\0\0"),
    "jpeg bomb": patched(JPEG, JPEG.index(b"\xff\xc0") + 5, b"\xff" * 4),
    "png signature only": PNG[:8],
    "png header only": PNG[:33],
    "png of no width": patched(PNG, 16, bytes(4)),
    "png with a wrong checksum": patched(PNG, 29, b"oops"),
    "png without its end": PNG[:-40],
    "gif header only": encoded("GIF")[:13],
    "gif cut off": encoded("GIF")[:-100],
    "gif bomb": patched(encoded("GIF"), 6, b"\xff" * 4),
    "gif frame bomb": gif_frame(60000, 50000),
    "bmp header only": encoded("BMP")[:54],
    "bmp cut off": encoded("BMP")[:-100],
    "bmp bomb": patched(encoded("BMP"), 18, b"\xff\xff\0\0" * 2),
    "compressed bmp": patched(converted("BMP", "P"), 30, b"\x01"),
    "webp header only": encoded("WEBP")[:30],
    "webp cut off": encoded("WEBP")[:-100],
    "webp bomb": patched(
        converted("WEBP", "RGBA", exif=b"Exif\0\0"), 24, b"\xff" * 6
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
