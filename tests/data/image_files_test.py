import io

import numpy as np
import pytest
from PIL import Image

from simclr_keras.data import image_files

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), np.uint8)


def encoded(form, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def header(tmp_path, content, name="image"):
    path = tmp_path / name
    path.write_bytes(content)
    return image_files.header(str(path), len(content))


def jpeg_with_exif():
    exif = Image.Exif()
    exif[0x010E] = "a long description " * 100
    return encoded("JPEG", exif=exif)


GOOD = {
    "jpeg": encoded("JPEG"),
    "progressive jpeg": encoded("JPEG", progressive=True),
    "grey jpeg": encoded("JPEG", mode="L"),
    "cmyk jpeg": encoded("JPEG", mode="CMYK"),
    "jpeg with exif": jpeg_with_exif(),
    "png": encoded("PNG"),
    "palette png": encoded("PNG", mode="P"),
    "rgba png": encoded("PNG", mode="RGBA"),
    "gif": encoded("GIF"),
    "bmp": encoded("BMP"),
    "palette bmp": encoded("BMP", mode="P"),
    "webp": encoded("WEBP"),
    "lossless webp": encoded("WEBP", lossless=True),
    "webp with alpha": encoded("WEBP", mode="RGBA", exif=b"Exif\0\0"),
}
# BMP's rows stored from the top have a negative height.
_ROWS = bytearray(GOOD["bmp"])
_ROWS[22:26] = (-6).to_bytes(4, "little", signed=True)
GOOD["bmp from the top"] = bytes(_ROWS)


class TestHeader:
    @pytest.mark.parametrize("kind", GOOD)
    def test_reads_the_size(self, tmp_path, kind):
        found = header(tmp_path, GOOD[kind])
        assert found == (6, 9, True)

    @pytest.mark.parametrize("kind", GOOD)
    def test_notices_a_missing_end(self, tmp_path, kind):
        found = header(tmp_path, GOOD[kind][:-20])
        assert not found.sound

    @pytest.mark.parametrize("kind", GOOD)
    def test_a_missing_header_is_an_error_or_unsound(self, tmp_path, kind):
        for length in range(1, 60):
            try:
                found = header(tmp_path, GOOD[kind][:length])
            except ValueError:
                continue
            assert not found.sound, length

    def test_an_odd_jpeg_is_to_be_decoded(self, tmp_path):
        content = bytearray(GOOD["jpeg"])
        frame = content.index(b"\xff\xc0")
        content[frame + 4] = 12  # bits
        assert not header(tmp_path, content).sound

    def test_fill_bytes_before_a_marker(self, tmp_path):
        content = GOOD["jpeg"]
        frame = content.index(b"\xff\xc0")
        filled = content[:frame] + b"\xff\xff" + content[frame:]
        assert header(tmp_path, filled) == (6, 9, True)

    @pytest.mark.parametrize(
        "content,reason",
        [
            (b"", "empty file"),
            (b"<html>404</html>", "not an image"),
            (b"\xff\xd8\xff", "cut off"),
            (b"\x89PNG\r\n\x1a\n", "without a size"),
            (encoded("TIFF"), "TIFF is not supported"),
            (encoded("ICO"), "ICO is not supported"),
            (encoded("JPEG2000"), "JPEG 2000 is not supported"),
            (encoded("BMP", mode="1"), "fewer than 8 bits"),
            (b"\0\0\0\x18ftypheic", "HEIC or AVIF is not supported"),
            (bytes(128) + b"DICM", "DICOM is not supported"),
            (
                encoded(
                    "WEBP",
                    save_all=True,
                    append_images=[Image.fromarray(PIXELS[::-1])],
                ),
                "animated WebP",
            ),
        ],
    )
    def test_reasons(self, tmp_path, content, reason):
        with pytest.raises(ValueError, match=reason):
            header(tmp_path, content)
