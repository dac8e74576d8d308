"""Every odd file that people have in their folders, and what becomes of it."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL import ImageOps

from simclr_keras import data
from simclr_keras.data import image_files

HEIGHT, WIDTH = 16, 24
# Smooth, so that lossy formats stay close.
_Y, _X = np.mgrid[0:HEIGHT, 0:WIDTH]
PIXELS = np.stack([8 * _Y, 255 - 8 * _X, 4 * (_X + _Y)], -1).astype(np.uint8)
PHOTO = Image.fromarray(PIXELS)


def encoded(form, mode="RGB", image=PHOTO, **options):
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def turned(orientation, form="JPEG", **options):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif[0x0112] = orientation
    return encoded(form, exif=exif, **options)


def bomb(width, height):
    """A PNG of a few bytes that declares a large size."""
    start = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", start), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def noisy(height, width):
    rng = np.random.default_rng(height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


WIDE = noisy(2, 12_000)
ANIMATED = {"save_all": True, "append_images": [PHOTO.rotate(180)]}
SIXTEEN = Image.fromarray((PIXELS[..., 0].astype(np.uint16) << 8) + 77)
_FALSE = encoded("PNG")

# name -> (content, largest difference of a pixel from Pillow's).
IMAGES = {
    "grey.png": (encoded("PNG", "L"), 0),
    "black and white.png": (encoded("PNG", "1"), 0),
    "palette.png": (encoded("PNG", "P"), 0),
    "rgba.png": (encoded("PNG", "RGBA"), 0),
    "grey and alpha.png": (encoded("PNG", "LA"), 0),
    "gamma.png": (encoded("PNG", dpi=(72, 72), optimize=True), 0),
    "plain.jpg": (encoded("JPEG"), 3),
    "grey.jpg": (encoded("JPEG", "L"), 3),
    "cmyk.jpg": (encoded("JPEG", "CMYK"), 4),
    "progressive.jpg": (encoded("JPEG", progressive=True), 3),
    "comment.jpg": (encoded("JPEG", comment=b"a comment"), 3),
    **{f"turned {n}.jpg": (turned(n), 3) for n in range(1, 9)},
    "turned 6, grey.jpg": (turned(6, mode="L"), 3),
    "turned 8, progressive.jpg": (turned(8, progressive=True), 3),
    "impossible orientation.jpg": (turned(9), 3),
    "image.gif": (encoded("GIF"), 0),
    "moving.gif": (encoded("GIF", **ANIMATED), 0),
    "image.bmp": (encoded("BMP"), 0),
    "palette.bmp": (encoded("BMP", "P"), 0),
    "lossy.webp": (encoded("WEBP", quality=95), 8),
    "lossless.webp": (encoded("WEBP", lossless=True), 0),
    "UPPER CASE.PNG": (encoded("PNG"), 0),
    "UPPER CASE.JPEG": (encoded("JPEG"), 3),
    "with  two spaces.png": (encoded("PNG"), 0),
    "größe, 大きさ.png": (encoded("PNG"), 0),
    os.fsdecode(b"latin-1 \xe4.png"): (encoded("PNG"), 0),
    "new\nline.png": (encoded("PNG"), 0),
    "a png.jpg": (encoded("PNG"), 0),
    "a jpeg.png": (encoded("JPEG"), 3),
    "a webp.gif": (encoded("WEBP", lossless=True), 0),
    "film behind the photo.jpg": (encoded("JPEG") + bytes(3000), 3),
    "one pixel.png": (encoded("PNG", image=noisy(1, 1)), 0),
    "one pixel.gif": (encoded("GIF", image=noisy(1, 1)), 0),
    "one row.png": (encoded("PNG", image=noisy(1, 300)), 0),
    "12,000 wide.png": (encoded("PNG", image=WIDE), 0),
    "deep/er/and deeper.png": (encoded("PNG"), 0),
}
SKIPPED = {
    "zero bytes.png": (b"", "empty file"),
    "zero bytes.jpg": (b"", "empty file"),
    "one byte.gif": (b"G", "not an image"),
    "page.jpg": (b"<!DOCTYPE html><p>404", "not an image"),
    "archive.png": (b"PK\3\4" + bytes(200), "not an image"),
    "cut.png": (_FALSE[:-30], "damaged or cut off"),
    "cut.jpg": (encoded("JPEG")[:-30], "damaged or cut off"),
    "cut in its header.jpg": (encoded("JPEG")[:40], "JPEG header is cut off"),
    "cut.gif": (encoded("GIF")[:-30], "damaged or cut off"),
    "cut.bmp": (encoded("BMP")[:-30], "damaged or cut off"),
    "cut.webp": (encoded("WEBP")[:-30], "damaged or cut off"),
    "photo.heic": (
        b"\0\0\0\x18ftypheic" + bytes(99),
        "HEIC or AVIF is not supported; convert it to PNG",
    ),
    "scan.tif": (
        encoded("TIFF"),
        "TIFF is not supported; convert it to PNG",
    ),
    "a tiff.png": (encoded("TIFF"), "TIFF is not supported; convert it to PNG"),
    "icon.ico": (encoded("ICO"), "ICO is not supported; convert it to PNG"),
    "moving.webp": (
        encoded("WEBP", **ANIMATED),
        "animated WebP is not supported",
    ),
    "one bit.bmp": (
        encoded("BMP", "1"),
        "BMP is compressed or has fewer than 8 bits",
    ),
    "without size.png": (bomb(0, 7), "PNG header without a size"),
    "bomb.png": (
        bomb(50_000, 40_000),
        "50000 x 40000 pixels, more than 134,217,728 in all",
    ),
}
NOT_SEEN = (
    ".hidden.png",
    "._of a Mac.jpg",
    ".ipynb_checkpoints/grey-checkpoint.png",
    "__MACOSX/grey.png",
    "@eaDir/grey.png/thumbnail.jpg",
)


def expected(content):
    """[h, w, 3] as Pillow shows it upright and on white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode == "CMYK":
        return np.asarray(image.convert("RGB"), int)
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image), int)[..., :3]


