import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras import image_headers
from simclr_keras import preprocessing

HEIGHT, WIDTH = 5, 270


def encoded(form, mode="RGB", **options):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def bottom_up_bmp(height):
    """A BMP file's headers, with a height of our choice."""
    sizes = struct.pack("<IiiHH", 40, WIDTH, height, 1, 24)
    return b"BM" + bytes(12) + sizes + bytes(24)


FILES = {
    "jpeg": encoded("JPEG"),
    "progressive": encoded("JPEG", progressive=True),
    "png": encoded("PNG"),
    "gif": encoded("GIF"),
    "bmp": encoded("BMP"),
    "top-down bmp": bottom_up_bmp(-HEIGHT),
    "webp lossy": encoded("WEBP"),
    "webp lossless": encoded("WEBP", lossless=True),
    "webp extended": encoded("WEBP", "RGBA", exif=b"Exif\0\0"),
}


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def declared_pixels(image_bytes):
    return image_headers.declared_pixels(image_bytes)


class TestDeclaredPixels:
    @pytest.mark.parametrize("name", FILES)
    def test_is_height_times_width(self, name):
        assert declared_pixels(FILES[name]) == HEIGHT * WIDTH

    @pytest.mark.parametrize("content", [b"", b"BM", b"\x89PNG", b"text" * 9])
    def test_is_zero_without_a_header(self, content):
        assert declared_pixels(content) == 0

    @pytest.mark.parametrize(
        "name", [name for name in FILES if name != "top-down bmp"]
    )
    def test_decode_refuses_before_it_allocates(self, name):
        limit = HEIGHT * WIDTH
        decoded = preprocessing.decode(FILES[name], max_pixels=limit)
        assert decoded.shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(tf.errors.InvalidArgumentError, match="may have"):
            preprocessing.decode(FILES[name], max_pixels=limit - 1)


class TestHeader:
    def test_is_padded_with_zeros(self):
        head = image_headers.header(b"\x01\xff").numpy()
        assert head.tolist() == [1, 255] + [0] * 62


class TestIsCompressedBmp:
    def test_is_refused(self):
        content = bytearray(encoded("BMP", "P"))
        assert preprocessing.decode(bytes(content)).shape[:2] == (5, 270)
        content[30] = 1
        assert image_headers.is_compressed_bmp(
            image_headers.header(bytes(content))
        )
        with pytest.raises(tf.errors.InvalidArgumentError, match="compressed"):
            preprocessing.decode(bytes(content))
