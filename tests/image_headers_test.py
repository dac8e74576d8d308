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


def frames(*numbers, comment=b"", **options):
    """A GIF with one frame per number, and their own images."""
    images = [
        Image.fromarray(
            np.random.default_rng(n).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
        )
        for n in numbers
    ]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=images[1:],
        comment=comment,
        **options,
    )
    return buffer.getvalue()


def frame_header(content):
    """Where the first frame of a GIF from `frames` begins."""
    # An image descriptor of the whole canvas, at its upper left corner.
    size = struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT)
    return content.index(b"\x2c" + size)


class TestWithoutAnimation:
    @pytest.mark.parametrize("comment", [b"", b"text" * 200])
    def test_ends_behind_the_first_frame(self, comment):
        content = frames(1, 2, 3, comment=comment, duration=5, loop=0)
        still = image_headers.without_animation(
            content, image_headers.header(content)
        ).numpy()
        assert len(still) < 0.5 * len(content)
        assert content.startswith(still[:-1])
        opened = Image.open(io.BytesIO(still))
        assert opened.n_frames == 1
        np.testing.assert_array_equal(
            preprocessing.decode(content), opened.convert("RGB")
        )

    def test_pixels_of_the_frame_count(self):
        content = bytearray(frames(1))
        at = frame_header(content) + 5
        content[at : at + 4] = struct.pack("<HH", 60000, 50000)
        assert declared_pixels(bytes(content)) == 60000 * 50000

    def test_later_frames_are_not_read(self):
        content = frames(1)
        bomb = bytearray(content[frame_header(content) : -1])
        bomb[5:9] = struct.pack("<HH", 60000, 50000)
        np.testing.assert_array_equal(
            preprocessing.decode(content[:-1] + bytes(bomb) + b";"),
            preprocessing.decode(content),
        )

    def test_files_that_are_cut_off(self):
        content = frames(1)
        for length in (*range(6, 60), *range(780, len(content), 97)):
            cut = content[:length]
            still = image_headers.without_animation(
                cut, image_headers.header(cut)
            )
            assert still == cut + b";"
