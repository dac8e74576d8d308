"""Both readers of EXIF orientation: the scan's and the graph's."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras import image_headers
from simclr_keras.data import exif


def photo(orientation, order="<", before=b""):
    """A small JPEG; `before` is put in front of its EXIF data."""
    tags = Image.Exif()
    tags.endian = order
    tags[0x010E] = "a description"
    tags[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "JPEG", exif=tags.tobytes())
    content = buffer.getvalue()
    return content[:2] + before + content[2:]


def segment(marker, content):
    length = (len(content) + 2).to_bytes(2, "big")
    return bytes([0xFF, marker]) + length + content


BEFORE = {
    "nothing": b"",
    "JFIF": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
    "long JFIF": segment(0xE0, b"JFIF\0" + bytes(700)),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
    "comment": segment(0xFE, b"made by hand"),
    "many": 3 * segment(0xED, bytes(90)) + segment(0xFE, b""),
}


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def in_graph(content):
    head = image_headers.header(content)
    return image_headers.orientation(content, head)


def in_python(content):
    return exif.orientation(io.BytesIO(content))


@pytest.mark.parametrize("read", [in_python, in_graph])
class TestOrientation:
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_all_eight(self, read, orientation, order):
        assert read(photo(orientation, order)) == orientation

    @pytest.mark.parametrize("before", BEFORE)
    def test_behind_other_segments(self, read, before):
        assert read(photo(6, before=BEFORE[before])) == 6

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_what_is_none_is_upright(self, read, orientation):
        assert read(photo(orientation)) == 1

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe1\xff\xffExif",
            b"\xff\xd8\xff\xe1\0\0Exif\0\0",
            b"\xff\xd8" + segment(0xE1, b"Exif\0\0"),
            b"\xff\xd8" + segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
            b"\xff\xd8" + segment(0xDB, b"\0") + photo(6)[2:],
        ],
    )
    def test_damaged(self, read, content):
        assert read(content) == 1


def test_both_agree_on_any_damage():
    rng = np.random.default_rng(0)
    contents = [photo(6), photo(8, ">", BEFORE["JFIF"])]
    found = []
    for number in range(300):
        content = bytearray(contents[number % 2])
        for place in rng.integers(2, 90, 2):
            content[place] = rng.choice([0, 1, 8, 0x12, 0xE1, 0xFF])
        if number % 3 == 0:
            del content[rng.integers(4, 90) :]
        found.append(in_python(bytes(content)))
        assert in_graph(bytes(content)) == found[-1]
    assert len(set(found)) > 2


class TestIsPlain:
    @pytest.mark.parametrize("form", ["PNG", "JPEG"])
    def test_usual_files_are(self, form):
        buffer = io.BytesIO()
        Image.new("RGB", (3, 2)).save(buffer, form)
        assert image_headers.is_plain(buffer.getvalue())

    @pytest.mark.parametrize(
        "content", [b"", photo(6), photo(6, before=BEFORE["JFIF"]), b"BM"]
    )
    def test_others_are_not(self, content):
        assert not image_headers.is_plain(content)