def write(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("messy"))
    for name, (content, _) in (IMAGES | SKIPPED).items():
        write(folder, name, content)
    for name in NOT_SEEN:
        write(folder, name, encoded("PNG"))
    write(folder, "notes.txt", b"text")
    os.makedirs(os.path.join(folder, "empty class"))
    os.symlink(folder, os.path.join(folder, "deep", "loop"))
    os.symlink("grey.png", os.path.join(folder, "link.png"))
    os.symlink("nowhere.png", os.path.join(folder, "broken.png"))
    os.symlink("itself.png", os.path.join(folder, "itself.png"))
    return folder


@pytest.fixture(scope="module")
def source(folder):
    return data.open_source(folder, max_skipped=0.5)


@pytest.fixture(scope="module")
def decoded(source, folder):
    """name -> ([h, w, 3] uint8, size according to the scan)."""
    split = source.pretrain
    examples = split.keys_in_order().map(split.read).as_numpy_iterator()
    return {
        os.path.relpath(path, folder): (image, tuple(size))
        for path, (image, _), size in zip(
            split.paths, examples, split.sizes.tolist(), strict=True
        )
    }


@pytest.mark.parametrize("name", IMAGES)
def test_image(decoded, name):
    content, tolerance = IMAGES[name]
    image, size = decoded[name]
    pixels = expected(content)
    assert image.shape == pixels.shape
    assert size == pixels.shape[:2]
    assert np.abs(image - pixels).max() <= tolerance


@pytest.mark.parametrize("name", SKIPPED)
def test_skipped(source, name):
    assert dict(source.skipped)[name] == SKIPPED[name][1]


def test_nothing_else_is_there(source, decoded):
    assert set(decoded) == set(IMAGES)
    links = {"broken.png", "itself.png"}
    assert set(dict(source.skipped)) == set(SKIPPED) | links
    assert dict(source.skipped)["broken.png"] == "link to nothing"
    text = data.describe(source)
    assert "note: 1 link to images that are here already" in text
    assert "note: left out: 1 other file (1 .txt)" in text
    assert source.class_names is None


def test_half_of_them_unusable_is_too_much(folder):
    with pytest.raises(ValueError, match="at most 0.1 .*image files"):
        data.open_source(folder)


def test_photos_of_one_size_are_upright_in_memory_too(tmp_path):
    contents = [turned(n) for n in (5, 6, 7, 8)]
    for number, content in enumerate(contents):
        write(str(tmp_path), f"{number}.jpg", content)
    split = data.open_source(str(tmp_path)).pretrain
    assert split.in_memory
    assert split.images.shape == (4, WIDTH, HEIGHT, 3)
    for image, content in zip(split.images, contents, strict=True):
        assert np.abs(image - expected(content)).max() <= 3


def test_16_bits_keep_the_high_byte(tmp_path):
    buffer = io.BytesIO()
    SIXTEEN.save(buffer, "PNG")
    write(str(tmp_path), "16 bits.png", buffer.getvalue())
    images = data.open_source(str(tmp_path)).pretrain.images
    np.testing.assert_array_equal(images[0, ..., 1], PIXELS[..., 0])


def test_largest_size(tmp_path):
    side = int(image_files.MAX_PIXELS**0.5)
    for extra, passes in ((0, True), (1000, False)):
        content = bomb(side + extra, side)
        write(str(tmp_path), "a.png", content)
        path = str(tmp_path / "a.png")
        if passes:
            image_files.header(path, len(content))
        else:
            with pytest.raises(ValueError, match="more than 134,217,728"):
                image_files.header(path, len(content))
